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
from landcover_orch.review.comparison import Comparison, Subject, compare
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
class Scene:
    """Tiles by how far right of the origin they lie, their polygons (geometry, code), and classes of their maps."""

    at: Mapping[str, float]
    polygons: Sequence[tuple[BaseGeometry, str]]
    maps: Mapping[str, np.ndarray[Any, Any]]
    labels: Labels = field(default_factory=lambda: Labels(attribute="code"))
    files: str = "labels.gpkg"
    overrides: Mapping[str, TileOverride] = field(default_factory=dict)

    def compare(self, home: Path) -> Comparison:
        """Compares the polygons with the maps."""
        scene = scored(home, {tile: np.zeros((SIDE, SIDE), np.uint8) for tile in self.at}, {})
        tile_settings = Tiles(image="{tile}.tif", label=self.files, overrides=dict(self.overrides))
        dataset = scene.manifest.dataset.model_copy(update={"tiles": tile_settings, "labels": self.labels})
        for tile, right in self.at.items():
            image = np.full((3, SIDE, SIDE), 9, np.uint8)
            write_geotiff(home / f"{tile}.tif", image, origin=(ORIGIN[0] + right, ORIGIN[1]))
            write(home / self.files.format(tile=tile), self.polygons)
        tiles = {tile.name: tile for tile in catalogue.tiles(dataset)}
        manifest = scene.manifest.model_copy(update={"dataset": dataset})
        entries = tuple(_entry(entry, tiles[entry.name], manifest, home) for entry in manifest.tiles)
        map_layers = {tile: [self._map_layer(home, tile)] for tile in self.at}
        return compare(Subject(manifest.model_copy(update={"tiles": entries}), tiles, map_layers, home))

    def _map_layer(self, home: Path, tile: str) -> MapLayer:
        origin, classes = (ORIGIN[0] + self.at[tile], ORIGIN[1]), np.asarray(self.maps[tile], np.uint8)
        shown = np.broadcast_to(classes, (SIDE, SIDE)).copy()
        paths = [
            write_geotiff(home / "maps" / f"{tile}-{name}.tif", pixels, origin=origin)
            for name, pixels in (("class", shown), ("confidence", np.full_like(shown, CERTAIN)))
        ]
        return MapLayer(raster.inspect(paths[0]), raster.inspect(paths[1]))


def _entry(entry: TileEntry, tile: Tile, manifest: DatasetManifest, home: Path) -> TileEntry:
    product = truth.build(manifest.dataset, manifest.legend, tile, home)
    changes = {
        "ground_truth": product.path.relative_to(home).as_posix(),
        "label_fingerprint": tile_fingerprints(tile, home / MEMORY)[1],
    }
    return entry.model_copy(update=changes)


def everywhere(class_id: int) -> np.ndarray[Any, Any]:
    return np.array(class_id)


def test_a_polygon_on_two_tiles_is_one(home: Path) -> None:
    shared, alone = on(10, 0, 26, SIDE), on(0, 0, 10, SIDE)
    maps = {"east": everywhere(FOREST), "west": everywhere(FIELD)}
    scene = Scene({"east": SIDE, "west": 0}, [(shared, "0"), (alone, "1")], maps)
    reviewed = scene.compare(home).polygons
    by_name = {polygon.name: i for i, polygon in enumerate(reviewed.polygons)}
    i = by_name["1"]
    assert len(reviewed) == 2
    assert reviewed.polygons[i].tile == "west", "most of it lies there"
    assert reviewed.pixels[i] == reviewed.m2[i] == 16 * SIDE
    assert reviewed.probabilities[i] == pytest.approx([10 / 16, 6 / 16, 0])
    assert reviewed.disagreement[i] == pytest.approx(6 / 16)
    assert reviewed.disagreement[by_name["2"]] == 1


