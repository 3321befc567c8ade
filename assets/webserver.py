"""`python -m assets.webserver`: Dagster's webserver on loopback, behind the guard."""

from __future__ import annotations

import argparse
import logging
import socket
from pathlib import Path
from typing import Any

import dagster as dg
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware

from assets import instance
from assets.guard import Guard

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
WORKSPACE = Path(__file__).resolve().parent.parent / "workspace.yaml"


class GuardedWebserver(DagsterWebserver[Any, Any]):
    """Dagster's webserver with the guard as its outermost middleware."""

    def __init__(self, context: WorkspaceProcessContext, port: int) -> None:
        self._port = port
        super().__init__(context)

    def build_middleware(self) -> list[Middleware]:
        """The guard, then Dagster's own."""
        return [Middleware(Guard, port=self._port), *super().build_middleware()]


def serve(port: int) -> None:
    """Serves until interrupted."""
    with instance.opened() as dagster, _context(dagster) as context, socket.create_server((HOST, port)) as listener:
        log.warning("serving Dagster on http://%s:%d", HOST, port)
        app = GuardedWebserver(context, port).create_asgi_app()
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def _context(dagster: dg.DagsterInstance) -> WorkspaceProcessContext:
    dagster.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3_600, max_overflow=20)
    return WorkspaceProcessContext(dagster, WorkspaceFileTarget([str(WORKSPACE)]), version=__version__)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=3000)
    serve(parser.parse_args().port)
