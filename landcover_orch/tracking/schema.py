"""Schema of MLflow's database: its upgrade by MLflow's own command."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from landcover_orch.errors import Problem, TrackingError
from landcover_orch.tracking.locations import DATABASE
from landcover_orch.tracking.server import SQLITE, failures, known_warnings


def upgrade_schema(home: Path) -> None:
    """Upgrades MLflow's database below `home` to the installed version (`mlflow db upgrade`); back it up before.

    Raises:
        TrackingError: a migration failed.
    """
    path = home.resolve() / DATABASE
    with known_warnings(), quiet("alembic", "mlflow"):
        from mlflow.db import commands

        try:
            commands.main(["upgrade", f"{SQLITE}{path}"], standalone_mode=False)
        except failures() as error:
            fix = "restore the copy of the database that was made before"
            raise TrackingError(Problem(str(path), str(error), "a database of an earlier MLflow", fix)) from error


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Keeps loggers to warnings."""
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
