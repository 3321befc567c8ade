"""Polygons beside maps: each once, whichever tiles, parts, corrections or shift it has; counted by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.geometry.base import BaseGeometry

from landcover_orch import raster
from landcover_orch.config import Labels, TileOverride, Tiles
from landcover_orch.ground_truth import build as truth
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.review.comparison import Compared, Subject, compare
from landcover_orch.review.evidence import MapLayer
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.tiles import catalogue
from landcover_orch.tiles.tile import Tile
from tests.evaluation.scored import scored
from tests.scenes import CRS, ORIGIN, write_geotiff

SIDE = 20
"""Pixels, and metres, of a tile's side."""

FIELD, FOREST = 0, 1
CERTAIN = 254


def on(left: float, top: float, right: float, bottom: float) -> Polygon:
    """A box in metres right of and below the origin."""
    x, y = ORIGIN
    return box(x + left, y - bottom, x + right, y - top)


def write(path: Path, polygons: Sequence[tuple[BaseGeometry, str]], first: int = 1) -> None:
    """A GeoPackage of (geometry, code), with numbers as ids."""
    columns = {"code": [code for _, code in polygons], "id": range(first, first + len(polygons))}
    frame = geopandas.GeoDataFrame(columns, geometry=[shape for shape, _ in polygons], crs=CRS)
    frame.to_file(path, layer="labels", driver="GPKG", engine="pyogrio")


@dataclass(frozen=True)
class Ground:
    """Tiles by how far right of the origin they lie, their polygons (geometry, code), and what maps show of each."""

    at: Mapping[str, float]
    polygons: Sequence[tuple[BaseGeometry, str]]
    maps: Mapping[str, np.ndarray[Any, Any]]
    labels: Labels = field(default_factory=lambda: Labels(attribute="code"))
    files: str = "labels.gpkg"
    overrides: Mapping[str, TileOverride] = field(default_factory=dict)

    def compared(self, home: Path) -> Compared:
        """What the maps say of the polygons."""
        scene = scored(home, {tile: np.zeros((SIDE, SIDE), np.uint8) for tile in self.at}, {})
        place = Tiles(image="{tile}.tif", label=self.files, overrides=dict(self.overrides))
        dataset = scene.manifest.dataset.model_copy(update={"tiles": place, "labels": self.labels})
        for tile, right in self.at.items():
            image = np.full((3, SIDE, SIDE), 9, np.uint8)
            write_geotiff(home / f"{tile}.tif", image, origin=(ORIGIN[0] + right, ORIGIN[1]))
            write(home / self.files.format(tile=tile), self.polygons)
        tiles = {tile.name: tile for tile in catalogue.tiles(dataset)}
        manifest = scene.manifest.model_copy(update={"dataset": dataset})
        entries = tuple(_entry(entry, tiles[entry.name], manifest, home) for entry in manifest.tiles)
        looks = {tile: [self._look(home, tile)] for tile in self.at}
        return compare(Subject(manifest.model_copy(update={"tiles": entries}), tiles, looks, home))

    def _look(self, home: Path, tile: str) -> MapLayer:
        origin, classes = (ORIGIN[0] + self.at[tile], ORIGIN[1]), np.asarray(self.maps[tile], np.uint8)
        shown = np.broadcast_to(classes, (SIDE, SIDE)).copy()
        paths = [
            write_geotiff(home / "maps" / f"{tile}-{name}.tif", pixels, origin=origin)
            for name, pixels in (("class", shown), ("confidence", np.full_like(shown, CERTAIN)))
        ]
        return MapLayer(raster.inspect(paths[0]), raster.inspect(paths[1]))


def _entry(entry: TileEntry, tile: Tile, manifest: DatasetManifest, home: Path) -> TileEntry:
    product = truth.build(manifest.dataset, manifest.legend, tile, home)
    said = {
        "ground_truth": product.path.relative_to(home).as_posix(),
        "label_fingerprint": tile_fingerprints(tile, home / MEMORY)[1],
    }
    return entry.model_copy(update=said)


def everywhere(class_id: int) -> np.ndarray[Any, Any]:
    return np.array(class_id)


def test_a_polygon_on_two_tiles_is_one(home: Path) -> None:
    across, alone = on(10, 0, 26, SIDE), on(0, 0, 10, SIDE)
    maps = {"east": everywhere(FOREST), "west": everywhere(FIELD)}
    ground = Ground({"east": SIDE, "west": 0}, [(across, "0"), (alone, "1")], maps)
    found = ground.compared(home).polygons
    by_name = {one.name: i for i, one in enumerate(found.polygons)}
    i = by_name["1"]
    assert len(found) == 2
    assert found.polygons[i].tile == "west", "most of it lies there"
    assert found.pixels[i] == found.m2[i] == 16 * SIDE
    assert found.probabilities[i] == pytest.approx([10 / 16, 6 / 16, 0])
    assert found.disagreement[i] == pytest.approx(6 / 16)
    assert found.disagreement[by_name["2"]] == 1


