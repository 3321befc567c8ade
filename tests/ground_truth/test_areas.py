"""The area check: what polygons show, what was rasterised, and how far they may differ."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from landcover_orch.grid import Window
from landcover_orch.ground_truth import areas
from landcover_orch.ground_truth.areas import CodeArea, area_check, area_problems, decision_rows, visible
from landcover_orch.labels.codes import Decision, coding
from landcover_orch.labels.polygons import Polygons
from landcover_orch.labels.rasterise import strips
from landcover_orch.legend import LandClass, Legend

GRID = GeoBox((100, 120), Affine(0.5, 0, 0, 0, -0.5, 50), "EPSG:25830")
CODES = coding(
    Legend(name="l", classes=(LandClass(id=0, name="a", colour="#ff0000"),), codes={"1": "a", "2": "a", "3": "a"}),
    "ignore",
)


def rows(
    shapes: list[shapely.Polygon], numbers: list[int], *, all_touched: bool = False, lost: int = 0
) -> list[CodeArea]:
    polygons = Polygons(np.array(shapes, object), np.array(numbers, np.uint16), ())
    strip = next(strips(polygons, GRID, [Window(0, 0, 100, 120)], all_touched=all_touched, fill=3))
    pixels = np.bincount(strip.ravel(), minlength=4)
    pixels[0] -= lost
    return area_check(polygons, GRID, pixels, CODES, all_touched=all_touched, tolerance=0.01)


def test_visible_is_clipped_and_less_what_later_polygons_cover() -> None:
    shapes = np.array([shapely.box(-5, -5, 5, 5), shapely.box(2, 2, 4, 4), shapely.box(3, 3, 20, 20)], object)
    grid = GeoBox((10, 10), Affine.identity(), None)
    assert shapely.area(next(visible(shapes, grid))).tolist() == [25 - 4 - 4 + 1, 3, 49]


def test_what_is_visible_does_not_depend_on_how_many_are_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    shapes = shapely.buffer(shapely.points(rng.uniform(0, 60, (40, 2))), rng.uniform(1, 9, 40))
    (whole,) = visible(shapes, GRID)
    monkeypatch.setattr(areas, "AT_ONCE", 7)
    parts = list(visible(shapes, GRID))
    assert [len(part) for part in parts] == [7] * 5 + [5]
    np.testing.assert_allclose(shapely.area(np.concatenate(parts)), shapely.area(whole), rtol=0, atol=1e-9)


def test_every_code_of_the_legend_is_counted() -> None:
    areas_by_code = rows([shapely.box(0, 0, 20, 20), shapely.box(5, 5, 10, 10)], [0, 2])
    assert [(area.code, area.polygons, area.polygon_area, area.pixel_area) for area in areas_by_code] == [
        ("1", 1, 375, 375),
        ("2", 0, 0, 0),
        ("3", 1, 25, 25),
    ]
    assert all(area.agrees for area in areas_by_code)


@pytest.mark.parametrize("all_touched", [False, True])
def test_any_polygon_rasterised_right_agrees(all_touched: bool) -> None:
    rng = np.random.default_rng(4)
    for _ in range(40):
        centres = rng.uniform(5, 45, (6, 2))
        shapes = [shapely.Point(*centre).buffer(rng.uniform(1, 9), quad_segs=3) for centre in centres]
        assert all(area.agrees for area in rows(shapes, [0, 1, 2, 0, 1, 2], all_touched=all_touched))


def test_pixels_that_went_lost_are_a_problem() -> None:
    codes = [area.row("a") for area in rows([shapely.box(0, 0, 40, 40)], [0], lost=400)]
    problems = area_problems({"tile": "t", "codes": codes})
    assert len(problems) == 1
    assert "tile t, code '1': 1,500.0 in the raster (6,000 pixels); expected 1,600.0" in str(problems[0])


@pytest.mark.parametrize(("crs", "hectares"), [("EPSG:25830", 2.0), ("EPSG:4326", None), (None, 2.0)])
def test_hectares_need_metres_and_pixels_without_a_place_have_them(crs: str | None, hectares: float | None) -> None:
    grid = GeoBox((20, 40), Affine(5, 0, 0, 0, -5, 100), crs)
    area = CodeArea("simple: wood", None, 800 * 25.0, 800, 25.0, 0.0, 0.01, Decision("simple", "wood"))
    expected = {"decision": "simple", "class": "wood", "polygons": None, "hectares": hectares, "share": 1.0}
    assert decision_rows([area], grid) == [expected]
