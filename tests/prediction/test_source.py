"""Strips of an orthophoto: the pixels of each window, mirrored over edges, read ahead in one thread."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from landcover_orch.errors import ContractError, RasterError
from landcover_orch.prediction.layout import Layout, runs
from landcover_orch.prediction.source import Strip, prefetch, strips
from tests.prediction.untrained import CONTRACT, noise, source

CACHE = 2**20


def _strips(path: Path, image: np.ndarray, size: int, stride: int) -> list[Strip]:  # type: ignore[type-arg]
    layout = Layout((image.shape[1], image.shape[2]), size, stride)
    return list(strips(source(path, image), runs(layout, 512), CACHE))


@pytest.mark.parametrize("shape", [(100, 1100), (33, 40), (32, 32)])
def test_every_window_holds_the_pixels_of_its_place(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = noise(shape)
    for strip in _strips(tmp_path / "a.tif", image, 32, 24):
        row, left = strip.run.rows[strip.index], strip.run.reach[0]
        for col, pixels in strip.windows():
            assert np.array_equal(pixels, image[:, row : row + 32, left + col : left + col + 32])
        assert strip.valid.all()


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (20, 20), (1, 1), (3, 40)])
def test_a_tile_smaller_than_a_window_is_mirrored_at_its_edges(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = noise(shape)
    (first, *_) = _strips(tmp_path / "a.tif", image, 32, 32)
    _, pixels = next(first.windows())
    below, right = max(32 - shape[0], 0), max(32 - shape[1], 0)
    mirrored = np.pad(image, ((0, 0), (0, below), (0, right)), mode="reflect")
    assert np.array_equal(pixels, mirrored[:, :32, :32])
    assert not first.valid[shape[0] :].any()


def test_nodata_is_seen(tmp_path: Path) -> None:
    image = noise((40, 40))
    image[:, 5:9, 7] = 0
    layout = Layout((40, 40), 40, 40)
    (strip,) = strips(source(tmp_path / "a.tif", image, nodata=0), runs(layout, 512), CACHE)
    assert np.argwhere(~strip.valid).tolist() == [[5, 7], [6, 7], [7, 7], [8, 7]]


def test_items_come_in_order_from_one_other_thread() -> None:
    threads = set()

    def numbers() -> Generator[int, None, None]:
        for i in range(20):
            threads.add(threading.get_ident())
            yield i

    assert list(prefetch(numbers())) == list(range(20))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_reader_that_fails_is_heard_of() -> None:
    def broken() -> Generator[int, None, None]:
        yield 1
        raise RasterError

    with pytest.raises(RasterError):
        list(prefetch(broken()))


def test_a_consumer_that_stops_closes_the_reader() -> None:
    closed = []

    def endless() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    with closing(prefetch(endless())) as items:
        next(items)
    assert closed == [True]


def test_a_raster_of_other_bands_and_dtype_is_refused_with_both_reasons(tmp_path: Path) -> None:
    image = source(tmp_path / "a.tif", noise((20, 20))[:3].astype(np.uint16))
    with pytest.raises(ContractError) as caught:
        image.require(CONTRACT)
    assert len(caught.value.problems) == 2
    assert "3 bands in the file" in str(caught.value)
    assert "uint16" in str(caught.value)


def test_the_same_bands_in_another_order_are_refused() -> None:
    first, second, *others = CONTRACT.bands
    with pytest.raises(ContractError, match="Fix: name and order the bands as in training"):
        CONTRACT.require((second, first, *others), CONTRACT.dtype, CONTRACT.resolution, "a.tif")
    CONTRACT.require(CONTRACT.bands, CONTRACT.dtype, CONTRACT.resolution, "a.tif")
