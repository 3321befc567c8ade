"""SIOSE labels in the lineage: decisions are metadata, and a rule that leaves nothing stops what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets.materialise import MaterialisationError, materialise
from landcover_orch import config
from landcover_orch.config import Dataset
from tests import tiny
from tests.planned import PREPARE
from tests.scenes import write_polygons


@pytest.fixture
def dataset(configs: Path, home: Path, tmp_path: Path) -> Dataset:
    """The tiny dataset labelled by SIOSE: fields and lakes of one cover each."""
    dataset = tiny.write(configs, tmp_path / "raw")
    for i in range(3):
        relabel(dataset, i, {"10": "CHL", "20": "ALG"})
    save(configs, "datasets", labels={"attribute": "code", "content": "siose"})
    save(configs, "legends", codes={"CHL": "field", "ALG": "water"}, burn_order=[])
    return config.load_dataset(tiny.NAME)


def relabel(dataset: Dataset, tile: int, labels: dict[str, str]) -> None:
    import pyogrio

    path = dataset.folder / f"t{tile}.gpkg"
    frame = pyogrio.read_dataframe(path)
    path.unlink()
    write_polygons(
        path, [(shape, labels.get(code, code)) for shape, code in zip(frame.geometry, frame.code, strict=True)]
    )


def save(configs: Path, kind: str, **changes: Any) -> None:
    path = configs / kind / f"{tiny.NAME}.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def test_decisions_are_metadata_and_a_check(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    materialise(dagster, dataset, PREPARE)
    (record, *_) = dagster.fetch_materializations(dg.AssetKey([tiny.NAME, "ground_truth"]), limit=1).records
    shown = record.asset_materialization.metadata["decisions"]  # type: ignore[union-attr]
    decisions = {("simple", "field"), ("simple", "water")}
    assert {(row.data["decision"], row.data["class"]) for row in shown.value.records} == decisions
    key = dg.AssetCheckKey(dg.AssetKey([tiny.NAME, "ground_truth"]), "composites_decided")
    (checked, *_) = dagster.event_log_storage.get_asset_check_execution_history(key, limit=1)
    rows = checked.event.asset_check_evaluation.metadata["decisions"].value.records  # type: ignore[union-attr]
    assert {(row.data["decision"], row.data["class"]) for row in rows} == decisions
    columns = {"tile", "decision", "class", "polygons", "hectares", "share"}
    assert [{*row.data} for row in rows] == [columns] * len(rows)
    for tile in {row.data["tile"] for row in rows}:
        assert sum(row.data["share"] for row in rows if row.data["tile"] == tile) == pytest.approx(1)


def test_a_tile_without_a_decided_polygon_stops_its_patches(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    relabel(dataset, 0, {"CHL": "A(50CHL_50ALG)", "ALG": "A(50CHL_50ALG)"})
    with pytest.raises(MaterialisationError, match="t0"):
        materialise(dagster, dataset, PREPARE)
