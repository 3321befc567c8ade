"""What goes stale when something changes: exactly what is made of it, tile by tile."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.config import Dataset
from tests import tiny
from tests.planned import PREPARE, stale
from tests.scenes import ORIGIN, write_geotiff

PREPARED = PREPARE


@pytest.fixture
def dataset(configs: Path, home: Path, tmp_path: Path) -> Dataset:
    return tiny.write(configs, tmp_path / "raw", tiles=4)


def _stale(dagster: dg.DagsterInstance) -> dict[str, list[str | None]]:
    """What the present configuration calls missing or stale, by asset."""
    return stale(dagster, config.load_dataset(tiny.NAME), PREPARED)


def test_a_second_run_has_nothing_to_do(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    assert materialise(dagster, dataset, PREPARED).runs == 2
    assert _stale(dagster) == {}
    assert materialise(dagster, dataset, PREPARED).runs == 0


def test_each_tile_of_a_range_run_has_its_own_version(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    materialise(dagster, dataset, PREPARED)
    for asset in ("ground_truth", "patches"):
        records = dagster.event_log_storage.get_latest_tags_by_partition(
            dg.AssetKey([tiny.NAME, asset]), dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
        )
        assert len({tags["dagster/data_version"] for tags in records.values()}) == 4


def test_a_changed_label_file_makes_its_own_tile_stale(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    materialise(dagster, dataset, PREPARED)
    tiny.write_tile(dataset.folder, "t1", column=1, lake=0.6)
    assert _stale(dagster) == {"ground_truth": ["t1"]}, "the files are asked, nobody has to look first"
    assert materialise(dagster, dataset, PREPARED).runs == 2
    assert _stale(dagster) == {}


def test_a_changed_legend_makes_ground_truth_stale_and_nothing_before_it(
    dagster: dg.DagsterInstance, dataset: Dataset, configs: Path
) -> None:
    materialise(dagster, dataset, PREPARED)
    tiny.save(configs, "legends", {**tiny.LEGEND, "border": 1})
    assert _stale(dagster) == {"ground_truth": ["t0", "t1", "t2", "t3"]}
    materialise(dagster, config.load_dataset(tiny.NAME), ("ground_truth",))
    assert _stale(dagster) == {"patches": ["t0", "t1", "t2", "t3"]}


def test_changed_patch_settings_leave_the_ground_truth_alone(
    dagster: dg.DagsterInstance, dataset: Dataset, configs: Path
) -> None:
    materialise(dagster, dataset, PREPARED)
    text = (configs / "datasets" / "tiny.yaml").read_text()
    (configs / "datasets" / "tiny.yaml").write_text(text.replace("stride: 32", "stride: 16"))
    assert _stale(dagster) == {"patches": ["t0", "t1", "t2", "t3"]}


def test_a_new_tile_is_all_that_is_prepared(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    materialise(dagster, dataset, PREPARED)
    before = sorted((config.home() / "tiny" / "patches").glob("t*-*"))
    tiny.write_tile(dataset.folder, "t9", column=9)
    assert materialise(dagster, dataset, PREPARED).runs == 2
    after = sorted((config.home() / "tiny" / "patches").glob("t*-*"))
    assert {path.name.split("-")[0] for path in set(after) - set(before)} == {"t9"}


def test_a_corrected_year_concerns_the_manifest_and_no_pixel(
    dagster: dg.DagsterInstance, dataset: Dataset, configs: Path
) -> None:
    materialise(dagster, dataset, PREPARED)
    path = configs / "datasets" / "tiny.yaml"
    path.write_text(path.read_text().replace("label: '{tile}.gpkg'", "label: '{tile}.gpkg'\n  year: 2024"))
    assert config.load_dataset(tiny.NAME).tiles.year == 2024
    assert _stale(dagster) == {"dataset_manifest": [None]}


def test_a_tile_of_another_flight_is_a_warning(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    tiny.write_tile(dataset.folder, "t3", column=3, lake=0.0)
    path = dataset.folder / "t3.tif"
    write_geotiff(
        path, np.full((3, tiny.SIDE, tiny.SIDE), 250, np.uint8), origin=(ORIGIN[0] + 3 * tiny.SIDE, ORIGIN[1])
    )
    materialise(dagster, dataset, PREPARED)
    key = dg.AssetCheckKey(dg.AssetKey([tiny.NAME, "dataset_manifest"]), "radiometry_like_training")
    (record,) = dagster.event_log_storage.get_latest_asset_check_execution_by_key([key]).values()
    found = record.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.metadata["outside"].value == "t3"
