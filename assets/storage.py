"""Dagster's SQLite storage with one engine a database, so that a statement is compiled once and not at every event."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import dagster as dg
import sqlalchemy
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

from assets.storage_internals import (
    ASSET_EVENTS,
    INDEX_SHARD_NAME,
    AssetKeyTable,
    ConfigurableClassData,
    DagsterSqliteStorage,
    DagsterStorage,
    InstigatorsTable,
    RunsTable,
    SecondaryIndexMigrationTable,
    SqlEventLogStorageTable,
    SqliteEventLogStorage,
    SqliteRunStorage,
    SqliteScheduleStorage,
    create_db_conn_string,
)

SQLITE = "sqlite:///"
BUSY_S = 30
"""Seconds that a writer waits for another one."""

ENGINES = 64
"""Engines that are kept: one a run's event log, and three."""


@lru_cache(ENGINES)
def engine(url: str) -> Engine:
    """The engine of a database; it keeps no connection, as the file may be taken away or restored meanwhile."""
    return sqlalchemy.create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_S})


PREPARED: dict[str, int] = {}
"""Databases that this process has seen with the present schema, and their inodes: Dagster makes an instance a tick."""


def prepare(url: str, make: Callable[[], object]) -> None:
    """Makes a database where it is not there, or is another file than the one whose schema was looked at."""
    if (file := inode(url)) is not None and file == PREPARED.get(url):
        return
    make()
    PREPARED[url] = inode(url) or 0


def require_folder(folder: Path) -> None:
    """Raises FileNotFoundError where a folder that held databases of this process is gone: nothing makes it anew."""
    if not folder.is_dir() and any(Path(url.removeprefix(SQLITE)).is_relative_to(folder) for url in PREPARED):
        raise FileNotFoundError(errno.ENOENT, "the home was moved away or deleted", str(folder))


def inode(url: str) -> int | None:
    """Which file a database is; None where there is none."""
    try:
        return Path(url.removeprefix(SQLITE)).stat().st_ino
    except FileNotFoundError:
        return None


@lru_cache(ENGINES)
def tables(url: str) -> Mapping[str, frozenset[str]]:
    """Table -> its columns, of a database; Dagster asks at every event of an asset."""
    described = sqlalchemy.inspect(engine(url))
    names = described.get_table_names()
    return {name: frozenset(column["name"] for column in described.get_columns(name)) for name in names}


class OneDatabase:
    """A storage of one database: each use is a transaction."""

    _conn_string: str

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A transaction."""
        with engine(self._conn_string).begin() as connection:
            yield connection


class RunStorage(OneDatabase, SqliteRunStorage):
    """Runs, in `history/runs.db`."""

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        """The storage below a folder; the first time that this process opens it, its schema is looked at."""
        url = create_db_conn_string(base_dir, "runs")
        prepare(url, lambda: super(RunStorage, cls).from_local(base_dir, inst_data))
        return cls(url, inst_data)

    def has_run_stats_index_cols(self) -> bool:
        """Whether runs have their times as columns."""
        return {"start_time", "end_time"} <= tables(self._conn_string)[RunsTable.name]

    def has_backfill_id_column(self) -> bool:
        """Whether runs have their backfill as a column."""
        return "backfill_id" in tables(self._conn_string)[RunsTable.name]


class ScheduleStorage(OneDatabase, SqliteScheduleStorage):
    """Schedules, sensors and their ticks, in `schedules/schedules.db`."""

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        """The storage below a folder; the first time that this process opens it, its schema is looked at."""
        url = create_db_conn_string(base_dir, "schedules")
        prepare(url, lambda: super(ScheduleStorage, cls).from_local(base_dir, inst_data))
        return cls(url, inst_data)

    def _has_instigators_table(self, conn: Connection) -> bool:
        return InstigatorsTable.name in tables(self._conn_string)

    def has_secondary_index_table(self) -> bool:
        """Whether finished migrations are written down."""
        return SecondaryIndexMigrationTable.name in tables(self._conn_string)


class EventLogStorage(SqliteEventLogStorage):
    """Events: a database a run, and an index of those that are about assets."""

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        url = self.conn_string_for_shard(shard)
        with self._db_lock:
            prepare(url, lambda: self._initdb(engine(url)))
            with engine(url).begin() as connection:
                yield connection

    def add_dynamic_partitions(self, partitions_def_name: str, partition_keys: Sequence[str]) -> None:
        """Adds partitions; those that another process adds at the same time are there the second time."""
        try:
            super().add_dynamic_partitions(partitions_def_name, partition_keys)
        except IntegrityError:
            super().add_dynamic_partitions(partitions_def_name, partition_keys)

    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table."""
        return table_name in tables(self.conn_string_for_shard(INDEX_SHARD_NAME))

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        return column_name in tables(self.conn_string_for_shard(INDEX_SHARD_NAME))[AssetKeyTable.name]

    def upgrade(self) -> None:
        """Upgrades the schema of all databases."""
        super().upgrade()
        PREPARED.clear()
        tables.cache_clear()

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Stores events of one run; those about assets in two transactions, whatever their number."""
        about_assets = [event for event in events if event.dagster_event_type in ASSET_EVENTS]
        for event in events:
            if event.dagster_event_type not in ASSET_EVENTS:
                self.store_event(event)
        if not about_assets:
            return
        rows = [self._event_to_row(event) for event in about_assets]
        with self.run_connection(about_assets[0].run_id) as connection:
            connection.execute(SqlEventLogStorageTable.insert(), rows)
        last = {event.get_dagster_event().asset_key: i for i, event in enumerate(about_assets)}
        with self.index_transaction() as connection:
            added = [connection.execute(SqlEventLogStorageTable.insert().values(**row)) for row in rows]
            ids = [int(key[0]) for result in added if (key := result.inserted_primary_key)]
            self._store_asset_event_tags(connection, about_assets, ids)
            for i in last.values():
                self._store_asset_event(connection, about_assets[i], ids[i])


class SqliteStorage(DagsterSqliteStorage):
    """The `storage` of dagster.yaml: the databases of Dagster's own default, at the same places."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        folder = Path(base_dir)
        self.base_dir, self._inst_data = base_dir, inst_data
        self._run_storage = RunStorage.from_local(str(folder / "history"))
        self._event_log_storage = EventLogStorage(str(folder / "history" / "runs"))
        self._schedule_storage = ScheduleStorage.from_local(str(folder / "schedules"))
        DagsterStorage.__init__(self)  # type: ignore[no-untyped-call, arg-type]  # the one between opens them a second time

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> SqliteStorage:
        """The storage below the folder `base_dir`."""
        require_folder(Path(config_value["base_dir"]))
        return cls.from_local(inst_data=inst_data, **config_value)
