"""Polygons rasterised in strips are the polygons rasterised at once."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.grid import Window, blocks
from landcover_orch.labels.polygons import Polygons
from landcover_orch.labels.rasterise import bounds_in_pixels, clipped, in_pixels, intersecting, strips, translated

GRID = GeoBox((37, 29), Affine(0.5, 0, 500_000.0, 0, -0.5, 4_700_000.0), "EPSG:25830")
PLACE = st.tuples(st.floats(-4, 33), st.floats(-4, 41))


@st.composite
def polygons(draw: st.DrawFn) -> Polygons:
    """Triangles to hexagons anywhere on and around the grid, some with corners on pixel corners or centres."""
    corners = st.one_of(PLACE, PLACE.map(lambda xy: (round(xy[0] * 2) / 2, round(xy[1] * 2) / 2)))
    rings = draw(st.lists(st.lists(corners, min_size=3, max_size=6, unique=True), min_size=1, max_size=5))
    hulls = [shapely.MultiPoint([(500_000 + x / 2, 4_700_000 - y / 2) for x, y in ring]).convex_hull for ring in rings]
    shapes = np.array([hull for hull in hulls if hull.geom_type == "Polygon"], object)
    return Polygons(shapes, np.arange(len(shapes), dtype=np.uint16), ())


@settings(max_examples=200)
@given(polygons(), st.integers(1, 40))
def test_strips_join_without_a_seam(result: Polygons, height: int) -> None:
    whole, cut = in_strips(result, 37, all_touched=False), in_strips(result, height, all_touched=False)
    np.testing.assert_array_equal(cut, whole)


@settings(max_examples=200)
@given(polygons(), st.integers(1, 40))
def test_touched_pixels_join_but_for_mere_rims_and_corners(result: Polygons, height: int) -> None:
    whole, cut = in_strips(result, 37, all_touched=True), in_strips(result, height, all_touched=True)
    outlines = shapely.boundary(in_pixels(result.geometry, GRID))
    for row, col in np.argwhere(whole != cut):
        pixel = shapely.box(col, row, col + 1, row + 1)
        inside = shapely.box(col + 1e-6, row + 1e-6, col + 1 - 1e-6, row + 1 - 1e-6)
        grazed = (shapely.distance(outlines, pixel) < 1e-9) & ~shapely.intersects(outlines, inside)
        corners = shapely.points(shapely.get_coordinates(pixel))
        assert (grazed | (shapely.distance(outlines[:, None], corners) < 1e-9).any(axis=1)).any()


def test_a_sliver_that_ends_beyond_the_edge_touches_no_pixel_at_the_other_one() -> None:
    """Its corner (30, 3) lies a pixel right of the grid; GDAL alone burns (3, 0) and (4, 0) in strips of a row."""
    sliver = shapely.Polygon([(500_015, 4_699_998.5), (500_000, 4_700_000), (500_014.5, 4_700_000)])
    result = Polygons(np.array([sliver]), np.array([0], np.uint16), ())
    cut = in_strips(result, 1, all_touched=True)
    assert (cut[3:] == 99).all()


def in_strips(result: Polygons, height: int, *, all_touched: bool) -> NDArray[np.uint16]:
    windows = blocks((37, 29), height, 29)
    return np.concatenate(list(strips(result, GRID, windows, all_touched=all_touched, fill=99)))


def test_later_polygons_cover_earlier_ones() -> None:
    both = np.array(
        [shapely.box(500_000, 4_699_990, 500_005, 4_700_000), shapely.box(500_002, 4_699_990, 500_003, 4_700_000)]
    )
    result = Polygons(both, np.array([5, 6], np.uint16), ())
    strip = next(strips(result, GRID, [Window(0, 0, 4, 12)], all_touched=False, fill=9))
    assert strip[0].tolist() == [5, 5, 5, 5, 6, 6, 5, 5, 5, 5, 9, 9]


def test_what_lies_inside_a_frame_is_whole_and_sound() -> None:
    bow = shapely.Polygon([(0, 0), (4, 4), (4, 0), (0, 4)])
    shapes = np.array([shapely.box(1, 1, 3, 3), shapely.box(-5, 2, 20, 20), shapely.box(30, 0, 31, 1), bow], object)
    inside = clipped(shapes, (0, 0, 10, 8))
    assert shapely.is_valid(inside).all()
    assert shapely.area(inside[:3]).tolist() == [4, 60, 0]
    assert not shapely.is_valid(shapes[3])


@pytest.mark.parametrize("affine", [Affine(0.5, 0, 3, 0, -0.5, 9), Affine(0.4, 0.3, 3, 0.3, -0.4, 9)])
def test_boxes_hold_what_lies_in_them_on_any_grid(affine: Affine) -> None:
    rng = np.random.default_rng(2)
    shapes = shapely.buffer(shapely.points(rng.uniform(-20, 20, (50, 2))), rng.uniform(0, 5, 50))
    grid = GeoBox((40, 40), affine, "EPSG:25830")
    boxes = bounds_in_pixels(shapes, grid)
    exact = shapely.bounds(in_pixels(shapes, grid))
    there = ~shapely.is_empty(shapes)
    assert (boxes[there, :2] <= exact[there, :2] + 1e-6).all()
    assert (boxes[there, 2:] >= exact[there, 2:] - 1e-6).all()
    met = shapely.intersects(in_pixels(shapes, grid), shapely.box(5, 5, 30, 20))
    assert set(np.flatnonzero(met)) <= set(intersecting(boxes, 5, 5, 30, 20))
    assert intersecting(bounds_in_pixels(np.array([shapely.Polygon()], object), grid), -99, -99, 99, 99).size == 0


def test_what_is_translated_to_another_grid_lies_on_the_same_pixels() -> None:
    rng = np.random.default_rng(3)
    shapes = shapely.buffer(shapely.points(rng.uniform((500_000, 4_699_990), (500_015, 4_700_000), (9, 2))), 2.0)
    label_grid = GRID.translate_pix(-6.5, 4)
    there = translated(shapes, label_grid, GRID)
    np.testing.assert_allclose(shapely.get_coordinates(there) - shapely.get_coordinates(shapes), [(3.25, 2)] * 297)
    assert shapely.equals_exact(in_pixels(there, GRID), in_pixels(shapes, label_grid), 1e-5).all()
    assert translated(shapes, GRID, GRID) is shapes
