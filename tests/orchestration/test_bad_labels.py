"""Bad labels on the ways that people take: the command that checks a dataset, and ground truth in the lineage.

Each is a clear error or a counted note, and never a wrong raster.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
import yaml
from shapely import Polygon, box
from shapely.geometry.base import BaseGeometry

from assets.cli import main
from assets.materialise import materialise
from landcover_orch import config, raster
from landcover_orch.errors import LandcoverError
from landcover_orch.grid import blocks
from landcover_orch.legend import IGNORE
from landcover_orch.store.publish import current
from tests.labels.siose_scenes import CLASSES, CODES, LAYER, SIDE, X, Y, columns, write_image, write_layer
from tests.scenes import CRS

NAME = "bad"
LEFT, RIGHT = columns(2)
LABELS = {"attribute": "SIOSE_CODE", "content": "siose", "id": "ID_POLYGON"}


class Tile:
    """One tile of 20 x 20 px with its GeoPackage, as a dataset that people have configured."""

    def __init__(self, configs: Path, root: Path, home: Path, dagster: dg.DagsterInstance) -> None:
        self.configs, self.root, self.home, self.dagster = configs, root, home, dagster
        write_image(root)
        self.label(LABELS)
        self.save("legends", {"name": NAME, "classes": CLASSES, "codes": CODES, "composites": {"keep_fractions": True}})
        self.save("experiments", {"name": "none", "model": "unet"})

    @property
    def path(self) -> Path:
        """The GeoPackage."""
        return self.root / "t.gpkg"

    def save(self, kind: str, content: dict[str, Any]) -> None:
        """Writes one configuration file."""
        (self.configs / kind / f"{content['name']}.yaml").write_text(yaml.safe_dump(content))

    def label(self, labels: dict[str, Any]) -> None:
        """Configures how the labels are read."""
        self.save(
            "datasets",
            {
                "name": NAME,
                "root": str(self.root),
                "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg", "year": 2020, "label_year": 2020},
                "bands": ["grey"],
                "legend": NAME,
                "labels": labels,
                "experiments": ["none"],
                "baselines": [],
                "patches": {"size": 16, "stride": 16},
            },
        )

    def draw(
        self, shapes: Sequence[BaseGeometry | None], labels: Sequence[Any] = ("CNF", "PST"), crs: str = CRS, **how: Any
    ) -> None:
        """Writes polygons P1, P2, ... with their labels."""
        names = [f"P{i}" for i in range(1, len(shapes) + 1)]
        table = {"ID_POLYGON": np.array(names, object), "SIOSE_CODE": np.array(labels[: len(shapes)], object)}
        frame = geopandas.GeoDataFrame(table, geometry=list(shapes), crs=CRS).to_crs(crs)
        pyogrio.write_dataframe(frame, self.path, layer=LAYER, driver="GPKG", **how)

    def edit(self, *statements: str, values: Sequence[Any] = ()) -> None:
        """Runs SQL on the GeoPackage, whose triggers need functions that only GDAL has."""
        with sqlite3.connect(self.path) as file:
            for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                file.execute(f'DROP TRIGGER "{name}"')
            for statement in statements:
                file.execute(statement, values if "?" in statement else ())
        file.close()

    def made(self) -> list[str]:
        """What the lineage says of the ground truth: the texts of its error and of its input check; or none."""
        try:
            materialise(self.dagster, config.load_dataset(NAME), ["ground_truth"])
        except (dg.DagsterError, LandcoverError) as error:
            return [*_chain(error), *self._at_the_door()]
        return []

    def _at_the_door(self) -> list[str]:
        key = dg.AssetCheckKey(dg.AssetKey([NAME, "orthophoto"]), "files_fit")
        found = self.dagster.event_log_storage.get_asset_check_execution_history(key, limit=1)
        evaluations = [record.event.asset_check_evaluation for record in found if record.event]
        return [told.description or "" for told in evaluations if told]

    @property
    def summary(self) -> dict[str, Any]:
        """What was counted on the way to the ground truth."""
        found: dict[str, Any] = current(self.home / NAME / "ground_truth", "t").json("summary.json")
        return found

    @property
    def classes(self) -> list[int]:
        """The classes of the tile's middle row."""
        found = raster.inspect(current(self.home / NAME / "ground_truth", "t").file("classes.tif"))
        with raster.reader(found, nodata="none") as source:
            return [int(value) for value in source.read(blocks(found.shape, SIDE, SIDE)[0])[0][SIDE // 2]]

    @property
    def nothing(self) -> bool:
        """Whether no ground truth was published."""
        return not (self.home / NAME / "ground_truth" / "t").exists()


def _chain(error: BaseException | None) -> list[str]:
    return [] if error is None else [str(error), *_chain(error.__cause__)]


@pytest.fixture
def tile(configs: Path, home: Path, tmp_path: Path, dagster: dg.DagsterInstance) -> Tile:
    return Tile(configs, tmp_path / "raw", home, dagster)


Prepare = Callable[[Tile], object]


def _wrong_layer(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT])
    write_layer(tile.path, "SAR_15_T_USOS", {"HILUCS": [1]}, [LEFT])
    tile.label({**LABELS, "layer": "POLIGONOS"})


def _column(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT])
    tile.label({**LABELS, "attribute": "CODE"})