def test_ground_that_several_tiles_show_counts_once(home: Path) -> None:
    known = on(0, 0, 8, 8)
    few, partly, ignored = on(10, 0, 13, 4), on(10, 10, 99, 20), on(0, 12, 8, 20)
    maps = {"a": everywhere(FIELD), "b": everywhere(FIELD), "c": everywhere(FOREST)}
    scene = Scene(dict.fromkeys(maps, 0.0), [(known, "0"), (few, "0"), (partly, "1"), (ignored, "7")], maps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.evaluation.scored.legend", _with_an_ignored_code)
        comparison = scene.compare(home)
    reviewed = comparison.polygons
    assert [polygon.name for polygon in reviewed.polygons] == ["1", "3"]
    assert reviewed.pixels.tolist() == [64, 100], "as many as lie on the tiles, not thrice as many"
    assert reviewed.probabilities[0] == pytest.approx([2 / 3, 1 / 3, 0]), "all three maps tell of it"
    assert comparison.left_out == {
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
    scene = Scene({"a": 0, "b": 0}, [(on(0, 0, 8, 8), "0")], maps, files="{tile}.gpkg")
    reviewed = scene.compare(home).polygons
    assert [(polygon.tile, polygon.name) for polygon in reviewed.polygons] == [("a", "1"), ("b", "1")]
    assert reviewed.disagreement.tolist() == [0, 1]


def test_the_parts_of_a_polygon_are_one(home: Path) -> None:
    parts = MultiPolygon([on(0, 0, 5, 5), on(10, 10, 15, 15)])
    shown = np.full((SIDE, SIDE), FIELD)
    shown[10:15, 10:15] = FOREST
    comparison = Scene({"a": 0}, [(parts, "0")], {"a": shown}).compare(home)
    assert comparison.polygons.pixels.tolist() == [50]
    assert comparison.polygons.disagreement.tolist() == [0.5]
    assert comparison.outlines["a"].geometry[0].equals(parts)


def test_of_a_polygon_half_in_a_tile_the_inner_half_counts(home: Path) -> None:
    half = on(15, 5, 25, 15)
    comparison = Scene({"a": 0}, [(half, "0")], {"a": everywhere(FOREST)}).compare(home)
    assert comparison.polygons.m2.tolist() == [50]
    assert comparison.outlines["a"].geometry[0].equals(half), "the outline is the polygon's own"


def test_what_lies_below_another_polygon_does_not_count(home: Path) -> None:
    below, above = on(0, 0, 10, 10), on(0, 0, 10, 5)
    reviewed = Scene({"a": 0}, [(below, "0"), (above, "1")], {"a": everywhere(FIELD)}).compare(home).polygons
    assert reviewed.pixels.tolist() == [50, 50]
    assert reviewed.disagreement.tolist() == [0, 1]


def test_a_corrected_polygon_is_looked_at_as_corrected(home: Path) -> None:
    mislabelled, other, corrected = on(0, 0, 10, 10), on(12, 0, 18, 6), on(0, 0, 10, 8)
    write(home / "corrections.gpkg", [(corrected, "1")])
    labels = Labels(attribute="code", id="id", corrections="corrections.gpkg")
    maps = {"a": everywhere(FOREST), "b": everywhere(FOREST)}
    comparison = Scene(dict.fromkeys(maps, 0.0), [(mislabelled, "0"), (other, "0")], maps, labels=labels).compare(home)
    reviewed = comparison.polygons
    assert [(polygon.name, polygon.code, polygon.label) for polygon in reviewed.polygons] == [
        ("1", "1", FOREST),
        ("2", "0", FIELD),
    ]
    assert reviewed.pixels.tolist() == [80, 36]
    assert reviewed.disagreement.tolist() == [0, 1]
    assert comparison.outlines["a"].geometry[reviewed.polygons[0].index].equals(corrected)


@pytest.mark.parametrize("shift", [(3.0, -2.0), (-4.0, 1.0)])
def test_moved_labels_are_compared_where_they_then_lie(home: Path, shift: tuple[float, float]) -> None:
    right, down = (int(by) for by in shift)
    shown = np.full((SIDE, SIDE), FOREST)
    shown[5 + down : 13 + down, 5 + right : 13 + right] = FIELD
    labelled = [(on(0, 0, SIDE, SIDE), "1"), (on(5, 5, 13, 13), "0")]
    comparison = Scene({"a": 0}, labelled, {"a": shown}, overrides={"a": TileOverride(shift=shift)}).compare(home)
    inner = next(i for i, polygon in enumerate(comparison.polygons.polygons) if polygon.code == "0")
    assert comparison.polygons.disagreement.tolist() == [0, 0]
    assert comparison.polygons.pixels[inner] == 64
    outlines = comparison.outlines["a"]
    assert outlines.geometry[comparison.polygons.polygons[inner].index].equals(
        on(5 + right, 5 + down, 13 + right, 13 + down)
    ), "drawn on the photograph where it was burnt"
