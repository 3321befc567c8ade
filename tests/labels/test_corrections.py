"""Corrected polygons: ids replaced, shapes drawn over, and fingerprints of the touched tiles alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pyogrio
import pytest
from shapely import box
from shapely.geometry.base import BaseGeometry

from landcover_orch import raster
from landcover_orch.checks import dataset as checks
from landcover_orch.config import Dataset, TileOverride
from landcover_orch.errors import LabelError, UnknownCodeError
from landcover_orch.grid import Window
from landcover_orch.ground_truth import build as truth
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.legend import IGNORE, LandClass, Legend
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.publish import Product
from landcover_orch.tiles.catalogue import tiles
from tests.scenes import CRS, ORIGIN, write_geotiff, write_polygons

X, Y = ORIGIN
SIDE = 20
LEGEND = Legend(
    name="small",
    classes=(LandClass(id=0, name="field", colour="#ffff00"), LandClass(id=1, name="wood", colour="#006600")),
    codes={"1": "field", "2": "wood", "3": "ignore"},
)
SIOSE = LEGEND.model_copy(update={"codes": {"CHL": "field", "CNF": "wood"}})
Row = tuple[BaseGeometry, str | None, Any]


def write(path: Path, rows: Sequence[Row], crs: str = CRS) -> None:
    """A GeoPackage of (geometry, id, code)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    columns = {"id": [row[1] for row in rows], "code": [row[2] for row in rows], "comment": "seen"}
    frame = geopandas.GeoDataFrame(columns, geometry=[row[0] for row in rows], crs=CRS).to_crs(crs)
    frame.to_file(path, layer="polygons", driver="GPKG", engine="pyogrio")


def half(column: int, left: float, right: float) -> BaseGeometry:
    """Whole rows of tile `column`, from one of its columns of pixels to another."""
    return box(X + column * SIDE + left, Y - SIDE, X + column * SIDE + right, Y)


@pytest.fixture
def two(tmp_path: Path) -> Dataset:
    """Two tiles side by side: field on the left half of each, wood on the right."""
    raw = tmp_path / "raw"
    for i in range(2):
        write_geotiff(raw / f"t{i}.tif", np.full((SIDE, SIDE), 9, np.uint8), origin=(X + i * SIDE, Y))
    write(raw / "labels.gpkg", [(half(i, *at), f"{i}{code}", code) for i in (0, 1) for code, at in HALVES.items()])
    return described(raw)


HALVES = {"1": (0, 10), "2": (10, 20)}


def described(raw: Path, **labels: object) -> Dataset:
    return Dataset.model_validate(
        {
            "name": "small",
            "root": str(raw),
            "tiles": {"image": "{tile}.tif", "label": "labels.gpkg"},
            "bands": ["grey"],
            "legend": "small",
            "labels": {"attribute": "code", "id": "id", "corrections": "corrections.gpkg", **labels},
            "experiments": ["none"],
        }
    )


def correct(dataset: Dataset, rows: Sequence[Row], crs: str = CRS) -> None:
    write(Path(dataset.root) / "corrections.gpkg", rows, crs)


def built(dataset: Dataset, home: Path, tile: int = 0, legend: Legend = LEGEND) -> Product:
    return truth.build(dataset, legend, tiles(dataset)[tile], home)


def row_of(product: Product) -> list[int]:
    """The classes of a row of pixels."""
    result = raster.inspect(product.file("classes.tif"))
    with raster.reader(result, nodata="none") as source:
        pixels = source.read(Window(0, 0, *result.shape))[0]
    assert (pixels == pixels[0]).all()
    return pixels[0].tolist()  # type: ignore[no-any-return]


def versions(dataset: Dataset, home: Path) -> list[str]:
    return [truth.build(dataset, LEGEND, tile, home).fingerprint for tile in tiles(dataset)]


def test_a_polygon_of_the_same_id_is_replaced_code_and_outline(two: Dataset, home: Path) -> None:
    correct(two, [(half(0, 10, 18), "02", "1")])
    product = built(two, home)
    assert row_of(product) == [0] * 18 + [IGNORE] * 2
    summary = product.json("summary.json")
    assert summary["areas_agree"]
    assert summary["corrected_polygons"] == {"replaced": 1, "drawn": 0}
    assert summary["corrections"] == [
        {"from": "2", "to": "1", "pixels": 160, "hectares": 0.016},
        {"from": "2", "to": "unlabelled", "pixels": 40, "hectares": 0.004},
    ]
    assert any("1 polygons replaced and 0 drawn over" in note for note in summary["notes"])


@pytest.mark.parametrize("name", [None, "new"])
def test_another_shape_is_drawn_over_all_others_in_any_burn_order(two: Dataset, home: Path, name: str | None) -> None:
    correct(two, [(half(0, 5, 15), name, "3")])
    ordered = LEGEND.model_copy(update={"burn_order": ("3", "1", "2")})
    for legend in (LEGEND, ordered):
        product = built(two, home, legend=legend)
        assert row_of(product) == [0] * 5 + [IGNORE] * 10 + [1] * 5
    assert product.json("summary.json")["corrected_polygons"]["drawn"] == 1
    assert [(r["from"], r["to"], r["pixels"]) for r in product.json("summary.json")["corrections"]] == [
        ("1", "3", 100),
        ("2", "3", 100),
    ]


