"""MLflow client and server: SQLite below LANDCOVER_HOME, or the server at MLFLOW_TRACKING_URI; addresses of pages."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen

from landcover_orch.errors import ConfigError, Problem, TrackingError
from landcover_orch.pages.links import PAGES
from landcover_orch.store.locks import locked
from landcover_orch.tracking.locations import DATABASE, SCHEME, file_locations_problem

log = logging.getLogger(__name__)

SQLITE = "sqlite:///"
DEFAULT_PORTS = {"http": 80, "https": 443}
TRAINING_VIEW = "?workflowType=machine_learning"

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",  # a database that was deleted or put back is opened anew
}

PROBE_S, SILENCE_S = 5.0, 30.0
"""How long a server may take to say that it is there, and how long one that did not is not asked again."""

_silent_until: dict[str, float] = {}
"""Addresses of servers that did not answer in time, and until when they are not asked again."""


def address(home: Path) -> str:
    """Tracking URI: MLFLOW_TRACKING_URI, or the database below `home`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{home.resolve() / DATABASE}"


def database(home: Path) -> str:
    """Database below `home`, or the one that MLFLOW_TRACKING_URI names."""
    uri = address(home)
    return uri if uri.startswith(SQLITE) else f"{SQLITE}{home.resolve() / DATABASE}"


def artifacts(home: Path, experiment: str) -> str | None:
    """Artifact location of a new experiment, which names no folder; None where a server decides by itself."""
    return f"{SCHEME}:/{quote(experiment)}" if address(home).startswith(SQLITE) else None


def public_url() -> str | None:
    """Public address: LANDCOVER_URL, of a reverse proxy or a forwarded port before the servers; None: there is none.

    Raises:
        ConfigError: it is no address of a server.
    """
    value = os.environ.get("LANDCOVER_URL", "").strip()
    if not value:
        return None
    try:
        parts = urlsplit(value)
        named = parts.scheme in DEFAULT_PORTS and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        named = False
    if not named or set(value) & set("@?#*, "):
        example = "http(s)://HOST[:PORT][/PATH]"
        raise ConfigError(Problem("LANDCOVER_URL", repr(value), example, "write it so, as a browser shows it"))
    return value.rstrip("/")


def host_and_origin(url: str) -> tuple[str, str]:
    """Headers Host and Origin of a browser's requests to an address: without the default port, in lower case."""
    parts = urlsplit(url)
    default = f":{DEFAULT_PORTS.get(parts.scheme)}"
    host = parts.netloc.lower().removesuffix(default)
    return host, f"{parts.scheme}://{host}"


def interface() -> str:
    """Address of MLflow's web interface: LANDCOVER_MLFLOW_UI, `mlflow` below LANDCOVER_URL, or its port on loopback."""
    public, port = public_url(), os.environ.get("LANDCOVER_MLFLOW_PORT", "5000")
    default = f"{public}/mlflow" if public else f"http://127.0.0.1:{port}"
    return (os.environ.get("LANDCOVER_MLFLOW_UI") or default).rstrip("/")


def dagster_interface() -> str:
    """Address of Dagster's web interface: LANDCOVER_URL, LANDCOVER_DAGSTER_UI, or its port on loopback."""
    port = os.environ.get("LANDCOVER_DAGSTER_PORT", "3000")
    default = os.environ.get("LANDCOVER_DAGSTER_UI") or f"http://127.0.0.1:{port}"
    return (public_url() or default).rstrip("/")


def training_view(page: str) -> str:
    """A page of MLflow in its view for training; without it a newcomer lands among traces."""
    return f"{page}{TRAINING_VIEW}"


def run_page(experiment_id: str, run_id: str) -> str:
    """Address of a run in MLflow's pages for training."""
    return training_view(f"{interface()}/#/experiments/{experiment_id}/runs/{run_id}")


def version_page(name: str, version: str) -> str:
    """Address of a registered version in MLflow's pages for training."""
    return training_view(f"{interface()}/#/models/{quote(name)}/versions/{version}")


def product_page(dataset: str, asset: str, name: str) -> str:
    """Address of a product's page on Dagster's webserver."""
    return f"{dagster_interface()}{PAGES}/{quote(dataset)}/{quote(asset)}/{quote(name)}/index.html"


