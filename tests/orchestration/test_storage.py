"""Dagster's storage of this project: the same databases as Dagster's own, read and written by either."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage
from sqlalchemy.exc import IntegrityError

from assets import events, instance, storage

ASSET, OBSERVED, TAG = dg.AssetKey(["d", "patches"]), dg.AssetKey(["d", "orthophoto"]), "dagster/data_version"
TILES = [f"t{i}" for i in range(5)]


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the instance."""
    return instance.prepare()


@pytest.fixture
def ours(folder: Path) -> Iterator[dg.DagsterInstance]:
    """The instance by the dagster.yaml that is shipped."""
    with dg.DagsterInstance.get() as opened:
        assert type(opened.event_log_storage) is storage.EventLogStorage
        assert type(opened.run_storage) is storage.RunStorage
        yield opened


def test_tiles_that_two_processes_add_at_once_are_there(ours: dg.DagsterInstance) -> None:
    add = SqliteEventLogStorage.add_dynamic_partitions

    def meanwhile(self: SqliteEventLogStorage, name: str, keys: list[str]) -> None:
        with mock.patch.object(SqliteEventLogStorage, "add_dynamic_partitions", add):
            ours.add_dynamic_partitions(name, keys)
        raise IntegrityError("INSERT", None, ValueError("UNIQUE constraint failed"))

    with mock.patch.object(
        SqliteEventLogStorage, "add_dynamic_partitions", side_effect=meanwhile, autospec=True
    ) as sql:
        sql.side_effect = lambda *given: meanwhile(*given) if sql.call_count == 1 else add(*given)
        ours.add_dynamic_partitions("tiles", TILES)
    assert sorted(ours.get_dynamic_partitions("tiles")) == TILES


def test_a_folder_that_is_gone_is_not_made_anew(ours: dg.DagsterInstance, folder: Path) -> None:
    reference = ours.get_ref()
    folder.rename(folder.with_name("moved"))
    with pytest.raises(FileNotFoundError, match="moved away or deleted"):
        dg.DagsterInstance.from_ref(reference).get_runs()
    assert not folder.exists()
    folder.with_name("moved").rename(folder)
    assert dg.DagsterInstance.from_ref(reference).get_runs() == []


def dagsters_own(folder: Path) -> dg.DagsterInstance:
    """An instance over the same folder with Dagster's default storage."""
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    opened = dg.DagsterInstance.from_config(str(folder))
    assert not isinstance(opened.event_log_storage, storage.EventLogStorage)
    return opened


def materialise(opened: dg.DagsterInstance, tiles: list[str]) -> str:
    """A run over a range of tiles, each with a version of its own; its number."""
    partitions = dg.StaticPartitionsDefinition(TILES)

    @dg.asset(key=ASSET, partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run())
    def patches(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        yield dg.MaterializeResult(metadata={"tiles": len(context.partition_keys)})
        own = [dg.AssetMaterialization(ASSET, partition=t, tags={TAG: f"own {t}"}) for t in context.partition_keys]
        events.log(context, own)

    tags = {"dagster/asset_partition_range_start": tiles[0], "dagster/asset_partition_range_end": tiles[-1]}
    done = dg.materialize([patches], instance=opened, tags=tags)
    assert done.success
    return done.run_id


def observe(opened: dg.DagsterInstance, tiles: list[str]) -> None:
    """Observations of no run."""
    events.report(opened, [dg.AssetObservation(OBSERVED, partition=t, tags={TAG: f"seen {t}"}) for t in tiles])


def facts(opened: dg.DagsterInstance, run: str) -> dict[str, Any]:
    """What the pages ask of a history."""
    log = opened.event_log_storage
    last = opened.get_latest_materialization_event(ASSET)
    assert last is not None
    assert last.asset_materialization is not None
    kinds = [record.event_log_entry.dagster_event_type for record in opened.get_records_for_run(run).records]
    return {
        "versions": log.get_latest_tags_by_partition(ASSET, dg.DagsterEventType.ASSET_MATERIALIZATION, [TAG]),
        "seen": log.get_latest_tags_by_partition(OBSERVED, dg.DagsterEventType.ASSET_OBSERVATION, [TAG]),
        "tiles": opened.get_materialized_partitions(ASSET),
        "counted": len(opened.fetch_materializations(ASSET, limit=100).records),
        "keys": sorted(opened.all_asset_keys(), key=str),
        "last": last.asset_materialization.partition,
        "planned": kinds.count(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED),
        "events": len(kinds),
        "status": opened.get_run_record_by_id(run).dagster_run.status,  # type: ignore[union-attr]
    }


@pytest.mark.parametrize("events_at_once", ["0", "3", "500"])
def test_dagsters_own_storage_reads_what_is_written_in_batches_of_any_size(
    ours: dg.DagsterInstance, folder: Path, events_at_once: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", events_at_once)
    run = materialise(ours, TILES[1:])
    observe(ours, TILES)
    expected = {
        "versions": {t: {TAG: f"own {t}"} for t in TILES[1:]},
        "seen": {t: {TAG: f"seen {t}"} for t in TILES},
        "tiles": {*TILES[1:]},
        "counted": 8,
        "last": "t4",
        "planned": 4,
        "keys": sorted([ASSET, OBSERVED], key=str),
        "status": dg.DagsterRunStatus.SUCCESS,
    }
    assert {**facts(ours, run), **expected} == facts(ours, run)
    with dagsters_own(folder) as own:
        assert facts(own, run) == facts(ours, run)


def test_a_history_of_dagsters_own_goes_on(folder: Path) -> None:
    with dagsters_own(folder) as own:
        before = materialise(own, TILES[:2])
    (folder / "dagster.yaml").unlink()
    with instance.opened() as ours:
        after = materialise(ours, TILES[1:3])
        assert ours.get_materialized_partitions(ASSET) == {"t0", "t1", "t2"}
        assert {run.run_id for run in ours.get_runs()} == {before, after}


def test_engines_are_as_many_as_databases_whatever_the_events(ours: dg.DagsterInstance) -> None:
    materialise(ours, TILES)
    made = storage.engine.cache_info().misses
    observe(ours, TILES * 20)
    for tile in TILES:
        ours.report_runless_asset_event(dg.AssetObservation(OBSERVED, partition=tile))
    assert storage.engine.cache_info().misses - made <= 1  # the log of events without a run


def test_databases_that_are_taken_away_are_made_again(folder: Path) -> None:
    for _ in range(2):
        with instance.opened() as ours:
            run = materialise(ours, TILES)
            assert facts(ours, run)["counted"] == 10
        for path in [*folder.glob("history/**/*.db*"), *folder.glob("schedules/*.db*")]:
            path.unlink()
