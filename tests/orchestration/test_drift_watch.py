"""A map of a tile that lies outside what its model was trained on says so, though no manifest was built again."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from assets.definitions import collect
from assets.lineage import patches, prediction, sources
from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.evaluation.decisions import Champion
from tests import tiny
from tests.crowned import crown
from tests.planned import PREPARE
from tests.scenes import ORIGIN, write_geotiff

MAP = dg.AssetKey([tiny.NAME, "land_cover_map"])


@pytest.fixture
def dataset(configs: Path, home: Path, tmp_path: Path) -> Dataset:
    return tiny.write(configs, tmp_path / "raw")


def _prepared(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    """Three tiles in the manifest, a champion of it, and a fourth, bright tile that arrived later."""
    materialise(dagster, dataset, PREPARE)
    digest = patches.manifest(dataset).digest
    stands = Champion(experiment="quick", model="m", fingerprint="f", data_digest=digest, test_digest="t", mean_iou=0.5)
    crown(tiny.NAME, stands, config.home())
    tiny.write_tile(dataset.folder, "t7", column=7)
    bright = np.full((3, tiny.SIDE, tiny.SIDE), 250, np.uint8)
    write_geotiff(dataset.folder / "t7.tif", bright, origin=(ORIGIN[0] + 7 * tiny.SIDE, ORIGIN[1]))
    sources.observe(dagster, dataset)


def _checked(dagster: dg.DagsterInstance, dataset: Dataset) -> dg.AssetCheckEvaluation:
    job = dg.define_asset_job("look", selection=dg.AssetSelection.checks_for_assets(MAP))
    definitions = dg.Definitions.merge(collect([dataset]), dg.Definitions(jobs=[job]))
    run = definitions.resolve_job_def("look").execute_in_process(instance=dagster)
    (found,) = run.get_asset_check_evaluations()
    return found


def test_the_map_of_a_tile_of_another_flight_warns(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    _prepared(dagster, dataset)
    before = patches.current(dataset).fingerprint
    found = _checked(dagster, dataset)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.metadata["outside"].value == "t7"
    rows = [row.data for row in found.metadata["drift"].value.records]  # type: ignore[union-attr]
    assert [(row["tile"], row["outside"]) for row in rows] == [
        ("t7", True),  # what failed stands first
        ("t0", False),
        ("t1", False),
        ("t2", False),
    ]
    assert [*rows[0]] == ["tile", "red", "green", "blue", "largest", "outside"]
    assert patches.current(dataset).fingerprint == before, "nothing was built again"


def test_its_distance_stands_beside_the_map(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    _prepared(dagster, dataset)
    found = {row["tile"]: row for row in prediction.drifts(dataset, ["t0", "t7"])}
    known = {row["tile"]: row for row in patches.current(dataset).json("summary.json")["drift"]}
    assert found["t0"] == known["t0"]
    assert found["t7"]["largest"] > 1
    assert prediction.metadata(found["t7"]) == {
        "drift": found["t7"]["largest"],
        "outside what was trained on": True,
    }
