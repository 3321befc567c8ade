"""The shift of labels: what is planted comes back, what cannot be seen is not said, repairs are exact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from landcover_orch import raster
from landcover_orch.config import Dataset, load_legend
from landcover_orch.grid import Window
from landcover_orch.ground_truth import build as truth
from landcover_orch.ground_truth.quality.shift import (
    FEWEST,
    LEAST_CONFIDENCE,
    Shift,
    advised,
    block_shape,
    common,
    image_edges,
    label_edges,
    measure,
    spread_blocks,
)
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.labels.rasters import shifted
from landcover_orch.legend import IGNORE
from landcover_orch.store.publish import Product
from landcover_orch.synthetic import labelling, landscape
from landcover_orch.tiles.catalogue import tiles
from tests.scenes import ORIGIN, write_geotiff, write_polygons

SIDE = 640
LEGEND = load_legend("landscape")


@pytest.fixture(scope="module")
def scene() -> landscape.Scene:
    return landscape.scene(SIDE, SIDE)


def measured(image: NDArray[Any], classes: NDArray[np.uint8]) -> Shift:
    def cut() -> Iterator[Any]:
        for window in spread_blocks(classes.shape, label_edges(classes)):
            data = image[(slice(None), *window.slices)]
            yield data, np.ones(data.shape[1:], bool), classes[window.slices]

    shift = measure(cut())
    assert shift is not None
    return shift


@pytest.mark.parametrize("planted", [(0, 0), (8, -8), (-3, 5), (0, 8), (-8, -1)])
def test_a_planted_shift_comes_back(scene: landscape.Scene, planted: tuple[int, int]) -> None:
    right, down = planted
    shift = measured(scene.image, np.roll(scene.truth, (-down, -right), (0, 1)))
    assert shift.certain
    assert (shift.right, shift.down) == pytest.approx(planted, abs=0.2)
    assert advised(shift, (0, 0), step=1.0) == planted


def test_of_incomplete_labels_too(scene: landscape.Scene) -> None:
    rng = np.random.default_rng(2)
    area = shapely.box(*scene.grid.boundingbox)
    labels = labelling.incomplete(scene.land.parcels, area, rng)
    classes = np.roll(landscape.rasterise(labels, scene.grid), (-6, 7), (0, 1))
    assert (classes == IGNORE).mean() > 0.2
    shift = measured(scene.image, classes)
    assert shift.certain
    assert (shift.right, shift.down) == pytest.approx((-7, 6), abs=0.5)


def test_nothing_is_said_of_labels_of_another_place(scene: landscape.Scene) -> None:
    for turned in (np.rot90(scene.truth), scene.truth[::-1], scene.truth[:, ::-1]):
        assert not measured(scene.image, np.ascontiguousarray(turned)).certain


@pytest.fixture(scope="module")
def flight() -> tuple[landscape.Scene, NDArray[np.uint8]]:
    """Six tiles, and labels whose borders wander, 6 px to the right and 5 px above what the image shows."""
    scene = landscape.scene(2 * SIDE, 3 * SIDE, seed=3)
    labels = labelling.inexact(scene.land.parcels, 0.5, np.random.default_rng((3, 3)))
    by = np.array([3, 2.5])
    adjacent = [labelling.Label(one.code, shapely.transform(one.shape, lambda xy: xy + by)) for one in labels]
    return scene, landscape.rasterise(adjacent, scene.grid)


def of_tiles(image: NDArray[Any], classes: NDArray[np.uint8], places: Sequence[tuple[int, int]]) -> list[Shift]:
    """The shift of each tile by itself, its labels cut from the place that `places` has in its stead."""
    boxes = [Window(row, col, SIDE, SIDE) for row in (0, SIDE) for col in range(0, 3 * SIDE, SIDE)]
    return [measured(image[(slice(None), *boxes[i].slices)], classes[boxes[j].slices]) for i, j in places]


def test_tiles_together_tell_what_none_of_them_can(flight: tuple[landscape.Scene, NDArray[np.uint8]]) -> None:
    alone = of_tiles(flight[0].image, flight[1], [(i, i) for i in range(6)])
    assert not any(shift.certain for shift in alone)
    assert max(np.hypot(shift.right + 6, shift.down - 5) for shift in alone) > 1.5
    together = common([shift.surface for shift in alone])
    assert together is not None
    assert together.certain
    assert np.hypot(together.right + 6, together.down - 5) < 1


def test_nor_do_they_tell_of_labels_of_another_place(flight: tuple[landscape.Scene, NDArray[np.uint8]]) -> None:
    for by in range(1, 6):
        strangers = of_tiles(flight[0].image, flight[1], [(i, (i + by) % 6) for i in range(6)])
        together = common([shift.surface for shift in strangers])
        assert together is not None
        assert not together.certain


def test_few_tiles_tell_nothing_together() -> None:
    surface = np.random.default_rng(0).normal(size=(33, 33)).astype(np.float32)
    assert common([surface] * (FEWEST - 1)) is None
    assert common([surface] * FEWEST) is not None


def test_nothing_is_measured_without_borders_or_on_a_tile_too_small() -> None:
    image, valid = np.random.default_rng(0).normal(size=(1, 96, 96)), np.ones((96, 96), bool)
    half = np.full((96, 96), IGNORE, np.uint8)
    half[:, :48] = 1
    assert measure([(image, valid, np.zeros((96, 96), np.uint8))]) is None
    assert measure([(image, valid, half)]) is None
    assert measure([]) is None
    assert block_shape((63, 900)) is None
    assert spread_blocks((63, 900), np.ones((63, 900), np.float32)) == []
    assert spread_blocks((64, 900), np.ones((64, 900), np.float32))[0] == Window(0, 0, 64, 512)


def test_a_peak_at_the_rim_is_no_statement() -> None:
    surface = np.zeros((33, 33), np.float32)
    assert Shift(15.6, 0, 2 * LEAST_CONFIDENCE, surface).certain is False
    assert Shift(15.4, 0, 2 * LEAST_CONFIDENCE, surface).certain is True
    assert Shift(3, 4, 1, surface).length == 5


def test_edges_by_hand() -> None:
    classes = np.array([[0, 0, 1], [0, 0, IGNORE]], np.uint8)
    assert label_edges(classes).tolist() == [[0, 0.5, 0.5], [0, 0, 0]]
    image = np.zeros((1, 5, 8), np.float32)
    image[:, :, 4:] = 7
    valid = np.ones((5, 8), bool)
    assert (image_edges(image, valid)[2] > 0).tolist() == [False] * 3 + [True] * 2 + [False] * 3
    valid[:, 4:] = False
    assert not image_edges(image, valid).any()


@given(st.integers(1, 60_000), st.integers(1, 60_000))
def test_blocks_of_any_tile_are_few_inside_and_spread(height: int, width: int) -> None:
    boxes = spread_blocks((height, width), np.zeros((10, 10), np.float32))
    assert len(boxes) <= 200
    assert len(set(boxes)) == len(boxes)
    assert all(box == box.within((height, width)) for box in boxes)
    if min(height, width) >= 64:
        assert boxes


def test_blocks_lie_where_labels_have_borders() -> None:
    edges = np.zeros((380, 540), np.float32)
    edges[37, 51] = 1
    boxes = spread_blocks((38_000, 54_000), edges, limit=12)
    assert len(boxes) <= 12
    assert any(box.row <= 3750 < box.row + 512 and box.col <= 5150 < box.col + 512 for box in boxes)


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 5))
def test_moved_rasters_are_moved_arrays(right: int, down: int, height: int) -> None:
    codes = np.arange(7 * 6, dtype=np.uint16).reshape(7, 6)
    windows = [Window(row, 0, min(height, 7 - row), 6) for row in range(0, 7, height)]
    strips = shifted(lambda boxes: (codes[box.slices] for box in boxes), windows, (7, 6), (right, down), np.uint16(99))
    expected = np.full((27, 26), 99, np.uint16)
    expected[10 + down : 17 + down, 10 + right : 16 + right] = codes
    np.testing.assert_array_equal(np.concatenate(list(strips)), expected[10:17, 10:16])


def written(folder: Path, scene: landscape.Scene, kind: str, right: int, down: int) -> Dataset:
    """A dataset of one tile whose labels lie `right`, `down` pixels beside the image, not moved back yet."""
    side = abs(scene.grid.affine.a)
    write_geotiff(folder / "t.tif", scene.image, origin=ORIGIN, resolution=side)
    if kind == "vector":
        move = (right * side, -down * side)
        shapes = [(shapely.transform(p.shape, lambda xy: xy + move), p.code) for p in scene.land.parcels]
        write_polygons(folder / "t.gpkg", shapes)
        labels = {"attribute": "code"}
    else:
        codes = np.array([110, 210, 310, 410, 510], np.uint16)[scene.truth]
        write_geotiff(folder / "codes" / "t.tif", np.roll(codes, (down, right), (0, 1)), resolution=side)
        labels = {"kind": "raster"}
    return Dataset.model_validate(
        {
            "name": "moved",
            "root": str(folder),
            "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg" if kind == "vector" else "codes/{tile}.tif"},
            "bands": ["red", "green", "blue", "nir"],
            "legend": "landscape",
            "labels": labels,
            "experiments": ["none"],
        }
    )


def repaired(dataset: Dataset, right: float, down: float) -> Dataset:
    described = dataset.model_dump()
    described["tiles"]["overrides"] = {"t": {"shift": [right, down]}}
    return Dataset.model_validate(described)


def built(dataset: Dataset, home: Path) -> tuple[Product, NDArray[np.uint8]]:
    product = truth.build(dataset, LEGEND, tiles(dataset)[0], home)
    classes = raster.inspect(product.file("classes.tif"))
    with raster.reader(classes, nodata="none") as source:
        return product, source.read(Window(0, 0, *classes.shape))[0]


@pytest.mark.parametrize("kind", ["vector", "raster"])
def test_repaired_labels_equal_those_that_were_never_moved(
    tmp_path: Path, home: Path, scene: landscape.Scene, kind: str
) -> None:
    product, classes = built(repaired(written(tmp_path / "raw", scene, kind, 7, -4), -7, 4), home)
    whole = np.s_[8:-8, 8:-8]  # a raster has nothing beyond its edge that could move in
    np.testing.assert_array_equal(classes[whole], scene.truth[whole])
    assert (classes == scene.truth).all() or kind == "raster"
    summary = product.json("summary.json")
    assert summary["areas_agree"]
    assert "labels moved by -7 px to the right and 4 px down, as `shift` says" in summary["notes"]


def test_a_shift_is_another_version_of_its_tiles_labels(tmp_path: Path, home: Path, scene: landscape.Scene) -> None:
    dataset = written(tmp_path / "raw", scene, "vector", 1, 0)
    memory = home / "memory.sqlite"
    (image, label), (same, other) = (
        tile_fingerprints(tiles(version)[0], memory) for version in (dataset, repaired(dataset, 1, 0))
    )
    assert image == same
    assert label != other
    assert tile_fingerprints(tiles(repaired(dataset, 0, 0))[0], memory) == (image, label)


def test_rasters_move_by_whole_pixels(tmp_path: Path, scene: landscape.Scene) -> None:
    dataset = written(tmp_path / "raw", scene, "raster", 0, 0)
    with pytest.raises(ValueError, match=r"whole pixels: `shift` of \['t'\]"):
        repaired(dataset, 0.5, 0)
