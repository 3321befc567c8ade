"""Reading polygons: by bounds, on the grid's CRS, valid, in burn order, with every unknown code named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely import box

from landcover_orch.errors import LabelError, UnknownCodeError
from landcover_orch.labels.codes import coding
from landcover_orch.labels.polygons import Polygons, coded, read
from landcover_orch.legend import LandClass, Legend
from tests.scenes import CRS, ORIGIN, write_polygons

X, Y = ORIGIN
GRID = GeoBox((10, 10), Affine(1, 0, X, 0, -1, Y), CRS)
LEGEND = Legend(
    name="codes",
    classes=(LandClass(id=0, name="a", colour="#ff0000"), LandClass(id=1, name="b", colour="#00ff00")),
    codes={"255": "a", "2": "b"},
)


def square(col: float, row: float, side: float = 2) -> shapely.Polygon:
    return box(X + col, Y - row - side, X + col + side, Y - row)


def read_coded(path: Path, legend: Legend = LEGEND, layer: str | None = None, grid: GeoBox = GRID) -> Polygons:
    return coded(read(path, layer, "code", grid), legend, coding(legend, "ignore"))


def test_codes_compare_as_text_and_keep_the_files_order(tmp_path: Path) -> None:
    for codes in ([255, 2, 255], ["255", "2", "255"], [255.0, 2.0, 255.0]):
        path = write_polygons(tmp_path / "l.gpkg", [(square(i, i), code) for i, code in enumerate(codes)])
        assert read_coded(path).number.tolist() == [0, 1, 0]
        path.unlink()


def test_burn_order_of_the_legend(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "l.gpkg", [(square(0, 0), "255"), (square(1, 1), "2"), (square(2, 2), "255")])
    assert read_coded(path, LEGEND.model_copy(update={"burn_order": ("2", "255")})).number.tolist() == [1, 0, 0]


def test_only_polygons_on_the_tile_count(tmp_path: Path) -> None:
    """One far off with an unknown code is another tile's trouble."""
    path = write_polygons(tmp_path / "l.gpkg", [(square(500, 0), "unheard of"), (square(9, 9), "2")])
    assert read_coded(path).number.tolist() == [1]


def test_unknown_and_absent_codes_are_all_named(tmp_path: Path) -> None:
    shapes = [(square(0, 0), "2"), (square(1, 0), "9"), (square(2, 0), None), (square(3, 0), "9"), (square(4, 0), "x")]
    with pytest.raises(UnknownCodeError) as error:
        read_coded(write_polygons(tmp_path / "l.gpkg", shapes))
    assert "unknown code '9' in 2 polygons, first at polygon 2" in str(error.value)
    assert "no code (NULL) in 1 polygon, first at polygon 3" in str(error.value)
    assert "unknown code 'x' in 1 polygon" in str(error.value)


def test_polygons_in_another_crs_are_reprojected_with_a_note(tmp_path: Path) -> None:
    import geopandas

    path = write_polygons(tmp_path / "a.gpkg", [(square(3, 4), "2")])
    geopandas.read_file(path).to_crs("EPSG:4326").to_file(tmp_path / "b.gpkg", layer="labels")
    moved = read_coded(tmp_path / "b.gpkg")
    assert shapely.hausdorff_distance(moved.geometry[0], square(3, 4)) < 1e-3
    (note,) = moved.notes
    assert note.startswith("polygons reprojected from EPSG:4326 to EPSG:25830 by ")
    assert note.endswith("accuracy 1 m"), "WGS 84 is taken for ETRS89"


def test_invalid_geometry_is_repaired_with_a_note(tmp_path: Path) -> None:
    bow = shapely.Polygon([(X, Y), (X + 4, Y - 4), (X + 4, Y), (X, Y - 4)])
    repaired = read_coded(write_polygons(tmp_path / "l.gpkg", [(bow, "2"), (square(5, 5), "255")]))
    assert shapely.is_valid(repaired.geometry).all()
    assert shapely.area(repaired.geometry).tolist() == [8, 4]
    assert repaired.notes == ("1 invalid polygons repaired",)


def test_a_missing_column_names_those_there_are(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "l.gpkg", [(square(0, 0), "2")])
    with pytest.raises(LabelError, match=r"no column 'kind' among \['code'\]"):
        read(path, None, "kind", GRID)


def test_a_wrong_layer_names_those_there_are(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "l.gpkg", [(square(0, 0), "2")], layer="other")
    with pytest.raises(LabelError, match="no layer 'labels'; the file has other"):
        read_coded(path, layer="labels")
    assert read_coded(path).number.tolist() == [1]


def test_a_tile_without_polygons_is_empty(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "l.gpkg", [(square(900, 0), "2")])
    assert read_coded(path).geometry.size == 0
    assert read_coded(path).number.dtype == np.uint16


@pytest.mark.parametrize(("driver", "ending"), [("ESRI Shapefile", "shp"), ("GeoJSON", "geojson")])
def test_other_formats_are_read_or_refused_when_cut_short(tmp_path: Path, driver: str, ending: str) -> None:
    import geopandas

    whole = read_coded(write_polygons(tmp_path / "l.gpkg", [(square(i, i), "2") for i in range(9)]))
    path = tmp_path / f"l.{ending}"
    geopandas.read_file(tmp_path / "l.gpkg").to_file(path, driver=driver)
    assert (shapely.area(shapely.symmetric_difference(read_coded(path).geometry, whole.geometry)) < 1e-6).all()
    assert read_coded(path).number.tolist() == whole.number.tolist()
    data = path.read_bytes()
    for part in range(1, 9):
        path.write_bytes(data[: len(data) * part // 9])
        with pytest.raises(LabelError, match="not readable"):
            read_coded(path)


@pytest.mark.parametrize(
    "head", [b"fgb\x03fgb\x00", b"<OGRVRTDataSource>", b"<gml:", b"PK\x03\x04", b"CODE,WKT\n", b""]
)
def test_formats_that_end_anywhere_or_name_other_files_are_not_opened(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "l.dat").write_bytes(head)
    with pytest.raises(LabelError, match="expected a GeoPackage, a shapefile or GeoJSON"):
        read_coded(tmp_path / "l.dat")


PAGE = 4096
"""Bytes of a GeoPackage that are read together."""


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # what GDAL says on its way to the error
def test_a_damaged_file_gives_an_error_or_the_same_polygons(tmp_path: Path) -> None:
    """Cut short anywhere, filled up with zeros, or with one page of zeros: in index, table or what tells of them."""
    squares = [(square(col, row, 1), "2") for col in range(-20, 20) for row in range(-20, 20)]
    whole = write_polygons(tmp_path / "l.gpkg", squares).read_bytes()
    expected = read_coded(tmp_path / "l.gpkg")
    assert expected.number.size == 12 * 12  # those that touch the tile count as well
    refused = 0
    for start in range(0, len(whole), PAGE):
        rest = len(whole) - start
        page = min(PAGE, rest)
        for damaged in (whole[:start], whole[: start + 17], whole[:start] + bytes(rest)):
            (tmp_path / "l.gpkg").write_bytes(damaged)
            with pytest.raises(LabelError):
                read_coded(tmp_path / "l.gpkg")
        (tmp_path / "l.gpkg").write_bytes(whole[:start] + bytes(page) + whole[start + page :])
        try:
            left = read_coded(tmp_path / "l.gpkg")
        except LabelError:
            refused += 1
            continue
        assert left.number.tolist() == expected.number.tolist()
        assert shapely.equals_exact(left.geometry, expected.geometry).all()
    assert refused > 5
