"""Holes, overlaps and slivers, by hand: how many, how large, whose, and that no file can hang the examination."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely import box

from landcover_orch.ground_truth.quality import topology
from landcover_orch.ground_truth.quality.topology import Topology, examine
from landcover_orch.labels.codes import coding
from landcover_orch.labels.polygons import Polygons
from landcover_orch.legend import LandClass, Legend

GRID = GeoBox((100, 200), Affine(0.5, 0, 1000, 0, -0.5, 2050), "EPSG:25830")
"""100 m x 50 m from (1000, 2000)."""

CODES = coding(
    Legend(name="l", classes=(LandClass(id=0, name="a", colour="#ff0000"),), codes={"1": "a", "2": "a"}), "ignore"
)


def examined(shapes: Sequence[shapely.Geometry], numbers: Sequence[int] | None = None) -> Topology:
    names = tuple(f"p{i}" for i in range(len(shapes)))
    result = Polygons(np.array(shapes, object), np.array(numbers or [0] * len(shapes), np.uint16), (), names)
    return examine(result, GRID, CODES)


def test_a_whole_cover_has_no_faults() -> None:
    result = examined([box(1000, 2000, 1040, 2050), box(1040, 2000, 1100, 2050)])
    assert result.worst == []
    assert result.complete
    assert set(result.facts.values()) == {0, 2}


def test_no_polygon_at_all_is_one_hole() -> None:
    result = examined([])
    assert (result.facts["holes"], result.facts["holes_area"], result.facts["largest_hole"]) == (1, 5000, 5000)


def test_holes_and_gaps_are_ground_of_the_tile_without_a_polygon() -> None:
    result = examined([box(900, 2000, 1050, 2050), box(1050.5, 2000, 1100, 2050) - box(1060, 2010, 1070, 2020)])
    assert (result.facts["holes"], result.facts["gaps"]) == (2, 1)
    assert (result.facts["holes_area"], result.facts["gaps_area"], result.facts["largest_hole"]) == (125, 25, 100)
    gap, hole = result.worst
    assert (gap["what"], gap["polygon"], gap["area"], gap["pixels"]) == ("gap", None, 25, 100)
    assert (hole["what"], hole["area"]) == ("hole", 100)
    assert 1060 < hole["x"] < 1070
    assert 2010 < hole["y"] < 2020


def test_of_an_overlap_the_later_polygon_wins() -> None:
    result = examined([box(1000, 2000, 1060, 2050), box(1050, 2000, 1100, 2050), box(990, 2000, 995, 2050)], [0, 1, 0])
    assert (result.facts["overlaps"], result.facts["overlaps_area"]) == (1, 500)
    (row,) = result.worst
    summary = {name: row[name] for name in ("what", "polygon", "code", "over polygon", "over code", "pixels")}
    assert summary == {
        "what": "overlap",
        "polygon": "p1",
        "code": "2",
        "over polygon": "p0",
        "over code": "1",
        "pixels": 2000,
    }


def test_only_ground_of_the_tile_counts() -> None:
    beyond = [box(900, 1900, 1200, 2100), box(1100, 1900, 1200, 2100)]
    assert examined(beyond).facts["overlaps"] == 0


def test_slivers_are_long_and_narrow_parts() -> None:
    long = shapely.MultiPolygon([box(1000, 2000, 1100, 2049), box(1000, 2049.4, 1080, 2050)])
    result = examined([long, box(1010, 2010, 1010.9, 2010.9)])
    assert (result.facts["slivers"], result.facts["slivers_area"]) == (1, 48)
    assert [row["polygon"] for row in result.worst if row["what"] == "sliver"] == ["p0"]
    assert examined([box(1000, 2000, 1100, 2003)]).facts["slivers"] == 0


@pytest.mark.parametrize(("limit", "most"), [("MOST", 128), ("WORK", 1280)])
def test_a_file_of_a_thousand_copies_is_left_after_the_limit(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(topology, limit, most)
    result = examined([box(1000, 2000, 1100, 2050)] * 1000)
    assert not result.complete
    assert result.facts["overlaps"] == 128
    assert len(result.worst) == topology.WORST


def test_rounding_is_no_fault() -> None:
    cut = 1000 + 100 / 3
    result = examined([box(1000, 2000, cut, 2050), box(cut + 1e-7, 2000, 1100, 2050)])
    assert result.worst == []


@pytest.mark.parametrize("cell", [7, 33])
@pytest.mark.parametrize("seed", [*range(8), 1648])  # the last has a polygon inside two others: overlaps of one area
def test_it_does_not_depend_on_the_ground_that_is_looked_at_at_a_time(seed: int, cell: int) -> None:
    rng = np.random.default_rng(seed)
    centres = shapely.points(rng.uniform((990, 1990), (1110, 2060), (25, 2)))
    shapes = [*shapely.buffer(centres, rng.uniform(1, 15, 25), quad_segs=3), box(1000, 2030.2, 1095, 2030.4)]
    whole = examined(shapes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topology, "CELL", cell)
        patch.setattr(topology, "PART", 5)
        parts = examined(shapes)
    assert dict(parts.facts) == pytest.approx(dict(whole.facts), abs=0.2)  # less than NOTICED is lost in a cell
    for one, other in zip(parts.worst, whole.worst, strict=True):
        assert (one["what"], one["polygon"], one["over polygon"]) == (
            other["what"],
            other["polygon"],
            other["over polygon"],
        )
        assert one["area"] == pytest.approx(other["area"], abs=0.2)