def server_command(home: Path, port: int) -> list[str]:
    """Command of MLflow's server on loopback: one worker over the database of `home`, which serves its artifacts too.

    It answers to its own port on this machine alone; under LANDCOVER_URL to that host and origin alone. Experiments
    whose artifacts a client of this server could not load are logged, with the command that moves them.

    Raises:
        ConfigError: LANDCOVER_URL is no address.
    """
    from landcover_mlflow import artifact_folder

    if problem := file_locations_problem(home):
        log.warning("%s", problem)
    uri, local = database(home), (f"http://127.0.0.1:{port}", f"http://localhost:{port}")
    addresses = [host_and_origin(url) for url in ((interface(),) if public_url() else local)]
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", uri, "--default-artifact-root", f"{SCHEME}:/"),
        *("--serve-artifacts", "--artifacts-destination", artifact_folder(uri).as_uri()),
        *("--allowed-hosts", ",".join(host for host, _ in addresses)),
        *("--cors-allowed-origins", ",".join(origin for _, origin in addresses)),
        *("--uvicorn-opts", "--log-level warning"),
    ]


def server_environment() -> dict[str, str]:
    """Environment of MLflow's server: this one, without jobs (13 processes and 2 GB) and without telemetry."""
    return {**os.environ, **SETTINGS, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def set_environment() -> None:
    """MLflow's environment variables for this process, where they are not set: to be called before it is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def client(home: Path) -> Any:
    """A client of the MLflow of `home`; its database is made by one process while the others wait."""
    set_environment()
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories

    from landcover_mlflow import repository

    get_registered_artifact_repositories()[SCHEME] = repository  # type: ignore[assignment]  # where the plugin is not installed, only on the path
    uri = address(home)
    if not uri.startswith(SQLITE):
        require_answer(uri)
        return MlflowClient(uri, uri)
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / ".mlflow.lock"):
        # Raises sqlite3.Error where MLflow could not open its database: it would try again for 100 seconds.
        with closing(sqlite3.connect(uri.removeprefix(SQLITE))) as connection:
            has_tables = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        with known_warnings():
            if has_tables is None:
                create_database(uri)
            return MlflowClient(uri, uri)


def require_answer(uri: str) -> None:
    """Raises TimeoutError where a server accepts connections and answers none: each call would wait for its timeout.

    Whatever it answers will do. What cannot be asked so (another scheme, a refused connection) is MLflow's to say.
    """
    text = f"no answer within {PROBE_S:.0f} s"
    if time.monotonic() < _silent_until.get(uri, 0.0):
        raise TimeoutError(text)
    try:
        if urlsplit(uri).scheme in DEFAULT_PORTS:
            urlopen(f"{uri.rstrip('/')}/health", timeout=PROBE_S).close()  # noqa: S310 - the address that a person set
    except OSError as error:
        if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
            _silent_until[uri] = time.monotonic() + SILENCE_S
            raise TimeoutError(text) from error
        if isinstance(error, HTTPError):
            error.close()


def create_database(uri: str) -> None:
    """Creates MLflow's tables; its experiment `Default`, too, gets a location that names no folder."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(uri, f"{SCHEME}:/").engine.dispose()  # type: ignore[no-untyped-call]


@contextmanager
def fluent(home: Path) -> Iterator[None]:
    """MLflow's fluent API on the MLflow of `home`; its address is no setting of this process afterwards."""
    import mlflow

    previous = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(address(home))  # also sets the variable, for this process and its children
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        if previous is not None:
            os.environ["MLFLOW_TRACKING_URI"] = previous


@contextmanager
def known_warnings() -> Iterator[None]:
    """Filters the warnings of MLflow 3.17 about itself: a deprecated loader of SQLAlchemy, its own type hints."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The ``noload`` loader", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=r".*type hint", category=UserWarning)
        yield


def failures() -> tuple[type[Exception], ...]:
    """Exceptions that MLflow raises when it cannot be reached or its database cannot be written."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, sqlite3.Error, OSError


@contextmanager
def reachable(home: Path, doing: str) -> Iterator[Any]:
    """A client whose failures become one TrackingError, which says what was being done and how to start MLflow.

    A TrackingError of what it was asked for goes on as it is: MLflow did answer.
    """
    try:
        yield client(home)
    except TrackingError:  # is an OSError, as the failures are
        raise
    except failures() as error:
        raise TrackingError(
            Problem(
                f"MLflow at {address(home)}",
                f"{doing} failed ({' '.join(str(error).split())[:300]})",
                "an answer",
                "start it (`make ui`), or correct MLFLOW_TRACKING_URI, and materialise again",
            )
        ) from error
