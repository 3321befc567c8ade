"""Class proportions in the lineage: one asset after the champion's maps, of those maps alone."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from assets.definitions import collect
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.evaluation.decisions import Champion
from landcover_orch.store import publish
from landcover_orch.store.products import current_maps
from landcover_orch.store.publish import Recipe
from tests import tiny
from tests.crowned import crown


@pytest.fixture
def dataset(configs: Path, home: Path, tmp_path: Path) -> Dataset:
    return tiny.write(configs, tmp_path / "raw")


def _map(tile: str, model: str) -> publish.Product:
    recipe = Recipe("land_cover_map", 1, {"model": model}, {})
    folder = config.home() / tiny.NAME / "land_cover_map"
    return publish.publish(folder, tile, recipe, lambda stage: stage.write_json("summary.json", {}))


def _champion(model: str) -> None:
    chosen = Champion(experiment="quick", model="m", fingerprint=model, data_digest="d", test_digest="t", mean_iou=0.5)
    crown(tiny.NAME, chosen, config.home())


def test_maps_of_a_former_champion_do_not_count(dataset: Dataset) -> None:
    _champion("new")
    _map("t0", "old")
    present = _map("t1", "new")
    assert current_maps(config.home(), tiny.NAME, ["t0", "t1", "t2"], "new") == {"t1": present}


def test_it_is_made_of_maps_champion_and_manifest(dataset: Dataset) -> None:
    graph = collect([dataset]).resolve_asset_graph()
    node = graph.get(dg.AssetKey([tiny.NAME, "proportions"]))
    assert {key.path[-1] for key in node.parent_keys} == {"land_cover_map", "champion", "dataset_manifest"}
    assert node.partitions_def is None


def test_what_is_told_is_part_of_its_version(dataset: Dataset) -> None:
    def version(found: Dataset) -> str | None:
        graph = collect([found]).resolve_asset_graph()
        return graph.get(dg.AssetKey([tiny.NAME, "proportions"])).code_version

    by_patch = dataset.model_copy(update={"proportions": config.Proportions(unit="patch")})
    assert version(dataset) != version(by_patch)