def test_the_parts_of_a_divided_polygon_may_keep_its_id(two: Dataset, home: Path) -> None:
    correct(two, [(half(0, 10, 15), "02", "2"), (half(0, 15, 20), "02", "1")])
    product = built(two, home)
    assert row_of(product) == [0] * 10 + [1] * 5 + [0] * 5
    assert product.json("summary.json")["corrected_polygons"]["replaced"] == 1


def test_an_id_counts_where_it_shares_ground(two: Dataset, home: Path) -> None:
    """Names that begin again in each file must not replace a polygon elsewhere."""
    correct(two, [(half(0, 0, 4), "02", "2")])
    assert row_of(built(two, home)) == [1] * 4 + [0] * 6 + [1] * 10


def test_without_an_id_column_every_correction_is_drawn_over(two: Dataset, home: Path) -> None:
    nameless = described(Path(two.root), id=None)
    correct(nameless, [(half(0, 10, 18), "02", "1")])
    assert row_of(built(nameless, home)) == [0] * 18 + [1] * 2


def test_a_correction_leaves_the_other_tile_byte_for_byte(two: Dataset, home: Path) -> None:
    plain = described(Path(two.root), corrections=None)
    before = versions(plain, home)
    assert versions(two, home) == before
    correct(two, [(half(0, 12, 20), "02", "1")])
    after = versions(two, home)
    assert after[0] != before[0]
    assert after[1] == before[1], "it touches the second tile's edge, and no more"
    assert "corrections" not in built(two, home, 1).json("summary.json")
    correct(two, [(half(0, 12, 20), "02", "1"), (half(1, 0, 3), None, "2")])
    assert [one == other for one, other in zip(versions(two, home), after, strict=True)] == [True, False]
    (Path(two.root) / "corrections.gpkg").unlink()
    assert versions(two, home) == before


def test_a_fingerprint_is_remembered_and_follows_the_code(two: Dataset, home: Path) -> None:
    tile, memory = tiles(two)[0], home / MEMORY
    correct(two, [(half(0, 12, 20), "02", "1")])
    first = tile_fingerprints(tile, memory)
    assert tile_fingerprints(tile, memory) == first
    correct(two, [(half(0, 12, 20), "02", "3")])
    assert tile_fingerprints(tile, memory) != first


def test_corrections_in_another_crs_are_reprojected(two: Dataset, home: Path) -> None:
    before = versions(two, home)
    correct(two, [(half(0, 13, 20), "02", "1")], crs="EPSG:4326")
    product = built(two, home)
    assert row_of(product) == [0] * 10 + [IGNORE] * 3 + [0] * 7
    assert product.fingerprint != before[0]
    assert built(two, home, 1).fingerprint == before[1]


def test_each_tile_may_have_a_file_of_its_own(two: Dataset, home: Path) -> None:
    own = described(Path(two.root), corrections="corrected/{tile}.gpkg")
    before = versions(own, home)
    write(Path(two.root) / "corrected" / "t1.gpkg", [(half(1, 10, 20), "12", "1")])
    assert row_of(built(own, home, 1)) == [0] * 20
    assert built(own, home).fingerprint == before[0]


def test_an_unknown_code_names_its_feature_and_publishes_nothing(two: Dataset, home: Path) -> None:
    correct(two, [(half(0, 10, 20), "02", "77"), (half(0, 0, 2), None, None)])
    with pytest.raises(UnknownCodeError) as caught:
        built(two, home)
    assert "corrections.gpkg" in str(caught.value)
    assert "unknown code '77' in 1 polygon, first at polygon 02" in str(caught.value)
    assert "no code (NULL)" in str(caught.value)
    assert not (home / "small" / "ground_truth" / "t0").exists()


def test_a_file_that_cannot_be_read_makes_the_tile_stale_and_says_why(two: Dataset, home: Path) -> None:
    tile, memory, path = tiles(two)[0], home / MEMORY, Path(two.root) / "corrections.gpkg"
    before = tile_fingerprints(tile, memory)
    correct(two, [(half(0, 10, 20), "02", "1")])
    path.write_bytes(path.read_bytes()[:5000])
    assert tile_fingerprints(tile, memory) != before
    with pytest.raises(LabelError, match="cut short"):
        built(two, home)


