"""Private API of Dagster that no public one replaces; its storage's is in `storage_internals`.

What Dagster may move without notice is imported here alone, and `tests/orchestration/test_internals.py` names each that
it moved. Why each is needed:

- events of many tiles in one batch: `report_runless_asset_event` writes one at a time;
- runs with an origin: `execute_in_process` records none, and the timeline leaves such runs out;
- the guarded webserver on a code server's socket: `dagster-webserver` takes no middleware;
"""

from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.errors import DagsterPipesExecutionError, DagsterUserCodeUnreachableError
from dagster._core.events import (
    AssetObservationData,
    DagsterEventBatchMetadata,
    StepMaterializationData,
)
from dagster._core.execution.api import execute_run
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

__all__ = [
    "RUNLESS_JOB_NAME",
    "RUNLESS_RUN_ID",
    "AssetObservationData",
    "DagsterEventBatchMetadata",
    "DagsterPipesExecutionError",
    "DagsterUserCodeUnreachableError",
    "InMemoryJob",
    "LoadableTargetOrigin",
    "ManagedGrpcPythonEnvCodeLocationOrigin",
    "RemoteJobOrigin",
    "RemoteRepositoryOrigin",
    "StepMaterializationData",
    "UnresolvedAssetJobDefinition",
    "execute_run",
]