def _no_place(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT])
    tile.edit("UPDATE gpkg_geometry_columns SET srs_id = -1", "UPDATE gpkg_contents SET srs_id = -1")


def _no_crs(tile: Tile) -> None:
    frame = geopandas.GeoDataFrame({"ID_POLYGON": ["P1"], "SIOSE_CODE": ["CNF"]}, geometry=[LEFT])
    with pytest.warns(UserWarning, match="crs"):
        pyogrio.write_dataframe(frame, tile.path, layer=LAYER, driver="GPKG")


def _swapped(tile: Tile) -> None:
    frame = geopandas.GeoSeries([LEFT, RIGHT], crs=CRS).to_crs("EPSG:4326")
    turned = [shapely.transform(shape, lambda xy: xy[:, ::-1]) for shape in frame]
    degrees = geopandas.GeoDataFrame({"SIOSE_CODE": ["CNF", "PST"]}, geometry=turned, crs="EPSG:4326")
    pyogrio.write_dataframe(degrees.assign(ID_POLYGON=["P1", "P2"]), tile.path, layer=LAYER, driver="GPKG")


def _cut(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT])
    tile.path.write_bytes(tile.path.read_bytes()[:-4096])


def _tail_of_zeros(tile: Tile) -> None:
    """As a download leaves that took the whole space first."""
    tile.draw([LEFT, RIGHT])
    whole = tile.path.read_bytes()
    tile.path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))


def _beside(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT])
    tile.path.with_name("t.gpkg-wal").write_bytes(b"changes")


def _lost_from_index(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT])
    tile.edit("DELETE FROM rtree_T_POLIGONOS_geom_rowid WHERE rowid = 2")


def _truncated_shape(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT])
    tile.edit("UPDATE T_POLIGONOS SET geom = substr(geom, 1, 70) WHERE fid = 1")


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (_wrong_layer, "no layer 'POLIGONOS'; the file has T_POLIGONOS, SAR_15_T_USOS"),
        (_column, "no column 'CODE'; there are ID_POLYGON, SIOSE_CODE"),
        (lambda tile: tile.draw([]), "the layer is empty"),
        (lambda tile: tile.draw([None, None]), "the layer is empty"),
        (lambda tile: tile.draw([box(X + 90, Y, X + 99, Y + 9)]), "no polygon on"),
        (lambda tile: tile.draw([box(X + SIDE, Y - SIDE, X + 99, Y)]), "no polygon on"),
        (lambda tile: tile.draw([Polygon([(X, Y), (X + 9, Y), (X, Y)])]), "no polygon on"),
        (
            _swapped,
            "exchanged: polygons lie in (42.5, -3.0, 42.5, -3.0); expected polygons in (-3.0, 42.5, -3.0, 42.5)",
        ),
        (_no_crs, "no CRS; expected a coordinate reference system. Fix: state it once with ogr2ogr -a_srs"),
        (_no_place, "a CRS from which no way leads to the orthophoto's"),
        (_cut, "cut short: "),
        (_beside, "changes beside it, in t.gpkg-wal; expected one whole file. Fix: close the program that edits it"),
        (_lost_from_index, "the spatial index of layer T_POLIGONOS lacks 1 of 2 polygons"),
        (
            lambda tile: tile.path.write_bytes(b""),
            "t.gpkg: an empty file; expected a GeoPackage, a shapefile or GeoJSON",
        ),
        (lambda tile: tile.path.write_text('{"type": "Feature"}'), 't.gpkg: it begins with b\'{"type":'),
        (lambda tile: tile.path.write_text("<OGRVRTDataSource/>"), "t.gpkg: it begins with b'<OGRVRT"),
        (_tail_of_zeros, "not readable as a vector file"),
        (_truncated_shape, "not readable as a vector file (Unable to read geometry)"),
    ],
)
def test_a_file_that_cannot_be_is_stopped_at_the_door(
    tile: Tile, capsys: pytest.CaptureFixture[str], prepare: Prepare, told: str
) -> None:
    prepare(tile)
    assert main(["check", NAME]) == 1
    printed = capsys.readouterr().out
    assert told in printed
    assert "Traceback" not in printed
    assert any(told in text for text in tile.made())
    assert tile.nothing