def test_composite_labels_are_corrected_by_labels(tmp_path: Path, home: Path) -> None:
    raw = tmp_path / "raw"
    write_geotiff(raw / "t0.tif", np.full((SIDE, SIDE), 9, np.uint8))
    write(raw / "labels.gpkg", [(half(0, 0, 10), "7", "CHL"), (half(0, 10, 20), "8", "A(60CNF_40CHL)")])
    siose = described(raw, content="siose")
    assert row_of(built(siose, home, legend=SIOSE)) == [0] * 10 + [IGNORE] * 10
    correct(siose, [(half(0, 10, 20), "8", "A(90CNF_10CHL)"), (half(0, 0, 3), None, "CNF")])
    product = built(siose, home, legend=SIOSE)
    assert row_of(product) == [1] * 3 + [0] * 7 + [1] * 10
    assert product.json("summary.json")["corrections"][0]["from"] == "mixed: ignore"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"kind": "raster", "corrections": "c.gpkg"}, "for labels of kind vector"),
        ({"content": "values", "id": "i", "corrections": "c.gpkg"}, "content 'values' reads from a table"),
    ],
)
def test_labels_that_take_no_corrections_say_so(tmp_path: Path, labels: dict[str, str], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        described(tmp_path, **labels)


def test_a_code_that_nobody_could_read_is_mended(two: Dataset, home: Path) -> None:
    write(Path(two.root) / "labels.gpkg", [(half(0, 0, 10), "01", "1"), (half(0, 10, 20), "02", "?")])
    with pytest.raises(UnknownCodeError, match="labels"):
        built(two, home)
    correct(two, [(half(0, 0, 10), "01", "3")])
    with pytest.raises(UnknownCodeError, match="polygon 02"):
        built(two, home)
    correct(two, [(half(0, 10, 20), "02", "2")])
    product = built(two, home)
    assert row_of(product) == [0] * 10 + [1] * 10
    assert product.json("summary.json")["corrections"] == [
        {"from": "unlabelled", "to": "2", "pixels": 200, "hectares": 0.02}
    ]


def test_styles_that_qgis_saves_beside_them_are_no_corrections(two: Dataset, home: Path) -> None:
    correct(two, [(half(0, 5, 15), None, "3")])
    path = Path(two.root) / "corrections.gpkg"
    pyogrio.write_dataframe(pd.DataFrame({"styleName": ["plain"]}), path, layer="layer_styles", driver="GPKG")
    assert row_of(built(two, home)) == [0] * 5 + [IGNORE] * 10 + [1] * 5
    write_polygons(path, [(half(0, 0, 2), "1")], layer="more")
    expected = "2 layers with geometries"
    assert expected in checks.check(two, LEGEND, tiles(two)[:1]).problems[0].found
    with pytest.raises(LabelError, match=expected):
        built(two, home)


def test_what_is_wrong_with_the_file_is_found_at_the_door(two: Dataset, home: Path) -> None:
    assert not checks.check(two, LEGEND, tiles(two)).problems
    path = Path(two.root) / "corrections.gpkg"
    write_polygons(path, [(half(0, 0, 2), "1")], attribute="kind")
    (problem, *more) = checks.check(two, LEGEND, tiles(two)[:1]).problems
    assert (problem.where, problem.found.split(";")[0]) == (str(path), "no column 'code'")
    assert [other.found.split(";")[0] for other in more] == ["no column 'id'"]
    path.write_bytes(b"no file of vectors")
    assert "it begins with" in checks.check(two, LEGEND, tiles(two)[:1]).problems[0].found


def shifted(dataset: Dataset, right: float, down: float) -> Dataset:
    return dataset.model_copy(
        update={"tiles": dataset.tiles.model_copy(update={"overrides": {"t0": TileOverride(shift=(right, down))}})}
    )


@pytest.mark.parametrize(("name", "left"), [("02", [0] * 10 + [IGNORE] * 3), ("new", [0] * 10 + [1] * 3)])
def test_corrections_are_drawn_on_the_image_and_stay_where_labels_are_moved(
    two: Dataset, home: Path, name: str, left: list[int]
) -> None:
    """The labels lie 4 px to the left of what the image shows; somebody draws what columns 13 to 17 show."""
    write(Path(two.root) / "labels.gpkg", [(half(0, -20, 6), "01", "1"), (half(0, 6, 20), "02", "2")])
    right = shifted(two, 4, 0)
    assert row_of(built(right, home)) == [0] * 10 + [1] * 10
    correct(right, [(half(0, 13, 17), name, "3")])
    assert row_of(built(right, home)) == left + [IGNORE] * 4 + left[-1:] * 3
    correct(right, [(half(0, 13, 17), name, "1")])
    product = built(right, home)
    assert row_of(product) == left + [0] * 4 + left[-1:] * 3
    assert product.json("summary.json")["areas_agree"]


def test_a_shift_brings_no_correction_onto_a_tile_nor_takes_it_off(two: Dataset, home: Path) -> None:
    correct(two, [(half(0, 12, 20), None, "1")])
    plain, moved = ([tiles(one)[i] for i in (0, 1)] for one in (two, shifted(two, -30, 0)))
    memory = home / MEMORY
    assert tile_fingerprints(plain[1], memory) == tile_fingerprints(moved[1], memory)
    touched = tile_fingerprints(moved[0], memory)
    (Path(two.root) / "corrections.gpkg").unlink()
    assert tile_fingerprints(moved[0], memory) != touched
