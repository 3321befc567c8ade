"""Private API of Dagster's SQLite storage, compute logs, ticks and workspace, apart as loading it takes half a second.

Ticks and states of schedules whose dataset was taken out: the public instance has no call that ends them.
"""

from dagster._core.events import ASSET_EVENTS
from dagster._core.scheduler.instigation import InstigatorState, TickStatus
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.schedules.schema import InstigatorsTable, SecondaryIndexMigrationTable
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._grpc.client import DagsterGrpcClient
from dagster._serdes import ConfigurableClassData

__all__ = [
    "ASSET_EVENTS",
    "INDEX_SHARD_NAME",
    "AssetKeyTable",
    "CapturedLogContext",
    "ConfigurableClassData",
    "DagsterGrpcClient",
    "DagsterSqliteStorage",
    "DagsterStorage",
    "InstigatorState",
    "InstigatorsTable",
    "LocalComputeLogManager",
    "RunsTable",
    "SecondaryIndexMigrationTable",
    "SqlEventLogStorageTable",
    "SqliteEventLogStorage",
    "SqliteRunStorage",
    "SqliteScheduleStorage",
    "TickStatus",
    "WorkspaceFileTarget",
    "WorkspaceProcessContext",
    "create_db_conn_string",
]