def test_ground_that_several_tiles_show_counts_once(home: Path) -> None:
    known = on(0, 0, 8, 8)
    few, partly, ignored = on(10, 0, 13, 4), on(10, 10, 99, 20), on(0, 12, 8, 20)
    maps = {"a": everywhere(FIELD), "b": everywhere(FIELD), "c": everywhere(FOREST)}
    ground = Ground(dict.fromkeys(maps, 0.0), [(known, "0"), (few, "0"), (partly, "1"), (ignored, "7")], maps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.evaluation.scored.legend", _with_an_ignored_code)
        compared = ground.compared(home)
    found = compared.polygons
    assert [one.name for one in found.polygons] == ["1", "3"]
    assert found.pixels.tolist() == [64, 100], "as many as lie on the tiles, not thrice as many"
    assert found.probabilities[0] == pytest.approx([2 / 3, 1 / 3, 0]), "all three maps tell of it"
    assert compared.left_out == {
        "with several covers": 0,
        "of a code that is ignored": 1,
        "with too few pixels that count": 1,
    }


def _with_an_ignored_code(names: tuple[str, ...]) -> Any:
    from landcover_orch.legend import LandClass, Legend

    classes = tuple(LandClass(id=i, name=name, colour=f"#00000{i}") for i, name in enumerate(names))
    return Legend(name="scored", classes=classes, codes={**{str(i): n for i, n in enumerate(names)}, "7": "ignore"})


def test_polygons_of_files_of_their_own_are_not_one(home: Path) -> None:
    maps = {"a": everywhere(FIELD), "b": everywhere(FOREST)}
    ground = Ground({"a": 0, "b": 0}, [(on(0, 0, 8, 8), "0")], maps, files="{tile}.gpkg")
    found = ground.compared(home).polygons
    assert [(one.tile, one.name) for one in found.polygons] == [("a", "1"), ("b", "1")]
    assert found.disagreement.tolist() == [0, 1]


def test_the_parts_of_a_polygon_are_one(home: Path) -> None:
    parts = MultiPolygon([on(0, 0, 5, 5), on(10, 10, 15, 15)])
    shown = np.full((SIDE, SIDE), FIELD)
    shown[10:15, 10:15] = FOREST
    compared = Ground({"a": 0}, [(parts, "0")], {"a": shown}).compared(home)
    assert compared.polygons.pixels.tolist() == [50]
    assert compared.polygons.disagreement.tolist() == [0.5]
    assert compared.outlines["a"].geometry[0].equals(parts)


def test_of_a_polygon_half_in_a_tile_the_inner_half_counts(home: Path) -> None:
    half = on(15, 5, 25, 15)
    compared = Ground({"a": 0}, [(half, "0")], {"a": everywhere(FOREST)}).compared(home)
    assert compared.polygons.m2.tolist() == [50]
    assert compared.outlines["a"].geometry[0].equals(half), "the outline is the polygon's own"


def test_what_lies_below_another_polygon_does_not_count(home: Path) -> None:
    below, above = on(0, 0, 10, 10), on(0, 0, 10, 5)
    found = Ground({"a": 0}, [(below, "0"), (above, "1")], {"a": everywhere(FIELD)}).compared(home).polygons
    assert found.pixels.tolist() == [50, 50]
    assert found.disagreement.tolist() == [0, 1]


def test_a_corrected_polygon_is_looked_at_as_corrected(home: Path) -> None:
    wrong, other, corrected = on(0, 0, 10, 10), on(12, 0, 18, 6), on(0, 0, 10, 8)
    write(home / "corrections.gpkg", [(corrected, "1")])
    labels = Labels(attribute="code", id="id", corrections="corrections.gpkg")
    maps = {"a": everywhere(FOREST), "b": everywhere(FOREST)}
    compared = Ground(dict.fromkeys(maps, 0.0), [(wrong, "0"), (other, "0")], maps, labels=labels).compared(home)
    found = compared.polygons
    assert [(one.name, one.code, one.label) for one in found.polygons] == [("1", "1", FOREST), ("2", "0", FIELD)]
    assert found.pixels.tolist() == [80, 36]
    assert found.disagreement.tolist() == [0, 1]
    assert compared.outlines["a"].geometry[found.polygons[0].index].equals(corrected)


@pytest.mark.parametrize("shift", [(3.0, -2.0), (-4.0, 1.0)])
def test_moved_labels_are_compared_where_they_then_lie(home: Path, shift: tuple[float, float]) -> None:
    right, down = (int(by) for by in shift)
    shown = np.full((SIDE, SIDE), FOREST)
    shown[5 + down : 13 + down, 5 + right : 13 + right] = FIELD
    labelled = [(on(0, 0, SIDE, SIDE), "1"), (on(5, 5, 13, 13), "0")]
    moved = Ground({"a": 0}, labelled, {"a": shown}, overrides={"a": TileOverride(shift=shift)}).compared(home)
    inner = next(i for i, one in enumerate(moved.polygons.polygons) if one.code == "0")
    assert moved.polygons.disagreement.tolist() == [0, 0]
    assert moved.polygons.pixels[inner] == 64
    outlines = moved.outlines["a"]
    assert outlines.geometry[moved.polygons.polygons[inner].index].equals(
        on(5 + right, 5 + down, 13 + right, 13 + down)
    ), "drawn on the photograph where it was burnt"
