"""A prediction killed after a part goes on there, and ends with the bytes of an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from landcover_orch.prediction.build import predict
from landcover_orch.store.publish import JOURNAL
from tests.prediction.untrained import experiment, model, noise, source

KILLED = """
import os, signal, sys
from pathlib import Path
from landcover_orch import raster
from landcover_orch.store import publish
from landcover_orch.prediction import build, forward  # noqa: F401
from tests.prediction.untrained import BANDS, experiment, model
from landcover_orch.prediction.source import ImageSource

folder, moment, smoothing = Path(sys.argv[1]), sys.argv[2], sys.argv[3] or None
mark = publish.Stage.mark
parts = []

def marked(stage, part, *files):
    parts.append(part)
    if moment == "before the second part is journalled" and len(parts) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if moment == "within the second pass" and sum(name.startswith("parts/s") for name in parts) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    mark(stage, part, *files)
    if moment == "after the second part" and len(parts) == 2 or moment == "after the rasters" and part == "maps":
        os.kill(os.getpid(), signal.SIGKILL)

def written(*arguments, **options):
    cog(*arguments, **options)
    if moment == "between the rasters":
        os.kill(os.getpid(), signal.SIGKILL)

cog, raster.write_cog = raster.write_cog, written
publish.Stage.mark = marked
image = ImageSource(raster.inspect(folder / "a.tif"), BANDS, "uint8", "file", "of a.tif")
build.predict(model(folder), image, folder / "killed", "a", experiment(64, 48, smoothing=smoothing), budget=40_000)
"""

MOMENTS = (
    "before the second part is journalled",
    "after the second part",
    "between the rasters",
    "after the rasters",
)


CASES = [*((moment, "") for moment in MOMENTS), ("within the second pass", "icm"), ("after the rasters", "icm")]


@pytest.mark.parametrize(("moment", "smoothing"), CASES)
def test_killed_predictions_end_byte_identical(tmp_path: Path, moment: str, smoothing: str) -> None:
    image, trained = source(tmp_path / "a.tif", noise((600, 700))), model(tmp_path)
    recipe = experiment(64, 48, smoothing=smoothing or None)
    uninterrupted = predict(trained, image, tmp_path / "whole", "a", recipe, budget=40_000)
    killed = _kill(tmp_path, moment, smoothing)
    assert killed == -signal.SIGKILL
    assert not (tmp_path / "killed" / "a").exists()
    assert (tmp_path / "killed" / ".a.partial" / JOURNAL).exists()
    resumed = predict(trained, image, tmp_path / "killed", "a", recipe, budget=40_000)
    assert resumed.files == uninterrupted.files


def _kill(folder: Path, moment: str, smoothing: str) -> int:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", KILLED, str(folder), moment, smoothing]
    return subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False).returncode
