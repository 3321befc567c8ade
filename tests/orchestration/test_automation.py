"""The chain: what a tick of the sensor sees and requests, and what it says where it requests nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import yaml
from shapely.geometry import box

from assets import chain, overview, partitions, status, summary
from assets.cli import main
from assets.definitions import checks, collect, lineage
from assets.graph import stages
from assets.history import last_evaluations
from assets.lineage import sources
from assets.materialise import MaterialisationError, materialise
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import CatalogueError
from landcover_orch.planner import State, next_runs
from landcover_orch.store import publish
from tests import tiny
from tests.in_process import training_in_process
from tests.orchestration.weeks import Weeks, versions
from tests.planned import PREPARE, described, stale
from tests.scenes import ORIGIN, write_geotiff, write_polygons

PREPARED = (*PREPARE, "label_quality")
NOW = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def dataset(configs: Path, home: Path, tmp_path: Path) -> Dataset:
    return tiny.write(configs, tmp_path / "raw")


def look(dagster: dg.DagsterInstance, dataset: Dataset) -> chain.Inspection:
    """A look at a dataset."""
    return chain.inspect(dataset, lineage(dataset), dagster)


def change(configs: Path, **settings: Any) -> Dataset:
    """The dataset with other settings in its file."""
    path = configs / "datasets" / f"{tiny.NAME}.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **settings}))
    return config.load_dataset(tiny.NAME)


def test_the_sensor_waits_for_a_folder_that_nobody_named(
    dagster: dg.DagsterInstance, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(dagster, dataset)
    monkeypatch.delenv("TINY", raising=False)
    unnamed = dataset.model_copy(update={"root": "${TINY}/tiles"})
    assert "export TINY=" in look(dagster, unnamed).sentence()
    assert dagster.get_dynamic_partitions("tiny_tiles") == ["t0", "t1", "t2"]


def test_a_look_says_what_is_new_changed_and_gone(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    assert look(dagster, dataset).done == ("3 new tiles (t0, t1, t2)",)
    assert look(dagster, dataset).done == ()
    tiny.write_tile(dataset.folder, "t0", column=0, lake=0.7)
    for column in (7, 8):
        tiny.write_tile(dataset.folder, f"t{column}", column=column)
    assert look(dagster, dataset).done == ("2 new tiles (t7, t8), 1 changed tile (t0)",)
    (dataset.folder / "t0.tif").unlink()
    (dataset.folder / "t0.gpkg").unlink()
    assert look(dagster, dataset).done == ("1 removed tile (t0)",)
    assert dagster.get_dynamic_partitions("tiny_tiles") == ["t1", "t2", "t7", "t8"]


def test_a_tile_without_its_labels_waits_and_does_not_hide_the_others(
    dagster: dg.DagsterInstance, dataset: Dataset
) -> None:
    (dataset.folder / "t0.gpkg").unlink()
    seen = look(dagster, dataset)
    assert [run.partitions for run in seen.runs] == [("t1", "t2")]
    (text,) = seen.stuck
    assert "t0.gpkg" in text
    with pytest.raises(CatalogueError, match=r"t0\.gpkg"):
        sources.tiles_by_name(dataset)["t0"]
    with pytest.raises(CatalogueError, match="t9: no files"):
        sources.tiles_by_name(dataset)["t9"]


def test_a_held_out_tile_without_its_labels_stops_the_dataset(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    (dataset.folder / "t2.gpkg").unlink()
    seen = look(dagster, dataset)
    assert seen.runs == ()
    assert "t2.gpkg" in seen.sentence()


def observed(dagster: dg.DagsterInstance, asset: str) -> dict[str, Any]:
    """Partition -> metadata of what was observed of an asset."""
    records = dagster.fetch_observations(dg.AssetKey([tiny.NAME, asset]), limit=20).records
    return {r.partition_key: r.event_log_entry.asset_observation.metadata for r in records}  # type: ignore[misc,union-attr]


def test_an_observation_shows_the_tile(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    look(dagster, dataset)
    shown = observed(dagster, "orthophoto")["t0"]
    assert {"path", "preview", "crs"} <= shown.keys()
    assert "data:image/png;base64," in str(shown["preview"].value)


def test_an_unreadable_file_is_observed_with_its_problem(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    (dataset.folder / "t1.tif").write_bytes(b"no raster")
    look(dagster, dataset)
    assert "GeoTIFF" in str(observed(dagster, "orthophoto")["t1"]["problem"].value)


def test_a_request_is_of_a_registered_job_with_its_reasons(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    sensor = collect([dataset]).get_repository_def().get_sensor_def("tiny_watch")
    result = sensor(dg.build_sensor_context(instance=dagster))
    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or []
    assert request.job_name == "tiny_prepare"
    assert json.loads(request.tags["landcover/tiles"]) == ["t0", "t1", "t2"]
    assert request.tags["landcover/dataset"] == tiny.NAME
    assert request.tags["landcover/stage"] == "prepare"
    assert request.tags["landcover/reasons"] == "ground_truth t0, t1, t2: missing: nothing published"


def test_two_ticks_at_once_ask_for_one_run(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    first, second = Weeks(dagster).tick(), Weeks(dagster).tick()
    assert [request.run_key for request in first] == [request.run_key for request in second]


def test_an_idle_look_is_not_repeated_within_a_minute(
    dagster: dg.DagsterInstance, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    materialise(dagster, dataset, PREPARED)
    assets = lineage(dataset)
    first = chain.tick(dataset, assets, dagster, None, NOW)
    tiny.write_tile(dataset.folder, "t7", column=7)
    soon = chain.tick(dataset, assets, dagster, first.cursor, NOW + timedelta(seconds=chain.TICK_S))
    assert not soon.run_requests
    assert soon.cursor == first.cursor
    later = chain.tick(dataset, assets, dagster, first.cursor, NOW + timedelta(seconds=chain.LOOK_S))
    assert [request.partition_key for request in later.run_requests or []] == ["t7"]
    again = chain.tick(dataset, assets, dagster, later.cursor, NOW + timedelta(seconds=chain.LOOK_S + chain.TICK_S))
    assert again.run_requests, "one tick suffices while something is under way"


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_what_a_person_runs_is_not_requested_beside_it(
    dagster: dg.DagsterInstance, dataset: Dataset, status: dg.DagsterRunStatus
) -> None:
    sources.observe(dagster, dataset)
    job = collect([dataset]).resolve_job_def("tiny_prepare")
    keys = frozenset({partitions.key(dataset, "ground_truth")})
    dagster.create_run_for_job(job, tags={"dagster/partition": "t1"}, asset_selection=keys, status=status)
    seen = look(dagster, dataset)
    assert seen.active
    assert seen.runs == ()


def test_a_cancelled_build_waits_for_a_hand(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    (run,) = look(dagster, dataset).runs
    job = collect([dataset]).resolve_job_def("tiny_prepare")
    cancelled = dagster.create_run_for_job(job, tags=chain.run_tags(dataset, run))
    dagster.report_run_canceled(cancelled)
    seen = look(dagster, dataset)
    assert seen.runs == ()
    assert "was cancelled; materialise it by hand" in seen.sentence()
    tiny.write_tile(dataset.folder, "t1", column=1, lake=0.7)
    assert len(look(dagster, dataset).runs) == 1, "it is made of something else now"


def test_a_build_that_ends_without_a_result_is_tried_twice(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    job = collect([dataset]).resolve_job_def("tiny_prepare")
    keys = set()
    for _ in range(chain.MOST_TRIES):
        (run,) = look(dagster, dataset).runs
        keys.add(chain.run_request(dataset, lineage(dataset), run, dagster).run_key)
        dagster.report_run_failed(dagster.create_run_for_job(job, tags=chain.run_tags(dataset, run)))
    assert len(keys) == chain.MOST_TRIES
    seen = look(dagster, dataset)
    assert seen.runs == ()
    assert "2 runs failed" in seen.sentence()


def test_status_check_and_sensor_say_of_a_training_that_is_not_due_that_it_is_built_by_hand(
    dagster: dg.DagsterInstance, configs: Path, home: Path, tmp_path: Path
) -> None:
    dataset = tiny.write(configs, tmp_path / "raw", retraining={"when": "never"})
    materialise(dagster, dataset, PREPARED, log=lambda line: None)
    assert not overview.last_state(dagster, tiny.NAME).current, "what was not asked for is not up to date either"
    lines = list(status.status(dataset, dagster).lines())
    note = "models are trained by hand (`retraining.when: never`)"
    held = f"not due for the schedule ({note}); `landcover materialise` builds it now"
    assert "up to date" not in lines[0]
    assert any(line.endswith(held) for line in lines)
    assert f"  next run model {tiny.EXPERIMENT}" in lines
    assert lines[-1] == "Next: landcover materialise tiny"
    seen = look(dagster, dataset)
    assert seen.state is not None
    assert seen.runs == ()
    assert held in seen.state.steps["model", tiny.EXPERIMENT].reason
    assert chain.state_rows(seen.state) == chain.state_rows(chain.state_plan(dataset, lineage(dataset), dagster))
    assert [run.key for run in next_runs(seen.state)] == [run.key for run in next_runs(described(dagster, dataset))]


def test_of_eighteen_tiles_with_one_truncated_seventeen_are_built(
    dagster: dg.DagsterInstance, configs: Path, home: Path, tmp_path: Path
) -> None:
    dataset = tiny.write(configs, tmp_path / "raw", tiles=18, retraining={"when": "never"})
    image = tmp_path / "raw" / "t5.tif"
    image.write_bytes(image.read_bytes()[:300])
    weeks = Weeks(dagster)
    runs = weeks.pass_week()
    names = [f"t{i}" for i in range(18) if i != 5]
    assert {*versions(home, "ground_truth")} == {*versions(home, "patches")} == {*names}
    events = dagster.get_materialized_partitions(dg.AssetKey([tiny.NAME, "ground_truth"]))
    assert events == {*names}, "no event names a tile that was not built"
    plan = described(dagster, dataset)
    assert plan.steps["ground_truth", "t5"].state is State.FAILED
    assert "t5.tif" in plan.steps["dataset_manifest", None].reason
    assert "t5" in weeks.said[-1]
    assert weeks.pass_week() == [], f"its files are unchanged: {runs}"

    tiles = yaml.safe_load((configs / "datasets" / f"{tiny.NAME}.yaml").read_text())["tiles"]
    going_on = change(configs, tiles={**tiles, "go_on_without": ["t5"]})
    assert weeks.pass_week() == ["manifest"]
    manifest = publish.current(home / tiny.NAME / "dataset_manifest", "dataset")
    assert manifest.json("summary.json")["tiles"] == 17
    assert "Made without tile t5" in manifest.file("index.html").read_text()
    assert described(dagster, going_on).steps["dataset_manifest", None].state is State.CURRENT

    tiny.write_tile(tmp_path / "raw", "t5", column=5)
    assert weeks.pass_week() == [], "it was mended; all goes on without it as long as the configuration says so"
    change(configs, tiles=tiles)
    assert weeks.pass_week() == ["prepare t5", "manifest"]


def truncated(raw: Path) -> None:
    image = raw / "t1.tif"
    image.write_bytes(image.read_bytes()[:300])


def no_geopackage(raw: Path) -> None:
    (raw / "t1.gpkg").write_bytes(b"no GeoPackage")


def unknown_code(raw: Path) -> None:
    (raw / "t1.gpkg").unlink()
    x, y = ORIGIN[0] + tiny.SIDE, ORIGIN[1]
    write_polygons(raw / "t1.gpkg", [(box(x, y - tiny.SIDE, x + tiny.SIDE, y), "99")])


def test_checks_of_a_tile_that_is_gone_are_evaluated_again(
    dagster: dg.DagsterInstance, dataset: Dataset, configs: Path
) -> None:
    dataset = tiny.write(configs, dataset.folder, tiles=4)
    image = dataset.folder / "t0.tif"
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(MaterialisationError):
        materialise(dagster, dataset, PREPARED, log=lambda line: None)
    keys = [spec.key for check in checks(dataset) for spec in check.check_specs]
    failed = {evaluation.check_name for evaluation, _ in last_evaluations(dagster, keys) if not evaluation.passed}
    assert "files_fit" in failed
    image.unlink()
    (dataset.folder / "t0.gpkg").unlink()
    materialise(dagster, dataset, PREPARED, log=lambda line: None)
    states = {evaluation.check_name: evaluation.passed for evaluation, _ in last_evaluations(dagster, keys)}
    assert states["files_fit"]
    assert states["areas_agree"], "its run had died"
    records = dagster.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    assert {record.status.value for record in records.values()} <= {"SUCCEEDED", "FAILED"}


@pytest.mark.parametrize("spoil", [truncated, no_geopackage, unknown_code])
def test_each_fault_of_a_tile_is_told_once(
    dagster: dg.DagsterInstance, dataset: Dataset, spoil: Callable[[Path], None]
) -> None:
    spoil(dataset.folder)
    for tries in ("that runs it", "that finds it failed"):
        with pytest.raises(MaterialisationError) as failed:
            materialise(dagster, dataset, PREPARED, log=lambda line: None)
        texts = [str(problem) for problem in failed.value.problems]
        assert all(text.startswith("tile t1: no `ground_truth`: ") for text in texts), tries
        assert all("or go on without it: `tiles.go_on_without: [t1]`" in text.lower() for text in texts), tries
        faults = [text.partition("no `ground_truth`: ")[2].partition(" Fix: ")[0] for text in texts]
        assert len(faults) == len({*faults}) > 0, tries


def test_a_tile_of_an_invalid_name_is_named_and_the_others_are_built(
    dagster: dg.DagsterInstance, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.write_tile(dataset.folder, "t 3", column=3)
    (run,) = look(dagster, dataset).runs
    assert run.partitions == ("t0", "t1", "t2")
    assert "waits: tile 't 3': a name that Dagster cannot take" in look(dagster, dataset).sentence()
    lines: list[str] = []
    materialise(dagster, dataset, ["ground_truth"], log=lines.append)
    assert any("rename its files, as t-3" in line for line in lines)
    assert main(["check", tiny.NAME]) == 1
    text = capsys.readouterr().out
    assert "problem: tile 't 3'" in text
    assert "tiny: 3 tiles, 1 problem, " in text


def test_a_diverging_recipe_is_a_row_and_the_command_ends_with_it(
    dagster: dg.DagsterInstance, configs: Path, home: Path, tmp_path: Path
) -> None:
    tiny.save(configs, "experiments", {**tiny.RECIPE, "name": "wild", "optimiser": {"name": "sgd", "lr": 1e30}})
    dataset = tiny.write(configs, tmp_path / "raw", tiles=4, experiments=["wild", tiny.EXPERIMENT])
    with training_in_process(), pytest.raises(MaterialisationError, match="diverged at epoch 1") as failed:
        materialise(dagster, dataset)
    assert len(failed.value.problems) == 1, "the same problem once, whatever waits for it"
    assert failed.value.outcome is not None
    shown = "\n".join(summary.lines(dagster, dataset, failed.value.outcome, 1.0))
    assert "Scores on the test ground" in shown, "what was built is shown all the same"
    assert "Champion: quick" in shown
    assert "wild" not in shown.splitlines()[0], "its run built nothing"
    assert publish.current(home / tiny.NAME / "champion", "champion").json("champion.json")["experiment"] == "quick"
    page = publish.current(home / tiny.NAME / "leaderboard", "leaderboard").file("index.html").read_text()
    assert "failed: diverged at epoch 1" in page
    with training_in_process(), pytest.raises(MaterialisationError, match="diverged at epoch 1"):
        materialise(dagster, dataset)
    runs = dagster.get_runs(dg.RunsFilter(job_name="tiny_train"))
    assert len(runs) == 2, "the same recipe is not tried again"


def test_what_is_asked_for_is_built_again_and_nothing_else(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    materialise(dagster, dataset, PREPARED)
    before = {asset: versions(config.home(), asset) for asset in PREPARED}
    product = publish.current(config.home() / tiny.NAME / "patches", "t1").path
    inode = (product / "manifest.json").stat().st_ino
    assert materialise(dagster, dataset, PREPARED, force=["patches/t1"]).runs == 1
    assert {asset: versions(config.home(), asset) for asset in PREPARED} == before
    assert (product / "manifest.json").stat().st_ino != inode
    assert materialise(dagster, dataset, PREPARED).runs == 0
    with pytest.raises(MaterialisationError, match="patchez"):
        materialise(dagster, dataset, PREPARED, force=["patchez"])


@pytest.mark.parametrize("damage", ["gone", "cut", "extra schema"])
def test_a_product_that_is_gone_or_damaged_is_built_again(
    dagster: dg.DagsterInstance, dataset: Dataset, damage: str
) -> None:
    materialise(dagster, dataset, PREPARED)
    before = {asset: versions(config.home(), asset) for asset in PREPARED}
    path = publish.current(config.home() / tiny.NAME / "patches", "t1").path
    if damage == "gone":
        shutil.rmtree(path)
    elif damage == "cut":
        (path / "summary.json").write_bytes(b"{")
    else:
        manifest = json.loads((path / "manifest.json").read_text())
        (path / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    assert stale(dagster, dataset, PREPARED) == {"patches": ["t1"]}
    assert materialise(dagster, dataset, PREPARED).runs == 1
    assert {asset: versions(config.home(), asset) for asset in PREPARED} == before


def test_everything_runs_each_stage_by_its_own_job(
    dagster: dg.DagsterInstance, configs: Path, home: Path, tmp_path: Path
) -> None:
    dataset = tiny.write(configs, tmp_path / "raw", tiles=4)
    with training_in_process():
        done = collect([dataset]).resolve_job_def("tiny_everything").execute_in_process(instance=dagster)
    assert done.success
    names = ["everything", *stages(lineage(dataset))]
    assert names[:4] == ["everything", "prepare", "manifest", "train"]
    assert [run.job_name for run in reversed(dagster.get_runs())] == [f"tiny_{stage}" for stage in names]
    assert described(dagster, dataset).up_to_date


def test_the_check_of_the_group_says_what_is_stale_and_why(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    materialise(dagster, dataset, PREPARED)
    tiny.write_tile(dataset.folder, "t1", column=1, lake=0.6)
    check = chain.up_to_date_key(dataset)
    job = dg.define_asset_job("check", selection=dg.AssetSelection.checks(check))
    definitions = dg.Definitions.merge(collect([dataset]), dg.Definitions(jobs=[job]))
    (outcome,) = definitions.resolve_job_def("check").execute_in_process(instance=dagster).get_asset_check_evaluations()
    assert not outcome.passed
    rows = [row.data for row in outcome.metadata["steps"].value.records]  # type: ignore[union-attr]
    first = next(row for row in rows if row["state"] == "build")
    assert (first["asset"], first["partition"], first["why"]) == ("ground_truth", "t1", "image, label changed")


def test_a_tile_of_another_flight_changes_nothing_that_was_trained(
    dagster: dg.DagsterInstance, configs: Path, home: Path, tmp_path: Path
) -> None:
    dataset = tiny.write(configs, tmp_path / "raw", tiles_settings={"unlabelled": "bare/{tile}.tif"})
    bare = dataset.folder / "bare"
    tiny.write_tile(bare, "p0", column=20)
    materialise(dagster, dataset, PREPARE)
    digest = publish.current(home / tiny.NAME / "dataset_manifest", "dataset").json("summary.json")["digest"]
    write_geotiff(bare / "p1.tif", np.full((3, tiny.SIDE, tiny.SIDE), 250, np.uint8), origin=(900_000, 5_000_000))
    materialise(dagster, dataset, PREPARE)
    again = publish.current(home / tiny.NAME / "dataset_manifest", "dataset").json("summary.json")
    assert (again["digest"], again["unlabelled_tiles"]) == (digest, 2)


def test_identifiers_are_what_dagster_takes() -> None:
    assert partitions.identifier(config.load_dataset("demo").model_copy(update={"name": "a-b"})) == "a_b"
