"""Dagster's SQLite storage with one engine a database, so that a statement is compiled once and not at every event."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy
from dagster._core.events import ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageTable
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

BUSY_S = 30
"""Seconds that a writer waits for another one."""

ENGINES = 64
"""Engines that are kept: one a run's event log, and three."""


@lru_cache(ENGINES)
def engine(url: str) -> Engine:
    """The engine of a database; it holds no connection open between two uses."""
    return sqlalchemy.create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_S})


class RunStorage(SqliteRunStorage):
    """Runs, in `history/runs.db`."""

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A transaction."""
        with engine(self._conn_string).begin() as connection:
            yield connection


class ScheduleStorage(SqliteScheduleStorage):
    """Schedules, sensors and their ticks, in `schedules/schedules.db`."""

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A transaction."""
        with engine(self._conn_string).begin() as connection:
            yield connection


class EventLogStorage(SqliteEventLogStorage):
    """Events: a database a run, and an index of those that are about assets."""

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            database = engine(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(database)
                self._initialized_dbs.add(shard)
            with database.begin() as connection:
                yield connection

    @cache  # noqa: B019 - a storage lives as long as its process
    def has_table(self, table_name: str) -> bool:
        """Whether the index has a table."""
        return super().has_table(table_name)

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        if column_name not in self._columns:  # asked at every event of an asset
            self._columns = {column["name"] for column in sqlalchemy.inspect(conn).get_columns(AssetKeyTable.name)}
        return column_name in self._columns

    _columns: Collection[str] = ()

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
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
        return cls.from_local(inst_data=inst_data, **config_value)
