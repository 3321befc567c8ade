"""Dagster's instance of this project: its folder and its configuration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from landcover_orch import config
from landcover_orch.errors import ConfigError, LandcoverError, Problem
from landcover_orch.store.locks import locked

if TYPE_CHECKING:
    import dagster as dg

EVENTS = 500
"""Events of many tiles that Dagster writes at once (its DAGSTER_EVENT_BATCH_SIZE)."""


def prepare() -> Path:
    """The folder of Dagster's instance, with a dagster.yaml of the configurations where it has none; DAGSTER_HOME
    points there.

    Raises:
        ConfigError: no folder of configurations has one.
    """
    folder = Path(os.environ.get("DAGSTER_HOME") or config.home() / "dagster").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "dagster.yaml").exists():
        shutil.copyfile(instance_file(), folder / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENTS))
    os.environ["LANDCOVER_HOME"] = str(config.home())
    return folder


def instance_file() -> Path:
    """The first dagster/dagster.yaml of the folders of configurations."""
    files = [folder / "dagster" / "dagster.yaml" for folder in config.config_folders()]
    file = next((path for path in files if path.is_file()), None)
    if file is None:
        fix = "copy it from a clone of the project"
        raise ConfigError(Problem(str(files[0]), "no file", "the settings of Dagster's instance", fix))
    return file


@contextmanager
def opened() -> Iterator[dg.DagsterInstance]:
    """The project's instance, its history kept; one process makes its databases while the others wait."""
    import dagster as dg

    with ExitStack() as stack:
        with locked(prepare() / ".opening.lock"):
            instance = stack.enter_context(dg.DagsterInstance.get())
        yield instance


def main() -> None:
    """Makes the databases of Dagster and MLflow where they are not there; says what is wrong with them."""
    from landcover_orch import tracking

    try:
        with opened():
            tracking.client(config.home())
    except LandcoverError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
