"""The label doctor in the lineage: a moved tile fails its check with the line that repairs it, and goes stale alone."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import shapely
import yaml

from assets import partitions
from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.ground_truth.quality import shift
from landcover_orch.store.publish import current
from landcover_orch.synthetic import landscape
from tests import tiny
from tests.planned import stale
from tests.scenes import ORIGIN, write_geotiff, write_polygons

NAME, SIDE = "moved", 256
TILES = ("ground_truth", "patches", "label_quality")


@pytest.fixture
def dataset(configs: Path, home: Path, tmp_path: Path) -> Dataset:
    """Two tiles of the generated landscape: the labels of b lie 6 px to the right, and one polygon lies over others."""
    tiny.save(configs, "experiments", tiny.RECIPE)
    scene = landscape.scene(SIDE, 2 * SIDE)
    for i, name in enumerate("ab"):
        x = ORIGIN[0] + i * SIDE / 2
        write_geotiff(
            tmp_path / "raw" / f"{name}.tif",
            scene.image[:3, :, i * SIDE : (i + 1) * SIDE],
            origin=(x, ORIGIN[1]),
            resolution=0.5,
        )
        moved = [(shapely.affinity.translate(p.shape, 3 * i), p.code) for p in scene.land.parcels]
        pond = [(shapely.box(x + 50, ORIGIN[1] - 60, x + 60, ORIGIN[1] - 50), "310")] * i
        write_polygons(tmp_path / "raw" / f"{name}.gpkg", [*moved, *pond])
    described: dict[str, object] = {
        "name": NAME,
        "root": str(tmp_path / "raw"),
        "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"},
        "bands": ["red", "green", "blue"],
        "legend": "landscape",
        "labels": {"attribute": "code"},
        "splits": {"validation": {"blocks": 0.2}},
        "patches": {"size": 64, "stride": 64},
        "experiments": [tiny.EXPERIMENT],
        "baselines": [],
    }
    tiny.save(configs, "datasets", described)
    return config.load_dataset(NAME)


def outcomes(dagster: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    """The last evaluation of each of the doctor's checks."""
    key = dg.AssetKey([NAME, "label_quality"])
    checks = [
        dg.AssetCheckKey(key, name) for name in ("shift_within_limit", "areas_conserved", "topology", "common_shift")
    ]
    found = dagster.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    return {check.name: record.event.asset_check_evaluation for check, record in found.items()}  # type: ignore[misc,union-attr]


def test_a_moved_tile_is_told_and_repaired(dagster: dg.DagsterInstance, dataset: Dataset, configs: Path) -> None:
    assert materialise(dagster, dataset, TILES).runs == 1
    checks = outcomes(dagster)
    assert {name: check.passed for name, check in checks.items()} == {
        "shift_within_limit": False,
        "areas_conserved": True,
        "topology": False,
        "common_shift": True,
    }
    assert checks["topology"].severity == dg.AssetCheckSeverity.WARN
    text = checks["shift_within_limit"].description or ""
    assert "tile b: labels lie 6.0 px beside the image" in text
    line = text.split("then set `")[1].split("`")[0]

    path = configs / "datasets" / f"{NAME}.yaml"
    described = yaml.safe_load(path.read_text())
    described["tiles"].update(yaml.safe_load(line)["tiles"])
    path.write_text(yaml.safe_dump(described))
    repaired = config.load_dataset(NAME)
    assert repaired.tiles.overrides["b"].shift == (-6, 0)
    before = versions(dataset)
    assert materialise(dagster, repaired, TILES).runs == 1
    after = versions(repaired)
    assert {tile for tile, version in after.items() if version != before[tile]} == {"b"}
    assert outcomes(dagster)["shift_within_limit"].passed
    assert stale(dagster, repaired, TILES) == {}


def test_tiles_that_tell_nothing_alone_are_asked_together(
    dagster: dg.DagsterInstance, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shift, "LEAST_CONFIDENCE", 99.0)
    monkeypatch.setattr(shift, "FEWEST", 2)
    materialise(dagster, dataset, TILES)
    check = outcomes(dagster)["common_shift"]
    assert check.passed
    (row,) = check.metadata["common"].value.records  # type: ignore[union-attr]
    assert (row.data["tiles"], row.data["pixels"]) == (2, None)
    assert 0 < row.data["confidence"] < 99
    assert "image/png" in str(check.metadata["correlation 0"].value)


def versions(dataset: Dataset) -> dict[str, str]:
    folder = config.home() / dataset.name / "label_quality"
    return {tile: current(folder, tile).fingerprint for tile in "ab"}


def test_pictures_and_tables_are_metadata(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    materialise(dagster, dataset, TILES)
    key = partitions.key(dataset, "label_quality")
    found = dagster.fetch_materializations(dg.AssetRecordsFilter(key, asset_partitions=["b"]), limit=1).records
    shown = found[0].asset_materialization.metadata  # type: ignore[union-attr]
    assert {"preview", "page", "worst", "classes", "codes", "shift_pixels", "advice"} <= set(shown)
    assert shown["advice"].value == "tiles: {overrides: {b: {shift: [-6, 0]}}}"
