"""`landcover clean`: lists, then removes: products that nothing uses, old runs, datasets without a configuration."""

from __future__ import annotations

import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from assets import instance
from assets.chain import DATASET, UNDER_WAY
from assets.status import NAMES_SHOWN
from assets.storage_internals import SqliteEventLogStorage
from landcover_orch import config, tracking
from landcover_orch.config.experiments import KEY
from landcover_orch.errors import ConfigError, Problem, PublishError, pluralise
from landcover_orch.planner import retention as usage
from landcover_orch.store import retention
from landcover_orch.store.costs import format_size as size
from landcover_orch.store.retention import Removable


@contextmanager
def history() -> Iterator[dg.DagsterInstance | None]:
    """Dagster's instance; None where there is none yet, and none is made."""
    if not (config.dagster_home() / "dagster.yaml").is_file():
        yield None
        return
    with instance.opened() as dagster:
        yield dagster


def clean(dataset: str, keep: int, *, unlisted: bool = False, yes: bool = False) -> Iterator[str]:
    """Lists the products of a dataset that nothing uses, with their bytes; removes them where `yes`. Gives lines.

    Args:
        dataset: its name.
        keep: how many former products of each name stay.
        unlisted: whether products of experiments and tiles that the dataset no longer has are unused, too.
        yes: whether to remove them.

    Raises:
        ConfigError: there is neither a configuration nor a folder of that name.
        CatalogueError: there are no tiles, as where a disk is not mounted, and `unlisted` asks for them.
        TrackingError: MLflow does not say which models are registered; nothing was removed.
        PublishError: something of the dataset is being built; nothing was removed.
    """
    home = config.home()
    require_known(dataset, home)
    listed = usage.Listed.of(config.load_dataset(dataset)) if unlisted else None
    items = usage.removable(dataset, home, keep, tracking.registered_models(home), listed)
    total = size(sum(item.bytes for item in items))
    yield from table(items, home / dataset)
    if not items:
        stay = pluralise(keep, "former product of each name stays", "former products of each name stay")
        yield f"{dataset}: nothing to remove; {stay}."
    elif not yes:
        yield f"{dataset}: {pluralise(len(items), 'folder')}, {total} in all. Remove them: the same command with --yes"
    else:
        require_idle(dataset, home)
        removed = [item for item in items if retention.remove(item.path, with_link=item.with_link)]
        yield f"{dataset}: removed {pluralise(len(removed), 'folder')}, {size(sum(item.bytes for item in removed))}."


def clean_all(dataset: str, *, yes: bool = False) -> Iterator[str]:
    """Removes everything of a dataset that has no configuration any more: its folder, and what Dagster knows of it.

    Raises:
        ConfigError: it has a configuration, or there is nothing of that name, or the configuration folder is not there.
        PublishError: something of it is being built, or other datasets use it; nothing was removed.
    """
    home = config.home()
    require_known(dataset, home)
    if (problem := config.missing_configs()) is not None:
        raise ConfigError(problem)
    file, fix = config.find("datasets", dataset), f"take the file away first, or: landcover clean {dataset} --keep 0"
    if config.is_described(dataset):
        raise ConfigError(Problem(str(file or dataset), "a configuration", "a dataset that was taken out", fix))
    if names := usage.users(dataset, home):
        raise PublishError(
            Problem(str(home / dataset), f"used by {', '.join(names)}", "used by nobody", "clean those first")
        )
    folder = home / dataset
    used = size(retention.size(folder))
    if not yes:
        yield f"{dataset}: {used} in {folder}, and its history in Dagster. Remove it: the same command with --yes"
        return
    require_idle(dataset, home)
    with history() as dagster:
        if dagster is not None:
            forget(dagster, dataset)
    retention.remove_folder(folder)
    yield f"{dataset}: removed {used}. Its registered versions stay in MLflow."


def forget(dagster: dg.DagsterInstance, dataset: str) -> None:
    """Wipes a dataset's assets and tiles from Dagster's history."""
    keys = [key for key in dagster.get_asset_keys() if key.path[0] == dataset]
    if keys:
        dagster.wipe_assets(keys)
    tiles = f"{dataset}_tiles"
    for tile in dagster.get_dynamic_partitions(tiles):
        dagster.delete_dynamic_partition(tiles, tile)


def require_known(dataset: str, home: Path) -> None:
    """Raises ConfigError where there is neither a configuration nor a product of that name."""
    if not re.match(KEY, dataset) or home / dataset not in usage.dataset_folders(home):
        config.load_dataset(dataset)


def require_idle(dataset: str, home: Path) -> None:
    """Raises PublishError where something of a dataset is being built."""
    builds = [str(path.relative_to(home)) for path in retention.locks_held(home / dataset)]
    with history() as dagster:
        runs = dagster.get_runs(dg.RunsFilter(statuses=UNDER_WAY)) if dagster is not None else []
    builds += [f"Dagster's run {run.run_id[:8]}" for run in runs if is_of(run, dataset)]
    if builds:
        names = ", ".join(builds[:NAMES_SHOWN])
        raise PublishError(
            Problem(str(home / dataset), f"being built: {names}", "nothing under way", "wait for it, or end it")
        )


def is_of(run: dg.DagsterRun, dataset: str) -> bool:
    """Whether a run is about a dataset, whoever started it."""
    job = re.sub(r"[^A-Za-z0-9_]", "_", dataset)
    named = run.tags.get(DATASET) == dataset or run.job_name.startswith(f"{job}_")
    return named or any(key.path[0] == dataset for key in run.asset_selection or ())


