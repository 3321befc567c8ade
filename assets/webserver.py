"""`python -m assets.webserver`: Dagster's webserver on loopback, behind the guard."""

from __future__ import annotations

import argparse
import logging
import socket
import time
from pathlib import Path
from typing import Any

import dagster as dg
import uvicorn
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from assets import files, instance
from assets.dagster_internals import DagsterUserCodeUnreachableError
from assets.guard import Guard
from assets.storage_internals import DagsterGrpcClient, WorkspaceFileTarget, WorkspaceProcessContext
from landcover_orch.tracking import public_url

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
START_S, POLL_S = 120, 0.2
WORKSPACE = Path(__file__).resolve().parent.parent / "workspace.yaml"


class GuardedWebserver(DagsterWebserver[Any, Any]):
    """Dagster's webserver with the guard as its outermost middleware, and the pages of products before its routes."""

    def __init__(self, context: WorkspaceProcessContext, guard: Middleware) -> None:
        self._guard, self._dagster = guard, context.instance
        super().__init__(context)

    def build_middleware(self) -> list[Middleware]:
        """The guard, then Dagster's own."""
        return [self._guard, *super().build_middleware()]

    def build_routes(self) -> list[BaseRoute]:
        """The pages of products, then Dagster's own, whose last one takes everything."""
        return [*files.routes(self._dagster), *super().build_routes()]  # type: ignore[no-untyped-call]


def serve(port: int, workspace: Path, code: str | None = None) -> None:
    """Serves until interrupted."""
    guard = Middleware(Guard, port=port, url=public_url())
    if code is not None:
        wait_for_code_server(code)
    with instance.opened() as dagster, context(dagster, workspace) as process, socket.create_server((HOST, port)) as s:
        log.warning("serving Dagster on http://%s:%d", HOST, port)
        app = GuardedWebserver(process, guard).create_asgi_app()
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[s])


def wait_for_code_server(socket_path: str) -> None:
    """Waits until a code server answers: a location that is not there at first is shown as failed."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            DagsterGrpcClient(socket=socket_path).ping("ready")
        except DagsterUserCodeUnreachableError:
            time.sleep(POLL_S)
        else:
            return


def context(dagster: dg.DagsterInstance, workspace: Path) -> WorkspaceProcessContext:
    """The webserver's view of the instance and of the code locations of a workspace file."""
    dagster.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3_600, max_overflow=20)
    return WorkspaceProcessContext(dagster, WorkspaceFileTarget([str(workspace)]), version=__version__)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--workspace", type=Path, default=WORKSPACE)
    parser.add_argument("--code", metavar="SOCKET", help="Wait until the code server at this socket answers.")
    given = parser.parse_args()
    serve(given.port, given.workspace, given.code)
