"""MLflow artifact repository plugin: the scheme `mlflow-artifacts` as files beside an SQLite database, over http else.

So the same locations are read and written by a process that opens the database, by the server, and by its clients; the
database names no folder, and a home can be moved. It is no part of `landcover_orch`, and imports none of it: MLflow
imports its plugins with itself, and a registered model would find this library loaded before the copy it brings along.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

SQLITE = "sqlite:///"


def artifact_folder(tracking_uri: str) -> Path:
    """Folder of the artifacts of an SQLite database: `mlartifacts` beside it."""
    return Path(tracking_uri.removeprefix(SQLITE)).resolve().parent / "mlartifacts"


def repository(artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> Any:
    """Artifact repository of a location `mlflow-artifacts:/...`.

    Args:
        artifact_uri: the location.
        tracking_uri: database or server that gave it; None: that of the process.
        registry_uri: that of the model registry.

    Raises:
        MlflowException: the location leaves its folder, or the database is none of SQLite's.
    """
    import mlflow
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
    from mlflow.utils.uri import validate_path_is_safe

    uri = tracking_uri or mlflow.get_tracking_uri()
    if not uri.startswith(SQLITE):
        return MlflowArtifactsRepository(artifact_uri, uri, registry_uri)
    path = unquote(urlsplit(artifact_uri).path).lstrip("/")
    folder = artifact_folder(uri)
    safe = validate_path_is_safe(path) if path else "."  # type: ignore[no-untyped-call]
    return LocalArtifactRepository((folder / safe).as_uri())
