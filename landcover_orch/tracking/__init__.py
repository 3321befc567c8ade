"""MLflow tracking, its only importer: runs, their data and metrics, registered models and their aliases."""

from landcover_orch.tracking.leaderboard import log_leaderboard
from landcover_orch.tracking.locations import Migration, file_locations_problem, move_artifacts
from landcover_orch.tracking.registry import (
    ModelVersion,
    champion,
    download_model,
    export,
    find_version,
    log_report,
    promote,
    register,
    serve,
    set_challenger,
    version_of,
)
from landcover_orch.tracking.repetitions import RegisteredRepetitions, register_repetitions
from landcover_orch.tracking.retention import OldRun, database_state, delete_runs, old_runs, registered_models
from landcover_orch.tracking.runs import EXPERIMENT, FINGERPRINT, Log, Start, Tracker, find_run, run_url, untracked
from landcover_orch.tracking.schema import upgrade_schema
from landcover_orch.tracking.server import (
    address,
    client,
    dagster_interface,
    host_and_origin,
    interface,
    product_page,
    public_url,
    server_command,
    server_environment,
    training_view,
)

__all__ = [
    "EXPERIMENT",
    "FINGERPRINT",
    "Log",
    "Migration",
    "ModelVersion",
    "OldRun",
    "RegisteredRepetitions",
    "Start",
    "Tracker",
    "address",
    "champion",
    "client",
    "dagster_interface",
    "database_state",
    "delete_runs",
    "download_model",
    "export",
    "file_locations_problem",
    "find_run",
    "find_version",
    "host_and_origin",
    "interface",
    "log_leaderboard",
    "log_report",
    "move_artifacts",
    "old_runs",
    "product_page",
    "promote",
    "public_url",
    "register",
    "register_repetitions",
    "registered_models",
    "run_url",
    "serve",
    "server_command",
    "server_environment",
    "set_challenger",
    "training_view",
    "untracked",
    "upgrade_schema",
    "version_of",
]