def table(items: Sequence[Removable], folder: Path) -> Iterator[str]:
    """Lines of folders by asset and reason: how many, their bytes, some names."""
    groups: dict[tuple[str, str], list[Removable]] = defaultdict(list)
    for item in items:
        groups[item.path.relative_to(folder).parts[0], item.reason].append(item)
    for (asset, reason), group in groups.items():
        names = [item.path.relative_to(folder / asset).as_posix() for item in group]
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        used = size(sum(item.bytes for item in group))
        yield f"  {asset:<18} {used:>9}  {', '.join(names[:NAMES_SHOWN])}{more} ({reason})"


def known_datasets() -> list[str]:
    """Datasets of the home that have a configuration."""
    return [folder.name for folder in usage.dataset_folders(config.home()) if config.is_described(folder.name)]


def end_removals(home: Path) -> None:
    """Ends removals of whole datasets that were interrupted."""
    for path in home.glob(f".*{retention.REMOVED}"):
        shutil.rmtree(path)


def clean_history(days: int, *, yes: bool = False) -> Iterator[str]:
    """Lists runs of Dagster and MLflow that ended `days` ago and that nothing points to; deletes them where `yes`.

    Raises:
        TrackingError: MLflow does not answer; nothing of it was deleted.
    """
    home, before = config.home(), time.time() - days * retention.DAY_S
    with history() as dagster:
        runs = old_runs(dagster, before) if dagster is not None else []
        ended = f"{pluralise(len(runs), 'run')} ended over {pluralise(days, 'day')} ago"
        yield f"Dagster: {ended}, and no asset shows them."
        if yes and dagster is not None:
            delete_runs(dagster, runs)
    tracked = tracking.old_runs(home, before, used_fingerprints(home))
    ended = f"{pluralise(len(tracked), 'run')} ended over {pluralise(days, 'day')} ago"
    yield f"MLflow: {ended}, and no version or product points to them."
    if yes:
        tracking.delete_runs(home, tracked)
        yield "Deleted."
    elif runs or tracked:
        yield "Delete them: the same command with --yes"


def used_fingerprints(home: Path) -> set[str]:
    """Fingerprints of current products and of champions, of all datasets."""
    folders = usage.dataset_folders(home)
    current = {
        text for f in folders for product in usage.stored(f) if product.is_current for text in product.identities
    }
    return current.union(*(usage.pinned(folder.name, home) for folder in folders))


def old_runs(dagster: dg.DagsterInstance, before: float) -> list[dg.DagsterRun]:
    """Dagster's runs that ended before a time, but for those whose events are the last of an asset or a partition."""
    records = dagster.get_run_records(dg.RunsFilter(statuses=ENDED))
    old = [
        record.dagster_run for record in records if (record.end_time or record.create_timestamp.timestamp()) < before
    ]
    shown = shown_runs(dagster) if old else set()
    return [run for run in old if run.run_id not in shown]


ENDED = [status for status in dg.DagsterRunStatus if status not in UNDER_WAY]


def shown_runs(dagster: dg.DagsterInstance) -> set[str]:
    """Runs that Dagster's catalogue shows: of the last events of each asset and each partition."""
    runs: set[str | None] = set()
    keys = dagster.get_asset_keys()
    for record in dagster.get_asset_records(keys) if keys else []:
        key = record.asset_entry.asset_key
        runs |= {record.asset_entry.last_run_id, *last_runs(dagster, key)}
    return {run for run in runs if run}


def last_runs(dagster: dg.DagsterInstance, key: dg.AssetKey) -> Iterable[str]:
    """Runs of the last materialisation and the last observation of an asset and of each of its partitions."""
    storage = dagster.event_log_storage
    for kind, fetch in (
        (dg.DagsterEventType.ASSET_MATERIALIZATION, dagster.fetch_materializations),
        (dg.DagsterEventType.ASSET_OBSERVATION, dagster.fetch_observations),
    ):
        yield from (record.run_id for record in fetch(key, limit=1).records)
        ids = list(storage.get_latest_storage_id_by_partition(key, kind).values())
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            events = fetch(dg.AssetRecordsFilter(asset_key=key, storage_ids=batch), limit=len(batch))
            yield from (record.run_id for record in events.records)


BATCH = 500
"""Events a query: SQLite takes a limited number of parameters."""


def delete_runs(dagster: dg.DagsterInstance, runs: Iterable[dg.DagsterRun]) -> None:
    """Deletes runs with their events and the output of their steps."""
    for run in runs:
        dagster.compute_log_manager.delete_logs(prefix=[run.run_id])
        dagster.delete_run(run.run_id)
    delete_empty_databases(dagster)


def delete_empty_databases(dagster: dg.DagsterInstance) -> None:
    """Deletes the databases of single runs that are gone: Dagster leaves them, without rows."""
    events = dagster.event_log_storage
    if not isinstance(events, SqliteEventLogStorage):
        return
    files = {run_id: Path(events.path_for_shard(run_id)) for run_id in events.get_all_run_ids() if run_id}
    known = set(dagster.get_run_ids())  # read behind the files: a new run is known before it has one
    for run_id in files.keys() - known:
        for end in ("", "-wal", "-shm"):
            files[run_id].with_name(files[run_id].name + end).unlink(missing_ok=True)
