"""Statistics against numpy on the whole array, however it is cut into parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landcover_orch import raster
from landcover_orch.config import Splits, SplitSpec
from landcover_orch.grid import Window
from landcover_orch.patches import statistics
from landcover_orch.patches.splits import TRAIN, roles
from tests.scenes import write_geotiff

SPLITS = Splits(validation=SplitSpec(blocks=0.2), test=SplitSpec(blocks=0.2), block=9)
SHAPE = (70, 50)
DRAWS = {
    "uint8": lambda rng: rng.integers(0, 256, (2, *SHAPE), dtype=np.uint8),
    "uint16": lambda rng: rng.integers(0, 65_536, (2, *SHAPE), dtype=np.uint16),
    "int16": lambda rng: rng.integers(-32_768, 32_768, (2, *SHAPE), dtype=np.int16),
    "float32": lambda rng: rng.normal(-3, 200, (2, *SHAPE)).astype(np.float32),
}


@pytest.mark.parametrize("dtype", DRAWS)
@pytest.mark.parametrize("rows", [7, 1000])
def test_bands_over_valid_train_pixels(tmp_path: Path, dtype: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "STRIP_ROWS", 5)
    rng = np.random.default_rng(2)
    data, classes = DRAWS[dtype](rng), rng.choice(np.array([0, 1, 255], np.uint8), SHAPE)
    data[:, 10:20] = 7
    image = raster.inspect(write_geotiff(tmp_path / "i.tif", data, nodata=7))
    truth = write_geotiff(tmp_path / "c.tif", classes)
    parts = statistics.parts("t", image, truth, dtype, "file", SPLITS, rows=rows)
    result = [statistics.count(part) for part in parts]
    role = roles(SPLITS, "t", image.grid, Window(0, 0, *SHAPE))
    used = (role == TRAIN) & (data != 7).any(axis=0)
    for band, values in zip(statistics.band_statistics(["a", "b"], dtype, result), data[:, used], strict=True):
        assert (band.minimum, band.maximum) == (values.min(), values.max())
        assert band.mean == pytest.approx(values.mean(dtype=np.float64))
        assert band.std == pytest.approx(values.std(dtype=np.float64))
        for p, value in band.percentiles.items():
            exact = float(np.percentile(values, int(p), method="inverted_cdf"))
            assert value == pytest.approx(exact, rel=1 / 200 if dtype == "float32" else 0)
    table = sum(counts.classes for counts in result)
    for side in range(3):
        for value in (0, 1, 255):
            assert table[side, value] == ((role == side) & (classes == value)).sum()


def test_without_train_pixels_there_are_none(tmp_path: Path) -> None:
    image = raster.inspect(write_geotiff(tmp_path / "i.tif", np.ones((4, 4), np.uint8)))
    truth = write_geotiff(tmp_path / "c.tif", np.ones((4, 4), np.uint8))
    sides = Splits(test=SplitSpec(tiles=("t",)))
    result = [statistics.count(part) for part in statistics.parts("t", image, truth, "uint8", "none", sides, rows=9)]
    assert statistics.band_statistics(["a"], "uint8", result) == ()