def _null_label(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT], ["CNF", None])


def _no_numbers(tile: Tile) -> None:
    with np.errstate(invalid="ignore"):
        odd = Polygon([(X, Y), (X + 9, Y), (np.nan, np.nan), (X, Y - 9)])
    tile.draw([odd, RIGHT])


def _unbounded(tile: Tile) -> None:
    tile.draw([Polygon([(X, Y), (X + 9, Y), (np.inf, Y - 9), (X, Y - 9)]), RIGHT])


def _surface(tile: Tile) -> None:
    """A polyhedral surface, as three-dimensional cadastres have them."""
    tile.draw([LEFT, RIGHT], geometry_type="Unknown")
    _replace(tile, struct.pack("<BII", 1, 15, 1) + LEFT.wkb)


def _siose_as_codes(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT], ["CNF", "A(60CNF_40PST)"])
    tile.label({**LABELS, "content": "code"})


def _numbers_as_siose(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT], [311, 320])


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (
            lambda tile: tile.draw([LEFT, RIGHT], ["CNF", "A(60CNF_40MTR)"]),
            "unknown code 'MTR' in 1 polygon, first at",
        ),
        (lambda tile: tile.draw([LEFT, RIGHT], ["CNF", "A(60CNF_39PST)"]), "members that sum to 100, not 99"),
        (lambda tile: tile.draw([LEFT, RIGHT], ["CNF", "A(60CNF_41PST)"]), "polygon P2 ("),
        (_null_label, "no code (NULL) in 1 polygon, first at polygon P2"),
        (_no_numbers, "corners whose coordinates are no numbers, in 1 polygon: P1"),
        (_unbounded, "corners whose coordinates are no numbers, in 1 polygon: P1"),
        (_surface, "geometries that cannot be read, in 1 polygon: P1"),
        (_siose_as_codes, "Fix: set `labels.content: siose`"),
        (_numbers_as_siose, "numbers are no SIOSE labels"),
    ],
)
def test_labels_that_cannot_be_read_stop_the_ground_truth(tile: Tile, prepare: Prepare, told: str) -> None:
    prepare(tile)
    assert any(told in text for text in tile.made())
    assert tile.nothing


BOW = Polygon([(X, Y - 8), (X + 10, Y - 19), (X + 10, Y - 8), (X, Y - 19)])
"""Two triangles that meet in a point below the tile's middle row, in which each has two pixels."""

FOREST, REST, NONE = 0, 1, IGNORE


def _without_index(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT], SPATIAL_INDEX="NO")


def _read_only(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT])
    tile.path.chmod(0o444)
    tile.root.chmod(0o555)


def _numbers(tile: Tile) -> None:
    write_layer(tile.path, LAYER, {"CODIIGE": [311.0, 320.0]}, [LEFT, RIGHT])
    codes = {"311": "forest", "320": "rest"}
    tile.save("legends", {"name": NAME, "classes": CLASSES, "codes": codes})
    tile.label({"attribute": "CODIIGE"})


def _one_name(tile: Tile) -> None:
    write_layer(tile.path, LAYER, {"ID_POLYGON": ["P1", "P1"], "SIOSE_CODE": ["CNF", "PST"]}, [LEFT, RIGHT])


def _written_ahead(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT])
    tile.edit("PRAGMA journal_mode = wal")


def _miscounted(tile: Tile) -> None:
    """As programs leave it that know nothing of GDAL's count."""
    tile.draw([LEFT, RIGHT])
    tile.edit("UPDATE gpkg_ogr_contents SET feature_count = 9")


def _journal_done_with(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT])
    tile.path.with_name("t.gpkg-journal").write_bytes(bytes(512))


def _styles_and_case(tile: Tile) -> None:
    tile.draw([LEFT, RIGHT])
    write_layer(tile.path, "layer_styles", {"styleName": ["a"]})
    tile.label({**LABELS, "layer": "t_poligonos"})


