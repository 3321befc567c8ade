"""Fixtures of the cases: written once, in a folder that all workers of a test run share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from landcover_orch.store.locks import locked
from tests.cases.case import Case, load_cases, write_cases, written_cases


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a test run share: the cases are written, and a project is materialised, once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "shared-cases"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def cases(scratch: Path) -> dict[str, Case]:
    """The cases by name."""
    folder = written_cases()
    if folder is None:
        folder = scratch / "cases"
        with locked(scratch / "cases.lock"):
            if not folder.exists():
                write_cases(folder)
    return {case.name: case for case in load_cases(folder)[0]}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """What MLflow and Alembic log at their first start is no warning of a case."""
    loggers = [logging.getLogger(name) for name in ("alembic", "mlflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
