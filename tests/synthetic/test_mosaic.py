"""Mosaics for benchmarks: any size, sound files, image and labels of the same ground."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landcover_orch.grid import Window
from landcover_orch.raster import inspect, reader, truncated_blocks
from landcover_orch.synthetic import mosaic


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosaic, "BLOCK", 256)
    monkeypatch.setattr(mosaic, "SIDE", 2)


def pixels(path: Path) -> np.ndarray:
    raster = inspect(path)
    with reader(raster) as source:
        return source.read(Window(0, 0, *raster.shape))


def test_a_pair_of_any_size(tmp_path: Path) -> None:
    mosaic.write_mosaic(tmp_path / "i.tif", tmp_path / "l.tif", 600, 300)
    image, label = inspect(tmp_path / "i.tif"), inspect(tmp_path / "l.tif")
    assert image.grid == label.grid
    assert (image.shape, image.count, image.block) == ((600, 300), 3, (256, 256))
    assert (label.count, label.dtype) == (1, "uint8")
    assert truncated_blocks(image) == truncated_blocks(label) == []
    codes = pixels(tmp_path / "l.tif")
    assert set(np.unique(codes)) <= {0, 1, 2, 3, 4}
    water = pixels(tmp_path / "i.tif")[0][codes[0] == 2]
    assert water.mean() < pixels(tmp_path / "i.tif")[0].mean() / 1.3  # labels lie where the image shows water


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        mosaic.write_mosaic(tmp_path / f"{name}.tif", tmp_path / f"{name}-l.tif", 300, 300, 4, seed)
    a, b, c = ((tmp_path / f"{name}.tif").read_bytes() for name in "abc")
    assert a == b != c