def _measured(tile: Tile) -> None:
    """With heights and measures, as surveys have them."""
    tile.draw([LEFT, RIGHT], geometry_type="Unknown")
    tile.edit("UPDATE gpkg_geometry_columns SET z = 2, m = 2")
    corners = [(X, Y), (X + 10, Y), (X + 10, Y - SIDE), (X, Y - SIDE), (X, Y)]
    _replace(tile, struct.pack("<BIII", 1, 3003, 1, 5) + b"".join(struct.pack("<4d", *xy, 7, 8) for xy in corners))


def _curved(tile: Tile) -> None:
    """A circle of 10 m around the middle of the left half."""
    tile.draw([LEFT, RIGHT], geometry_type="Unknown")
    arc = [(X, Y - 10.5), (X + 10, Y - 10.5), (X, Y - 10.5)]
    ring = struct.pack("<BII", 1, 8, 3) + b"".join(struct.pack("<2d", *xy) for xy in arc)
    _replace(tile, struct.pack("<BII", 1, 10, 1) + ring)


def _replace(tile: Tile, wkb: bytes) -> None:
    """The shape of P1 in another form of well-known binary, behind the head and the bounds of the old one."""
    with sqlite3.connect(tile.path) as file:
        (shape,) = file.execute("SELECT geom FROM T_POLIGONOS WHERE fid = 1").fetchone()
    file.close()
    tile.edit("UPDATE T_POLIGONOS SET geom = ? WHERE fid = 1", values=(shape[:40] + wkb,))


@pytest.mark.parametrize(
    ("prepare", "note", "seen"),
    [
        (lambda tile: tile.draw([BOW, RIGHT]), "1 invalid polygons repaired", [FOREST] * 2 + [NONE] * 6 + [FOREST] * 2),
        (lambda tile: tile.draw([None, RIGHT]), "has 1 feature without geometry, left out", [NONE] * 10),
        (lambda tile: tile.draw([Polygon(), RIGHT]), "has 1 feature without geometry", [NONE] * 10),
        (
            lambda tile: tile.draw([Polygon([(X, Y), (X + 9, Y), (X, Y)]), RIGHT]),
            "1 geometries without area left out",
            [NONE] * 10,
        ),
        (
            lambda tile: tile.draw([shapely.Point(X + 5, Y - 5), RIGHT], geometry_type="Unknown"),
            "1 geometries without area left out",
            [NONE] * 10,
        ),
        (
            lambda tile: tile.draw(
                [shapely.GeometryCollection([LEFT, shapely.Point(X, Y)]), RIGHT], geometry_type="Unknown"
            ),
            "",
            [FOREST] * 10,
        ),
        (lambda tile: tile.draw([shapely.force_3d(LEFT, 5), RIGHT]), "", [FOREST] * 10),
        (_measured, "", [FOREST] * 10),
        (_curved, "", [FOREST] * 10),
        (lambda tile: tile.draw([LEFT, RIGHT], crs="EPSG:4258"), "polygons reprojected from EPSG:4258", [FOREST] * 10),
        (lambda tile: tile.draw([LEFT, RIGHT], ["CNF ", " PST\r\n"]), "", [FOREST] * 10),
        (_without_index, "", [FOREST] * 10),
        (_read_only, "", [FOREST] * 10),
        (_numbers, "", [FOREST] * 10),
        (_one_name, "", [FOREST] * 10),
        (_written_ahead, "", [FOREST] * 10),
        (_journal_done_with, "", [FOREST] * 10),
        (_miscounted, "", [FOREST] * 10),
        (_styles_and_case, "", [FOREST] * 10),
    ],
)
def test_what_can_be_mended_is_noted_and_gives_the_true_raster(
    tile: Tile, capsys: pytest.CaptureFixture[str], prepare: Prepare, note: str, seen: list[int]
) -> None:
    prepare(tile)
    before = {path.name: path.read_bytes() for path in tile.root.iterdir()}
    main(["check", NAME])
    printed = capsys.readouterr().out
    problems = [line for line in printed.splitlines() if line.startswith("problem: ")]
    assert all("while all labels are 'rest'" in line for line in problems)  # where one polygon is left
    assert tile.made() == []
    assert note in printed + " ".join(tile.summary["notes"])
    assert tile.classes == [*seen, *[REST] * 10]
    assert {path.name: path.read_bytes() for path in tile.root.iterdir()} == before  # raw files are never written to
