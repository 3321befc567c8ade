"""Component rasters: each by its own table, percentages that sum to 100 or to nothing, and the real inventory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch import raster
from landcover_orch.checks import dataset as checks
from landcover_orch.config import Dataset, TileOverride, Tiles, load_legend
from landcover_orch.errors import LabelError, LandcoverError, RasterError, UnknownCodeError
from landcover_orch.grid import blocks
from landcover_orch.ground_truth import build as truth
from landcover_orch.labels import composites
from landcover_orch.labels.components import Components, _combinations, open_raster, table
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.legend import IGNORE, Legend
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.publish import Product
from landcover_orch.tiles import catalogue
from landcover_orch.tiles.tile import Component, Tile
from tests.labels.siose_scenes import dataset, legend
from tests.scenes import write_geotiff, write_plain_tiff

FOLDER = "bc-vri-composite"
REAL = [
    {"code": "LAND_COVER.bin", "percent": "EST_COVERA.bin", "table": "LAND_COVER.lut"},
    {"code": "LAND_COV_1.bin", "percent": "EST_COVE_1.bin", "table": "LAND_COV_1.lut"},
    {"code": "LAND_COV_2.bin", "percent": "EST_COVE_2.bin", "table": "LAND_COV_2.lut"},
]


def write_envi(path: Path, data: np.ndarray, **header: Any) -> None:  # type: ignore[type-arg]
    """An ENVI raster that says nothing of its place."""
    path.write_bytes(data.astype("<f4").tobytes())
    lines = {"samples": data.shape[1], "lines": data.shape[0], "bands": 1, "header offset": 0, "data type": 4}
    told = "\n".join(f"{key} = {value}" for key, value in {**lines, "interleave": "bsq", "byte order": 0}.items())
    path.with_suffix(".hdr").write_text(f"ENVI\nfile type = ENVI Standard\n{told}\n")


@pytest.fixture
def scene(tmp_path: Path) -> Dataset:
    """2 x 3 pixels of two components, whose tables give one cover different values."""
    root = tmp_path / "raw"
    write_geotiff(root / "t.tif", np.ones((2, 3), np.uint8))
    write_geotiff(root / "place.tif", np.ones((2, 3), np.uint8))
    write_envi(root / "one.bin", np.array([[1, 2, 3], [2, 1, 1]]))
    write_envi(root / "two.bin", np.array([[1, 3, 2], [2, 1, 1]]))
    write_envi(root / "one_percent.bin", np.array([[0, 60, 50], [80, 0, 0]]))
    write_envi(root / "two_percent.bin", np.array([[0, 40, 50], [20, 0, 0]]))
    (root / "one.lut").write_text(",1.000000\nCNF,2.000000\nPST,3.000000\n")
    (root / "two.lut").write_text(",1.000000\nCNF,2.000000\nFDC,3.000000\n")
    parts = [{"code": f"{n}.bin", "percent": f"{n}_percent.bin", "table": f"{n}.lut"} for n in ("one", "two")]
    data = dataset(root, kind="components", components=parts)
    return data.model_copy(update={"tiles": Tiles(image="{tile}.tif", label="place.tif", names=("t",))})


def built(data: Dataset, home: Path, marks: Legend | None = None) -> Product:
    return truth.build(data, marks or legend(), catalogue.tiles(data)[0], home)


def pixels(product: Product, name: str = "classes.tif") -> np.ndarray:  # type: ignore[type-arg]
    result = raster.inspect(product.file(name))
    with raster.reader(result, nodata="none") as source:
        return source.read(blocks(result.shape, *result.shape)[0])[0]


def test_each_component_is_read_by_its_own_table(scene: Dataset, home: Path) -> None:
    product = built(scene, home)
    assert pixels(product).tolist() == [[IGNORE, 0, IGNORE], [0, IGNORE, IGNORE]]
    result = {(r["decision"], r["class"], r["polygons"], r["share"]) for r in product.json("summary.json")["decisions"]}
    assert result == {
        ("dissolved", "forest", None, 1 / 6),
        ("simple", "forest", None, 1 / 6),
        ("mixed", "ignore", None, 1 / 6),
    }
    assert product.json("summary.json")["unlabelled_pixels"] == 3


def test_strips_make_no_difference(scene: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = built(scene, home)
    monkeypatch.setattr(truth, "STRIP_ROWS", 1)
    assert built(scene, home.parent / "again").files == whole.files


def test_any_file_of_a_component_is_part_of_the_labels_fingerprint(scene: Dataset, home: Path) -> None:
    (tile,) = catalogue.tiles(scene)
    before = tile_fingerprints(tile, home / MEMORY)
    for name in ("two.lut", "two.hdr", "one_percent.bin"):
        path = tile.label.parent / name
        remaining = path.read_bytes()
        path.write_bytes(remaining + b"\n")
        after = tile_fingerprints(tile, home / MEMORY)
        assert (after[0] == before[0], after[1] == before[1]) == (True, False)
        path.write_bytes(remaining)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        (
            "two_percent.bin",
            [[0, 30, 50], [20, 0, 0]],
            "60 % CNF, 30 % FDC: 90 % in all in 1 pixel, first at row 0, col 1",
        ),
        ("two_percent.bin", [[0, 40, 50], [20, 0, 9]], "9 % (blank): 9 % in all in 1 pixel, first at row 1, col 2"),
        ("one.bin", [[1, 7, 3], [2, 1, 1]], "value 7 that its table lacks in 1 pixel, first at row 0, col 1"),
        ("two_percent.bin", [[0, 40, 50], [20, 0, np.nan]], "nan % in all"),
    ],
)
def test_percentages_and_values_that_cannot_be_are_told_with_their_place(
    scene: Dataset, home: Path, name: str, data: list[list[float]], told: str
) -> None:
    write_envi(scene.folder / name, np.array(data))
    with pytest.raises(LabelError) as error:
        built(scene, home)
    assert told in str(error.value)
    assert not (home / "small" / "ground_truth" / "t").exists()


def test_nodata_is_no_cover_unless_its_table_names_it(scene: Dataset, home: Path) -> None:
    root = scene.folder
    for name, values in (("one", [[9, 2, 9]]), ("one_percent", [[9, 60, 9]]), ("two", [[9, 3, 2]])):
        write_geotiff(root / f"{name}.bin.tif", np.array(values, np.uint8), nodata=9)
    write_geotiff(root / "two_percent.bin.tif", np.array([[255, 40, 100]], np.uint8), nodata=255)
    for name in ("t", "place"):
        write_geotiff(root / f"{name}.tif", np.ones((1, 3), np.uint8))
    parts = tuple(
        part.model_copy(update={"code": f"{part.code}.tif", "percent": f"{part.percent}.tif"})
        for part in scene.labels.components
    )
    data = scene.model_copy(update={"labels": scene.labels.model_copy(update={"components": parts})})
    assert pixels(built(data, home)).tolist() == [[IGNORE, 0, 0]]
    (root / "two.lut").write_text("PST,9\nCNF,2\nFDC,3\n")
    write_geotiff(root / "two_percent.bin.tif", np.array([[100, 40, 100]], np.uint8), nodata=255)
    assert pixels(built(data, home)).tolist() == [[1, 0, 0]]
    write_geotiff(root / "two_percent.bin.tif", np.array([[100, 40, 255]], np.uint8), nodata=255)
    with pytest.raises(LabelError, match=r"nan % CNF: nan % in all in 1 pixel, first at row 0, col 2"):
        built(data, home)
    write_geotiff(root / "one_percent.bin.tif", np.array([[0, 60, 0]], np.uint8), nodata=0)
    write_geotiff(root / "two_percent.bin.tif", np.array([[100, 40, 100]], np.uint8), nodata=100)
    assert pixels(built(data, home)).tolist() == [[1, 0, 0]]


def test_covers_that_the_legend_lacks_are_counted(scene: Dataset, home: Path) -> None:
    with pytest.raises(UnknownCodeError, match="unknown code 'CNF' in 3 pixels, first at row 0, col 1"):
        built(scene, home, legend({"FDC": "forest", "PST": "rest"}))


def test_files_are_checked_before_they_are_read(scene: Dataset, home: Path) -> None:
    def report() -> str:
        return "\n".join(map(str, checks.check(scene, legend(), catalogue.tiles(scene)).problems))

    assert report() == ""
    one, two = scene.folder / "one.bin", scene.folder / "two.lut"
    write_envi(one, np.ones((2, 2)))
    two.write_text("CNF;2\nFDC,2\nPST,2\n")
    assert "1 band of 2 x 2 px; expected one band of 2 x 3 px on the grid of place.tif" in report()
    assert "two.lut:1: 'CNF;2'; expected 'cover,value', each value once" in report()
    assert "two.lut:3: 'PST,2'" in report()
    one.write_bytes(one.read_bytes()[:-2])
    assert "cut short: 14 bytes; expected 16 bytes" in report()
    with pytest.raises(LandcoverError):
        built(scene, home)
    one.unlink()
    with pytest.raises(LandcoverError, match=r"one\.bin: no such file"):
        catalogue.tiles(scene)


def test_components_without_a_place_or_in_another_one_are_told(scene: Dataset, home: Path) -> None:
    root = scene.folder
    (root / "two.lut").write_bytes(b"\xef\xbb\xbfCNF,2\r\n,1\r\nFDC,3\r\n")  # as some editors save it
    write_geotiff(root / "far.tif", np.array([[1, 2, 3], [2, 1, 1]], np.uint8), origin=(500_001.0, 4_700_000.0))
    first, second = scene.labels.components
    moved = scene.model_copy(
        update={
            "labels": scene.labels.model_copy(
                update={"components": (first.model_copy(update={"code": "far.tif"}), second)}
            )
        }
    )
    (problem,) = checks.check(moved, legend(), catalogue.tiles(moved)).problems
    assert "far.tif: 1 band of 2 x 3 px from 500001.0, 4700000.0 in EPSG:25830; expected one band of 2 x 3" in str(
        problem
    )
    (root / "one.lut").write_bytes(b",1\nCNF\xff,2\n")
    write_plain_tiff(root / "place.tif", np.ones((1, 2, 3), np.uint8))
    crs, text = checks.check(scene, legend(), catalogue.tiles(scene)).problems
    assert "place.tif: no CRS; expected that of its orthophoto, EPSG:25830" in str(crs)
    assert "one.lut: 'utf-8' codec can't decode" in str(text)
    with pytest.raises(LabelError, match="CRS None; expected EPSG:25830, as its orthophoto"):
        built(scene, home)


def test_only_the_named_formats_are_opened(tmp_path: Path) -> None:
    vrt = tmp_path / "a.bin"
    vrt.write_text("<VRTDataset rasterXSize='1' rasterYSize='1'></VRTDataset>")
    with pytest.raises(RasterError, match="not readable as ENVI"):
        open_raster(vrt)


def test_all_pixels_of_a_combination_keep_its_shares(
    scene: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side in ("one", "two"):  # a second row like the first one, so that combinations come back
        for name in (side, f"{side}_percent"):
            data = np.fromfile(scene.folder / f"{name}.bin", "<f4").reshape(2, 3)
            write_envi(scene.folder / f"{name}.bin", np.concatenate([data, data[::-1, ::-1]]))
    for name in ("t", "place"):
        write_geotiff(scene.folder / f"{name}.tif", np.ones((4, 3), np.uint8))
    assert checks.check(scene, legend(rule="soft"), catalogue.tiles(scene)).problems == ()
    product = built(scene, home, legend(rule="soft"))
    assert pixels(product, "polygons.tif").tolist() == [[0, 1, 2], [3, 0, 0], [0, 0, 3], [2, 1, 0]]
    assert [tuple(row.values()) for row in pq.read_table(product.file("composition.parquet")).to_pylist()] == [
        (1, "60 % CNF, 40 % FDC", "dissolved", "forest", 1.0),
        (2, "50 % PST, 50 % CNF", "soft", "forest", 0.5),
        (2, "50 % PST, 50 % CNF", "soft", "rest", 0.5),
        (3, "80 % CNF, 20 % CNF", "simple", "forest", 1.0),
    ]
    monkeypatch.setattr(truth, "STRIP_ROWS", 1)
    assert built(scene, home.parent / "again", legend(rule="soft")).files == product.files
    tiles = scene.tiles.model_copy(update={"overrides": {"t": TileOverride(shift=(1, -1))}})
    moved = built(scene.model_copy(update={"tiles": tiles}), home, legend(rule="soft"))
    assert pixels(moved, "polygons.tif").tolist() == [[0, 1, 0], [0, 0, 0], [0, 2, 3], [0, 0, 0]]


def test_the_inventorys_percentages_sum_to_100_or_nothing(real_data: Path) -> None:
    marks = load_legend("bc-vri")
    files = [Component(*(real_data / FOLDER / name for name in part.values())) for part in REAL]
    result = Components(files, marks, composites.coding(marks, "ignore"))
    assert sum(strip.size for strip in result.strips(blocks((401, 410), 64, 410))) == 401 * 410
    assert result.sums == {100.0: 129_840, 0.0: 34_570}


@pytest.mark.parametrize(
    ("name", "codes", "expected"),
    [
        ("BCLCS_LEVE", {"V": "forest", "N": "rest"}, [154_688, 9_722]),
        ("BCLCS_LE_3", {"TC": "forest", "TB": "forest", "TM": "forest", "*": "rest"}, [132_544, 22_169]),
    ],
)
def test_a_level_of_the_hierarchy_is_a_component_without_percentages(
    real_data: Path, name: str, codes: dict[str, str], expected: list[int]
) -> None:
    marks = legend(codes)
    numbers = composites.coding(marks, "ignore")
    file = Component(real_data / FOLDER / f"{name}.bin", None, real_data / FOLDER / f"{name}.lut")
    result = np.concatenate(list(Components([file], marks, numbers).strips(blocks((401, 410), 64, 410))))
    assert np.bincount(numbers.classes[result].reshape(-1), minlength=256)[:2].tolist() == expected


def _columns() -> st.SearchStrategy[list[list[float]]]:
    values = st.sampled_from([0.0, 1.0, 35.0, 99.5, -1.0, 2e6, 7.0])
    return st.integers(1, 4).flatmap(
        lambda bands: st.lists(st.lists(values, min_size=bands, max_size=bands), min_size=1)
    )


@given(_columns())
def test_combinations_are_those_that_there_are(rows: list[list[float]]) -> None:
    values, which, first, counts = _combinations([np.array(band) for band in zip(*rows, strict=True)])
    told = list(map(tuple, rows))
    assert [values[i] for i in which] == told
    assert sorted(values) == sorted(set(told))
    assert [told.index(value) for value in values] == first.tolist()
    assert [told.count(value) for value in values] == counts.tolist()


def test_the_inventory_becomes_classes(real_data: Path, tmp_path: Path, home: Path) -> None:
    folder = real_data / FOLDER
    place = open_raster(folder / "bcgw_WATER.bin")
    blank = (blocks(place.shape, *place.shape)[0], np.ones((1, *place.shape), np.uint8))
    raster.write_tiled(tmp_path / "t.tif", place.grid, "uint8", ("grey",), [blank])
    data = dataset(tmp_path, kind="components", components=REAL)
    tile = Tile(
        "t",
        tmp_path / "t.tif",
        folder / "bcgw_WATER.bin",
        None,
        None,
        None,
        None,
        tuple(Component(*(folder / name for name in part.values())) for part in REAL),
    )
    product = truth.build(data, load_legend("bc-vri"), tile, home)
    summary = product.json("summary.json")
    assert summary["unlabelled_pixels"] == 34_570
    assert sum(row["share"] for row in summary["decisions"]) * 401 * 410 == pytest.approx(129_840)
    first, percent = (np.fromfile(folder / f"{name}.bin", "<f4") for name in ("LAND_COVER", "EST_COVERA"))
    codes = load_legend("bc-vri").class_of_code
    expected = {value: codes.get(cover, IGNORE) for value, cover in (table(folder / "LAND_COVER.lut") or {}).items()}
    clear = percent >= 75
    result = pixels(product).reshape(-1)[clear]
    assert result.tolist() == [expected[value] for value in first[clear].tolist()]
