"""SIOSE in all the forms it is delivered in becomes classes, shares and a table of decisions; bad input, errors."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import box

from landcover_orch import raster
from landcover_orch.checks import dataset as checks
from landcover_orch.config import Dataset
from landcover_orch.errors import ConfigError, LabelError, LandcoverError, UnknownCodeError
from landcover_orch.ground_truth import build as truth
from landcover_orch.ground_truth.areas import decision_problems
from landcover_orch.labels import compositions
from landcover_orch.labels.siose import SioseError
from landcover_orch.legend import IGNORE, Legend
from landcover_orch.store.publish import Product
from landcover_orch.tiles.catalogue import tiles
from tests.labels.siose_scenes import (
    CODES,
    LAYER,
    SIDE,
    Value,
    X,
    Y,
    columns,
    dataset,
    legend,
    write_image,
    write_labels,
    write_layer,
    write_values,
)
from tests.scenes import write_geotiff, write_polygons

LABELS = ("CNF", "A(60CNF_20FDC_20PST)", "A(50CNF_50PST)", "A(80FDC_20EDF)", "ZQM")
WIDTH = SIDE // len(LABELS)


def built(data: Dataset, home: Path, marks: Legend | None = None) -> Product:
    return truth.build(data, marks or legend(), tiles(data)[0], home)


def pixels(product: Product, name: str = "classes.tif") -> np.ndarray:  # type: ignore[type-arg]
    result = raster.inspect(product.file(name))
    with raster.reader(result, nodata="none") as source:
        return source.read(truth.blocks(result.shape, SIDE, SIDE)[0])[0]


def classes(product: Product, count: int = len(LABELS)) -> list[int]:
    """The class of each column, which must be of one."""
    row = pixels(product)
    assert (row == row[0]).all()
    step = SIDE // count
    assert (row[0].reshape(count, step) == row[0][::step, None]).all()
    return row[0][::step].tolist()


def decided(product: Product) -> dict[tuple[str, str], tuple[int, float, float]]:
    return {
        (row["decision"], row["class"]): (row["polygons"], row["hectares"], row["share"])
        for row in product.json("summary.json")["decisions"]
    }


def test_every_rule_on_one_tile(tmp_path: Path, home: Path) -> None:
    data = write_labels(tmp_path / "raw", LABELS)
    expected = {
        "dissolve": [0, 0, IGNORE, 0, IGNORE],
        "dominant": [0, IGNORE, IGNORE, 0, IGNORE],
        "ignore": [0, IGNORE, IGNORE, IGNORE, IGNORE],
        "soft": [0, IGNORE, IGNORE, IGNORE, IGNORE],
    }
    for rule, result in expected.items():
        assert classes(built(data, home, legend(rule=rule))) == result


def test_the_table_of_decisions_counts_each_pixel_once(tmp_path: Path, home: Path) -> None:
    product = built(write_labels(tmp_path / "raw", LABELS), home)
    assert decided(product) == {
        ("simple", "forest"): (1, 0.008, 0.2),
        ("simple", "ignore"): (1, 0.008, 0.2),
        ("dominant", "forest"): (1, 0.008, 0.2),
        ("dissolved", "forest"): (1, 0.008, 0.2),
        ("mixed", "ignore"): (1, 0.008, 0.2),
    }
    summary = product.json("summary.json")
    assert summary["ignore"]["code ignored by the legend"] == summary["ignore"]["composite"] == WIDTH * SIDE
    assert summary["labelled_pixels"] + sum(summary["ignore"].values()) == summary["pixels"]
    assert summary["areas_agree"]
    assert decision_problems(summary) == []


def test_a_rule_that_leaves_nothing_is_a_problem(tmp_path: Path, home: Path) -> None:
    data = write_labels(tmp_path / "raw", ["A(50CNF_50PST)"] * 2)
    summary = built(data, home).json("summary.json")
    assert "no labelled pixel: 100% of it is 'mixed' and becomes ignore" in str(decision_problems(summary)[0])
    assert decision_problems(built(data, home, legend(rule="soft")).json("summary.json")) == []


_boxes = st.tuples(st.integers(-5, 22), st.integers(-5, 22), st.integers(1, 15), st.integers(1, 15))
_drawn = st.lists(st.tuples(_boxes, st.sampled_from([*LABELS, "DHS", "DHS(60FDC_40PST)"])), min_size=1, max_size=9)


@settings(max_examples=25)
@given(_drawn, st.sampled_from(["dominant", "dissolve", "ignore", "soft"]), st.sampled_from(["ignore", "rest"]))
def test_any_polygons_add_up_under_any_rule(drawn: list[tuple[tuple[int, ...], str]], rule: str, bare: str) -> None:
    """Overlaps, gaps, polygons that reach beyond the tile, and rows without image: each pixel counts once."""
    shapes = [box(X + left, Y - top - height, X + left + width, Y - top) for (left, top, width, height), _ in drawn]
    marks = legend({**CODES, "DHS": "forest"}, rule=rule, keep_fractions=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        image = np.full((SIDE, SIDE), 9, np.uint8)
        image[:2] = 0
        write_geotiff(root / "t.tif", image, nodata=0)
        write_layer(root / "t.gpkg", LAYER, {"SIOSE_CODE": [label for _, label in drawn]}, shapes)
        data = dataset(root, attribute="SIOSE_CODE", content="siose", unlabelled=bare)
        product = built(data, root, marks)
        summary, remaining = product.json("summary.json"), product.file("polygons.tif").exists()
        table = pq.read_table(product.file("composition.parquet")).to_pylist() if remaining else []
        numbers = pixels(product, "polygons.tif") if remaining else np.zeros((SIDE, SIDE), np.uint32)
    rows = summary["decisions"]
    area = SIDE**2
    assert sum(row["share"] for row in rows) * area == pytest.approx(area - summary["unlabelled_pixels"])
    assert sum(row["hectares"] for row in rows) == pytest.approx((area - summary["unlabelled_pixels"]) / 1e4)
    assert sum(row["pixels"] for row in summary["classes"]) + sum(summary["ignore"].values()) == area
    on_tile = shapely.intersects(shapes, box(X, Y - SIDE, X + SIDE, Y)).sum()
    assert sum(row["polygons"] for row in rows) == on_tile == len({row["polygon"] for row in table})
    for number in range(1, on_tile + 1):
        assert sum(row["share"] for row in table if row["polygon"] == number) == pytest.approx(1)
    covered = shapely.contains_xy(shapely.union_all(shapes), *_centres())
    covered[:2] = False
    np.testing.assert_array_equal(numbers > 0, covered)


def _centres() -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    rows, cols = np.mgrid[:SIDE, :SIDE] + 0.5
    return X + cols, Y - rows


@pytest.mark.parametrize("rule", [{"rule": "soft"}, {"keep_fractions": True}])
def test_shares_are_kept_beside_the_classes(tmp_path: Path, home: Path, rule: dict[str, Any]) -> None:
    product = built(write_labels(tmp_path / "raw", LABELS), home, legend(**rule))
    numbers = pixels(product, "polygons.tif")
    assert numbers.dtype == np.uint32
    assert numbers[0].tolist() == np.repeat([1, 2, 3, 4, 5], WIDTH).tolist()
    table = pq.read_table(product.file("composition.parquet")).to_pylist()
    assert [row for row in table if row["polygon"] == 2] == [
        {
            "polygon": 2,
            "source": "P2",
            "decision": table[1]["decision"],
            "class": "forest",
            "share": pytest.approx(0.8),
        },
        {"polygon": 2, "source": "P2", "decision": table[1]["decision"], "class": "rest", "share": pytest.approx(0.2)},
    ]
    for number in range(1, 6):
        assert sum(row["share"] for row in table if row["polygon"] == number) == pytest.approx(1)
    assert not built(write_labels(tmp_path / "other", LABELS), home).file("polygons.tif").exists()


def test_strips_do_not_change_the_polygons(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_labels(tmp_path / "raw", LABELS)
    whole = built(data, home, legend(rule="soft"))
    monkeypatch.setattr(truth, "STRIP_ROWS", 3)
    again = built(data, tmp_path / "again", legend(rule="soft"))
    np.testing.assert_array_equal(pixels(again, "polygons.tif"), pixels(whole, "polygons.tif"))
    for name in ("classes.tif", "composition.parquet", "summary.json"):
        assert again.files[name] == whole.files[name]


def test_polygons_hold_no_pixel_without_image(tmp_path: Path, home: Path) -> None:
    data = write_labels(tmp_path / "raw", LABELS)
    image = np.full((SIDE, SIDE), 9, np.uint8)
    image[:4] = 0
    write_geotiff(tmp_path / "raw" / "t.tif", image, nodata=0)
    result = pixels(built(data, home, legend(rule="soft")), "polygons.tif")
    assert not result[:4].any()
    assert result[4:].all()


def test_the_largest_cover_alone(tmp_path: Path, home: Path) -> None:
    write_image(tmp_path / "raw")
    table = {"ID_COBERTURA_MAX": [316, 312, 300, 101]}
    write_layer(tmp_path / "raw" / "t.gpkg", "SAR_15_T_COMBINADA", table, columns(4))
    write_layer(tmp_path / "raw" / "t.gpkg", "SAR_15_T_USOS", {"HILUCS": [1]})
    data = dataset(tmp_path / "raw", layer="SAR_*_T_COMBINADA", attribute="ID_COBERTURA_MAX", content="largest")
    product = built(data, home, legend(keep_fractions=True))
    assert classes(product, 4) == [0, 0, 1, 1]
    assert decided(product) == {("largest", "forest"): (2, 0.02, 0.5), ("largest", "rest"): (2, 0.02, 0.5)}
    assert pq.read_table(product.file("composition.parquet")).num_rows == 0  # nobody told the shares


def test_codiige_at_two_levels(tmp_path: Path, home: Path) -> None:
    write_image(tmp_path / "raw")
    write_layer(tmp_path / "raw" / "t.gpkg", LAYER, {"CODIIGE": [311, 312, 320, 353]}, columns(4))
    data = dataset(tmp_path / "raw", attribute="CODIIGE")
    codes = {"31*": "forest", "3*": "rest", "353": "ignore"}
    product = built(data, home, legend(codes))
    assert classes(product, 4) == [0, 0, 1, IGNORE]
    result = {row["code"]: row["pixels"] for row in product.json("summary.json")["codes"]}
    assert result == {"31*": 200, "3*": 100, "353": 100}


VALUES = (
    ("P1", 701, "", 100.0),  # a composite's own row does not count, its members do
    ("P1", 312, "701", 60.4),
    ("P1", 316, "701", 19.6),
    ("P1", 300, "701", 20.0),
    ("P2", 300, "", 100.0),
    ("P9", 101, "", 100.0),  # of another tile
)


def test_the_table_of_values(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compositions, "AT_ONCE", 1)
    data = write_values(tmp_path / "raw", VALUES)
    product = built(data, home, legend(keep_fractions=True))
    assert classes(product, 2) == [0, 1]
    table = pq.read_table(product.file("composition.parquet")).to_pylist()
    assert {(row["source"], row["class"]): row["share"] for row in table} == {
        ("P1", "forest"): pytest.approx(0.8),
        ("P1", "rest"): pytest.approx(0.2),
        ("P2", "rest"): pytest.approx(1),
    }


@pytest.mark.parametrize("rows", [VALUES, VALUES[1:]])  # with its own row, and told by its members alone
@pytest.mark.parametrize("told", ["DHS", "701"])
def test_a_predefined_composite_of_the_table_may_count_as_a_whole(
    tmp_path: Path, home: Path, told: str, rows: tuple[Value, ...]
) -> None:
    product = built(write_values(tmp_path / "raw", rows), home, legend(predefined={told: "rest"}))
    assert classes(product, 2) == [1, 1]
    assert ("predefined", "rest") in decided(product)


def test_values_are_read_however_they_are_written(tmp_path: Path, home: Path) -> None:
    rows: list[Any] = [
        ("1", "UDS", "", "100"),
        ("1", "EDF", "A-813", "80,5"),
        ("1", "CNF", "0600;813", "19.5"),
        ("1", "PST", "", "0"),
        ("2", "PST", "0", "100"),
    ]
    product = built(write_values(tmp_path / "raw", rows, names=[1, 2]), home)  # numbers there, text in the table
    assert classes(product, 2) == [1, 1]
    assert {how for how, _ in decided(product)} == {"dominant", "simple"}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("P1", 316, "", -20.0), ("P1", 300, "", 120.0)], "polygon P1: -20 % 316, 120 % 300: 100 % in all"),
        ([("P1", 316, "", np.nan), ("P1", 300, "", 40.0)], "polygon P1: nan % 316, 40 % 300: nan % in all"),
        ([("P1", 316, "", "many"), ("P1", 300, "", "40")], "polygon P1: nan % 316, 40 % 300: nan % in all"),
        ([("P1", 316, "", 100.0), ("P1", 316, "", 100.0)], "polygon P1: 100 % 316, 100 % 316: 200 % in all"),
        ([("P1", None, "", 60.0), ("P1", 300.0, "", 40.0)], "polygon P1: 60 % (no cover), 40 % 300: 100 % in all"),
        ([("P9", 316, "", 100.0)], "polygon P1: no row"),
        ([("P1", 999, "", 100.0)], "column ID_COBERTURA: unknown code '999' in 1 polygon, first at polygon P1"),
    ],
)
def test_rows_that_cannot_be_are_told_with_their_polygon(
    tmp_path: Path, home: Path, rows: list[Any], told: str
) -> None:
    with pytest.raises(LabelError) as error:
        built(write_values(tmp_path / "raw", rows, polygons=1), home)
    assert "layer T_VALORES" in str(error.value)
    assert told in str(error.value)


def test_polygons_that_the_table_cannot_name(tmp_path: Path, home: Path) -> None:
    data = write_values(tmp_path / "raw", [("P'1", 316, "", 100.0)], names=["P'1", None])
    with pytest.raises(LabelError, match=r"no name \(NULL\) in 1 polygon.*Fix: give them the names that T_VALORES has"):
        built(data, home)


def test_values_that_do_not_sum_or_are_missing_name_their_polygons(tmp_path: Path, home: Path) -> None:
    data = write_values(tmp_path / "raw", [("P1", 312, "", 60.0), ("P1", 300, "", 20.0)])
    with pytest.raises(LabelError) as error:
        built(data, home)
    assert "polygon P1: 60 % 312, 20 % 300: 80 % in all; expected covers that sum to 100 %" in str(error.value)
    assert "polygon P2: no row" in str(error.value)


def test_labels_that_are_wrong_are_all_named_with_their_polygons(tmp_path: Path, home: Path) -> None:
    data = write_labels(tmp_path / "raw", ["CNF", "A(60CNF_30PST)", "FDX", "CNF"])
    with pytest.raises(SioseError) as error:
        built(data, home)
    assert "polygon P2" in str(error.value)
    assert "sum to 100, not 90" in str(error.value)
    assert "polygon P3" in str(error.value)
    assert not (home / "small" / "ground_truth" / "t").exists()


def test_two_polygons_may_bear_one_name(tmp_path: Path, home: Path) -> None:
    table = {"ID_POLYGON": ["P1", "P1"], "SIOSE_CODE": ["CNF", "A(80PST_20CNF)"]}
    write_image(tmp_path / "raw")
    write_layer(tmp_path / "raw" / "t.gpkg", LAYER, table, columns(2))
    data = dataset(tmp_path / "raw", attribute="SIOSE_CODE", content="siose", id="ID_POLYGON")
    assert classes(built(data, home), 2) == [0, 1]


def test_covers_that_the_legend_lacks_are_all_named(tmp_path: Path, home: Path) -> None:
    data = write_labels(tmp_path / "raw", ["CNF", "A(60MTR_40PST)", "MTR", "LVI"])
    with pytest.raises(UnknownCodeError) as error:
        built(data, home)
    assert "unknown code 'MTR' in 2 polygons, first at polygon P2" in str(error.value)
    assert "unknown code 'LVI' in 1 polygon, first at polygon P4" in str(error.value)


def test_a_polygon_without_a_label_is_named(tmp_path: Path, home: Path) -> None:
    with pytest.raises(UnknownCodeError, match=r"no code \(NULL\) in 1 polygon, first at polygon P2"):
        built(write_labels(tmp_path / "raw", ["CNF", None, "PST", "PST"]), home)


def test_broken_geometry_is_repaired_and_what_has_no_area_left_out_with_notes(tmp_path: Path, home: Path) -> None:
    bow = shapely.Polygon([(X, Y), (X + 20, Y - 20), (X + 20, Y), (X, Y - 20)])
    line = shapely.Polygon([(X, Y), (X + 9, Y - 9), (X + 4, Y - 4)])
    write_image(tmp_path / "raw")
    write_polygons(tmp_path / "raw" / "t.gpkg", [(bow, "CNF"), (line, "PST")])
    summary = built(dataset(tmp_path / "raw", attribute="code", content="siose"), home).json("summary.json")
    assert summary["notes"] == ["1 invalid polygons repaired", "1 geometries without area left out"]
    assert 180 <= summary["labelled_pixels"] <= 220
    assert [row["polygons"] for row in summary["decisions"]] == [1]


def test_polygons_in_another_crs_come_with_a_note(tmp_path: Path, home: Path) -> None:
    import geopandas

    write_image(tmp_path / "raw")
    frame = geopandas.GeoDataFrame({"code": ["CNF"]}, geometry=[box(X, Y - SIDE, X + SIDE, Y)], crs="EPSG:25830")
    frame.to_crs("EPSG:4258").to_file(tmp_path / "raw" / "t.gpkg", layer="a")
    summary = built(dataset(tmp_path / "raw", attribute="code", content="siose"), home).json("summary.json")
    assert summary["labelled_pixels"] == SIDE * SIDE
    assert summary["notes"] == ["polygons reprojected from EPSG:4258 to EPSG:25830"]


def test_a_province_that_was_cut_short_is_refused_before_it_is_read(tmp_path: Path, home: Path) -> None:
    data = write_labels(tmp_path / "raw", LABELS)
    path = tmp_path / "raw" / "t.gpkg"
    path.write_bytes(path.read_bytes()[:-4096])
    for look in (lambda: built(data, home), lambda: checks.check(data, legend(), tiles(data)).raise_problems()):
        with pytest.raises(LandcoverError, match=r"cut short: .* bytes; expected .* Fix: copy the file again"):
            look()


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"layer": "SAR_*"}, "no layer 'SAR_*'; the file has T_POLIGONOS, T_VALORES"),
        ({"layer": "T_*"}, "2 layers match 'T_*'; the file has T_POLIGONOS, T_VALORES"),
        ({"layer": LAYER, "id": "NAME"}, "no column 'NAME'; there are ID_POLYGON"),
        ({"layer": LAYER, "values": {"layer": "T_X"}}, "no layer 'T_X'; the file has T_POLIGONOS, T_VALORES"),
        ({"layer": LAYER, "values": {"cover": "COVER"}}, "no columns ['COVER']; there are ID_POLYGON, ID_COBERTURA"),
    ],
)
def test_wrong_layers_and_columns_are_told_with_those_there_are(
    tmp_path: Path, home: Path, labels: dict[str, Any], told: str
) -> None:
    write_values(tmp_path / "raw", VALUES)
    data = dataset(tmp_path / "raw", **{"content": "values", "id": "ID_POLYGON", **labels})
    (problem,) = checks.check(data, legend(), tiles(data)).problems
    assert told in str(problem)
    with pytest.raises(LabelError):
        built(data, home)


def test_an_empty_layer_and_labels_of_another_place_are_problems(tmp_path: Path) -> None:
    far = [box(X + 9_000, Y, X + 9_020, Y + 20)]
    for name, shapes, told in (("empty", [], "the layer is empty"), ("far", far, "no polygon on")):
        write_image(tmp_path / name)
        write_layer(tmp_path / name / "t.gpkg", LAYER, {"SIOSE_CODE": np.array(["CNF"] * len(shapes), object)}, shapes)
        data = dataset(tmp_path / name, attribute="SIOSE_CODE", content="siose")
        (problem,) = checks.check(data, legend(), tiles(data)).problems
        assert told in str(problem)


def test_a_layer_without_a_spatial_index_is_noted_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyogrio

    from landcover_orch.checks import vectors

    data = write_labels(tmp_path, LABELS)
    frame = pyogrio.read_dataframe(tmp_path / "t.gpkg")
    (tmp_path / "t.gpkg").unlink()
    pyogrio.write_dataframe(frame, tmp_path / "t.gpkg", layer=LAYER, SPATIAL_INDEX="NO")
    assert checks.check_tile(data, legend(), tiles(data)[0]).notes == ()  # five polygons are quickly looked at
    monkeypatch.setattr(vectors, "MANY", 3)
    (note,) = checks.check_tile(data, legend(), tiles(data)[0]).notes
    assert "has no spatial index" in note
    assert "SELECT CreateSpatialIndex('T_POLIGONOS', 'geom')" in note


def test_a_legend_that_these_labels_cannot_follow(tmp_path: Path) -> None:
    data = write_labels(tmp_path, LABELS)
    ordered = legend().model_copy(update={"burn_order": tuple(CODES)})
    (problem,) = checks.check(data, ordered, tiles(data)).problems
    assert "burn_order" in str(problem)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"kind": "raster", "content": "siose"}, "content 'siose' is for polygons"),
        ({"content": "values"}, "content 'values' needs `id`"),
        ({"kind": "components"}, "kind 'components' needs `components`"),
        ({"components": [{"code": "a.bin"}]}, "`components` are for kind 'components'"),
    ],
)
def test_labels_that_contradict_themselves(tmp_path: Path, labels: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        dataset(tmp_path, **labels)
