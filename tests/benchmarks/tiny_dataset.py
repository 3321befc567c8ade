"""The tiny dataset with its configurations, home and variables, for benchmarks of the lineage and its servers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from landcover_orch.config import Dataset
from tests import tiny


@contextmanager
def tiny_dataset(folder: Path, tiles: int = 3, **settings: Any) -> Iterator[Dataset]:
    """The tiny dataset below a folder, and the only one that is served; the variables are as before afterwards."""
    configs, home = folder / "configs", folder / "home"
    for kind in ("datasets", "legends", "experiments"):
        (configs / kind).mkdir(parents=True)
    variables = {
        "LANDCOVER_CONFIGS": str(configs),
        "LANDCOVER_DATASETS": tiny.NAME,
        "LANDCOVER_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
    }
    with mock.patch.dict(os.environ, variables):
        yield tiny.write(configs, folder / "raw", tiles, **settings)
