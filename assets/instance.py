"""Dagster's instance of this project: its folder and its configuration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from landcover_orch import config


def prepare() -> Path:
    """The folder of Dagster's instance, with the shipped dagster.yaml where it has none; DAGSTER_HOME points there."""
    folder = Path(os.environ.get("DAGSTER_HOME") or config.home() / "dagster").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "dagster.yaml").exists():
        shutil.copyfile(config.configs() / "dagster" / "dagster.yaml", folder / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ["LANDCOVER_HOME"] = str(config.home())
    return folder


@contextmanager
def opened() -> Iterator[dg.DagsterInstance]:
    """The project's instance, its history kept."""
    prepare()
    with dg.DagsterInstance.get() as instance:
        yield instance
