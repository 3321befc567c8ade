"""The watch sensor, the retraining schedule, and the backfills that jobs ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import jobs, partitions, sources
from assets.definitions import collect
from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import CatalogueError
from landcover_orch.evaluation import champion as election
from landcover_orch.evaluation.champion import Champion
from landcover_orch.store import publish
from tests import tiny


@pytest.fixture
def dataset(configs: Path, home: Path, tmp_path: Path) -> Dataset:
    return tiny.write(configs, tmp_path / "raw")


def _tick(dagster: dg.DagsterInstance, dataset: Dataset) -> dg.SensorResult | dg.SkipReason:
    """One tick of the watch sensor, with what it asks for carried out."""
    sensor = collect([dataset]).get_repository_def().get_sensor_def("tiny_watch")
    found = sensor(dg.build_sensor_context(instance=dagster))
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    if isinstance(found, dg.SensorResult):
        for request in found.dynamic_partitions_requests or []:
            if isinstance(request, dg.AddDynamicPartitionsRequest):
                dagster.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
            else:
                for name in request.partition_keys:
                    dagster.delete_dynamic_partition(request.partitions_def_name, name)
        for event in found.asset_events:
            dagster.report_runless_asset_event(event)
    return found


def _observed(found: Any) -> list[tuple[str, str]]:
    return [(event.asset_key.path[-1], event.partition) for event in found.asset_events]


def test_the_sensor_waits_for_a_folder_that_nobody_named(
    dagster: dg.DagsterInstance, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tick(dagster, dataset)
    monkeypatch.delenv("TINY", raising=False)
    found = _tick(dagster, dataset.model_copy(update={"root": "${TINY}/tiles"}))
    assert isinstance(found, dg.SkipReason)
    assert "export TINY=" in str(found.skip_message)
    assert dagster.get_dynamic_partitions("tiny_tiles") == ["t0", "t1", "t2"]


def test_the_sensor_tells_of_new_and_changed_files(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    first = _tick(dagster, dataset)
    assert set(_observed(first)) == {
        ("experiment", tiny.EXPERIMENT),
        *((asset, tile) for asset in ("orthophoto", "labels") for tile in ("t0", "t1", "t2")),
    }
    assert dagster.get_dynamic_partitions("tiny_tiles") == ["t0", "t1", "t2"]
    assert isinstance(_tick(dagster, dataset), dg.SkipReason)
    tiny.write_tile(dataset.folder, "t0", column=0, lake=0.7)
    tiny.write_tile(dataset.folder, "t7", column=7)
    again = _tick(dagster, dataset)
    assert set(_observed(again)) == {("labels", "t0"), ("orthophoto", "t0"), ("orthophoto", "t7"), ("labels", "t7")}


def test_a_tile_whose_files_are_gone_is_no_partition(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    _tick(dagster, dataset)
    (dataset.folder / "t0.tif").unlink()
    _tick(dagster, dataset)
    assert dagster.get_dynamic_partitions("tiny_tiles") == ["t1", "t2"]
    (dataset.folder / "t1.tif").rename(dataset.folder / "t5.tif")
    (dataset.folder / "t1.gpkg").rename(dataset.folder / "t5.gpkg")
    sources.observe(dagster, config.load_dataset(tiny.NAME).model_copy(update={"splits": config.Splits()}))
    assert dagster.get_dynamic_partitions("tiny_tiles") == ["t2", "t5"]
    with pytest.raises(CatalogueError, match="t9: no files"):
        sources.tiles_of(dataset.model_copy(update={"splits": config.Splits()}), ["t9"])


def test_an_observation_shows_the_tile(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    found = _tick(dagster, dataset)
    assert isinstance(found, dg.SensorResult)
    shown = next(e.metadata for e in found.asset_events if e.asset_key.path[-1] == "orthophoto")
    assert {"path", "preview", "crs"} <= shown.keys()
    assert "data:image/png;base64," in str(shown["preview"].value)


def test_an_unreadable_file_is_observed_with_its_problem(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    (dataset.folder / "t1.tif").write_bytes(b"no raster")
    found = _tick(dagster, dataset)
    assert isinstance(found, dg.SensorResult)
    shown = {e.partition: e.metadata for e in found.asset_events if e.asset_key.path[-1] == "orthophoto"}
    assert "GeoTIFF" in str(shown["t1"]["problem"].value)


def _requests(dagster: dg.DagsterInstance, dataset: Dataset) -> list[Any]:
    repository = collect([dataset]).get_repository_def()
    schedule = repository.get_schedule_def("tiny_retrain")
    found = schedule.evaluate_tick(dg.build_schedule_context(instance=dagster, repository_def=repository))
    return list(found.run_requests or []) or [found.skip_message]


def _crown(digest: str) -> None:
    """Publishes a champion that was trained on the manifest of that digest."""
    chosen = Champion(
        experiment=tiny.EXPERIMENT,
        model="tiny/model/quick-0",
        fingerprint=digest,
        data_digest=digest,
        test_digest="t",
        mean_iou=0.5,
    )
    election.build(tiny.NAME, chosen, config.home())


def test_retraining_waits_for_another_manifest(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    assert "no manifest" in _requests(dagster, dataset)[0]
    materialise(dagster, dataset, jobs.PREPARE)
    digest = publish.current(config.home() / "tiny" / "dataset_manifest", "dataset").json("summary.json")["digest"]
    _crown(digest)
    assert "unchanged" in _requests(dagster, dataset)[0]
    _crown("another")
    request = _requests(dagster, dataset)[0]
    assert (request.partition_key, request.run_key) == (tiny.EXPERIMENT, f"{digest}-{tiny.EXPERIMENT}")


def test_a_backfill_asks_for_what_is_stale_and_what_is_made_of_it(
    dagster: dg.DagsterInstance, dataset: Dataset
) -> None:
    sources.observe(dagster, dataset)
    graph = collect([dataset]).resolve_asset_graph()
    wanted = jobs.keys(dataset, jobs.EVERYTHING)
    backfill = jobs.request_backfill(dagster, graph, wanted, "all")
    assert backfill is not None
    subset = dagster.get_backfill(backfill).asset_backfill_data.target_subset
    asked = {(pair.asset_key.path[-1], pair.partition_key) for pair in subset.iterate_asset_partitions()}
    asked |= {(key.path[-1], None) for key in subset.non_partitioned_asset_keys}
    tiles = {(a, t) for a in (*jobs.STAGES[0], "land_cover_map") for t in ("t0", "t1", "t2")}
    scored = {(a, tiny.EXPERIMENT) for a in ("model", "prediction", "report")}
    assert asked == tiles | scored | {(a, None) for a in ("dataset_manifest", "leaderboard", "champion", "proportions")}
    materialise(dagster, dataset, jobs.PREPARE)
    assert jobs.request_backfill(dagster, graph, jobs.keys(dataset, jobs.PREPARE), "none") is None


def test_identifiers_are_what_dagster_takes() -> None:
    assert partitions.identifier(config.load_dataset("demo").model_copy(update={"name": "a-b"})) == "a_b"
