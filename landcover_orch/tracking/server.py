"""MLflow client: SQLite below LANDCOVER_HOME, or the server at MLFLOW_TRACKING_URI."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from landcover_orch.errors import Problem, TrackingError

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def address(home: Path) -> str:
    """Tracking URI: MLFLOW_TRACKING_URI, or the database below `home`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home.resolve() / 'mlflow.db'}"


def artifacts(home: Path) -> str | None:
    """Artifact location of a new experiment; None where a server decides by itself."""
    return (home.resolve() / "mlartifacts").as_uri() if address(home).startswith("sqlite:") else None


def interface() -> str:
    """Address of MLflow's web interface."""
    return os.environ.get("LANDCOVER_MLFLOW_UI", "http://127.0.0.1:5000").rstrip("/")


def client(home: Path) -> Any:
    """A client of the MLflow of `home`; its database is made by one process while the others wait."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    uri = address(home)
    if not uri.startswith("sqlite:"):
        return MlflowClient(uri, uri)
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".mlflow.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Raises sqlite3.Error where MLflow could not open its database: it would try again for 100 seconds.
        with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
            database.execute("PRAGMA schema_version")
        with known_warnings():
            return MlflowClient(uri, uri)


@contextmanager
def known_warnings() -> Iterator[None]:
    """Filters the warnings of MLflow 3.17 about itself: a deprecated loader of SQLAlchemy, its own type hints,
    and that a signature without an example may be wrong (a test serves the model)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The ``noload`` loader", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=r".*type hint", category=UserWarning)
        warnings.filterwarnings("ignore", message=r".*input example was not provided", category=UserWarning)
        yield


def failures() -> tuple[type[Exception], ...]:
    """Exceptions that MLflow raises when it cannot be reached or its database cannot be written."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, sqlite3.Error, OSError


@contextmanager
def reachable(home: Path, doing: str) -> Iterator[Any]:
    """A client whose failures become one TrackingError, which says what was being done and how to start MLflow."""
    try:
        yield client(home)
    except failures() as error:
        raise TrackingError(
            Problem(
                f"MLflow at {address(home)}",
                f"{doing} failed ({' '.join(str(error).split())[:300]})",
                "an answer",
                "start it (`make ui`), or correct MLFLOW_TRACKING_URI, and materialise again",
            )
        ) from error


def server_command(home: Path, port: int) -> list[str]:
    """Command of MLflow's server."""
    import sys

    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", address(home), "--default-artifact-root", str(home / "mlartifacts")),
        "--no-serve-artifacts",
    ]
