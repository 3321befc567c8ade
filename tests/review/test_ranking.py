"""Suspicious polygons: evidence counted by hand, planted errors at the head of the list, and the list as a product."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from landcover_orch import raster
from landcover_orch.config import Dataset, Labels, Splits
from landcover_orch.config.experiments import Experiment, Folds, Protocol
from landcover_orch.config.experiments.repetitions import repetitions
from landcover_orch.errors import GridError, IncompleteError, LabelError
from landcover_orch.evaluation.repetition import Repetition
from landcover_orch.grid import Window
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.legend import IGNORE
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.review import build as review
from landcover_orch.review import evidence as evidences
from landcover_orch.review.build import label_review
from landcover_orch.review.evidence import Evidence, MapLayer, collect_evidence
from landcover_orch.review.figures import window_around
from landcover_orch.review.label_changes import build as changes
from landcover_orch.review.ranking import Polygon, ReviewedPolygons, rows
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.publish import Product
from landcover_orch.tiles import catalogue
from landcover_orch.tiles.tile import Tile
from tests.evaluation.scored import EXPERIMENT, Classes, Scored, scored
from tests.evaluation.test_repetitions import fold_manifest
from tests.scenes import CRS, ORIGIN, transform, write_geotiff, write_polygons

NAMES = ("field", "forest", "water")
TILES = "abc"
CELL, CELLS = 10, 10
"""Pixels of a polygon's side, and polygons along a tile's."""

CONFUSION = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.6, 0.1, 0.3]])
"""How the maps see (true class, mapped class): water is hard to tell from fields."""

RIGHT = np.eye(3)


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take most of the time."""
    monkeypatch.setattr(review, "PICTURED", 3)


def test_evidence_of_a_polygon_by_hand() -> None:
    evidence = Evidence(2, 3)
    evidence.add(np.array([0, 0, 0, 0]), np.array([1, 1, 1, 2], np.uint8), np.array([254, 127, 127, 127], np.uint8))
    assert evidence.counted().tolist() == [4, 0]
    assert evidence.probabilities()[0] == pytest.approx([0.75 / 4, 2.25 / 4, 1 / 4])
    assert evidence.probabilities()[1].tolist() == [0, 0, 0]
    labels = np.array([1, 0])
    assert evidence.disagreement(labels).tolist() == [0.25, 0]
    certain = -np.log(1 - 0.5 / 254)
    assert evidence.loss(labels)[0] == pytest.approx((certain + 2 * np.log(2) + np.log(4)) / 4)
    evidence.add(np.array([1]), np.array([0], np.uint8), np.array([254], np.uint8))
    assert evidence.probabilities()[1].tolist() == [1, 0, 0]


@dataclass(frozen=True)
class Planted:
    """A dataset some of whose polygons are mislabelled, and maps of it out of fold."""

    scene: Scored
    manifest: DatasetManifest
    experiment: Experiment
    repetitions: list[Repetition]
    tiles: list[Tile]
    mislabelled: set[tuple[str, str]]

    def label_review(self) -> Product:
        return label_review(self.manifest, self.tiles, self.experiment, self.repetitions, self.scene.home)


def planted(home: Path, seed: int = 0, confusion: NDArray[np.float64] = CONFUSION) -> Planted:
    """Tiles of square polygons, one in twenty mislabelled; maps see each pixel as `confusion` says."""
    random = np.random.default_rng(seed)
    true = {tile: random.integers(0, 3, (CELLS, CELLS)) for tile in TILES}
    given, mislabelled = {}, set()
    for tile, classes in true.items():
        amiss = random.permutation(CELLS**2)[: CELLS**2 // 20]
        given[tile] = classes.copy()
        given[tile].flat[amiss] = (classes.flat[amiss] + random.integers(1, 3, amiss.size)) % 3
        mislabelled |= {(tile, str(i + 1)) for i in amiss.tolist()}
        write_labels(home / f"{tile}.gpkg", given[tile])
    labels = {tile: pixels_of(classes) for tile, classes in given.items()}
    maps = {tile: seen(pixels_of(classes), confusion, random) for tile, classes in true.items()}
    return folded(home, labels, maps, mislabelled)


def write_labels(path: Path, classes: NDArray[Any]) -> None:
    x, y = ORIGIN
    cells = [
        (box(x + c * CELL, y - (r + 1) * CELL, x + (c + 1) * CELL, y - r * CELL), str(classes[r, c]))
        for r in range(CELLS)
        for c in range(CELLS)
    ]
    write_polygons(path, cells)


def pixels_of(classes: NDArray[Any]) -> Classes:
    return classes.astype(np.uint8).repeat(CELL, 0).repeat(CELL, 1)


def seen(classes: Classes, confusion: NDArray[np.float64], random: np.random.Generator) -> Classes:
    steps = confusion.cumsum(axis=1)[classes]
    return np.asarray((random.random(classes.shape)[..., None] >= steps[..., :2]).sum(axis=-1), np.uint8)


def folded(home: Path, labels: Mapping[str, Classes], maps: Mapping[str, Classes], mislabelled: set[Any]) -> Planted:
    scene = scored(home, labels, {}, splits=Splits(block=30))
    dataset = scene.manifest.dataset.model_copy(update={"labels": Labels(attribute="code")})
    tiles = catalogue.tiles(dataset)
    entries = tuple(
        entry.model_copy(update={"label_fingerprint": tile_fingerprints(tile, home / MEMORY)[1]})
        for entry, tile in zip(scene.manifest.tiles, tiles, strict=True)
    )
    manifest = scene.manifest.model_copy(update={"dataset": dataset, "tiles": entries})
    experiment = EXPERIMENT.model_copy(update={"name": "folds", "protocol": Protocol(folds=Folds(count=3))})
    trained = [
        scene.repetition(r, maps, fold_manifest(manifest, dict(labels), Folds(count=3), r.protocol.fold or 0))
        for r in repetitions(experiment, len(tiles))
    ]
    return Planted(scene, manifest, experiment, trained, tiles, mislabelled)


def average_precision(mislabelled: NDArray[np.bool_]) -> float:
    """Average precision: mean of the precision at each mislabelled polygon down a list."""
    hits = np.cumsum(mislabelled)
    return float((hits / np.arange(1, mislabelled.size + 1))[mislabelled].mean())


def listed_in(product: Product, name: str = "label_review") -> list[dict[str, str]]:
    with product.file(f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_errors_stand_at_the_head_of_the_list(home: Path, seed: int) -> None:
    made = planted(home, seed)
    product = made.label_review()
    listed = listed_in(product)
    assert len(listed) == len(TILES) * CELLS**2
    hit = np.array([(row["tile"], row["polygon"]) in made.mislabelled for row in listed])
    by_loss = hit[np.argsort([-float(row["loss"]) for row in listed], kind="stable")]
    assert average_precision(hit) > 0.95, "random order has 0.05"
    assert average_precision(hit) > average_precision(by_loss) + 0.05, "loss takes water that is right for wrong"
    flagged = np.array([row["flagged"] == "True" for row in listed])
    assert flagged[hit].mean() >= 0.5
    assert flagged[~hit].mean() < 0.05
    summary = product.json("summary.json")
    assert sum(tile["flagged"] for tile in summary["tiles"]) == summary["flagged"] == flagged.sum()
    assert summary["flagged_m2"] == sum(float(row["m2"]) for row in listed if row["flagged"] == "True")


def test_every_pixel_counts_once_and_out_of_fold(home: Path) -> None:
    made = planted(home, confusion=RIGHT)
    right = made.repetitions[0]
    blind = [replace(fold, maps=_swapped(made, fold)) for fold in made.repetitions[1:]]
    listed = listed_in(label_review(made.manifest, made.tiles, made.experiment, [right, *blind], home))
    assert {row["pixels"] for row in listed} == {str(CELL**2)}
    by_polygon = {(row["tile"], int(row["polygon"]) - 1): float(row["disagreement"]) for row in listed}
    for entry in right.manifest.tiles:
        map_layer = MapLayer(_map(right, entry.name), _map(right, entry.name), right.manifest)
        counted = np.asarray(map_layer.counted(entry.name, Window(0, 0, *entry.shape)))
        for (tile, i), disagreement in by_polygon.items():
            if tile == entry.name and (tile, str(i + 1)) not in made.mislabelled:
                row, col = i // CELLS * CELL, i % CELLS * CELL
                assert disagreement == pytest.approx(1 - counted[row : row + CELL, col : col + CELL].mean(), abs=1e-6)


def _map(repetition: Repetition, tile: str) -> raster.Raster:
    return raster.inspect(repetition.maps[tile].file("class.tif"))


def _swapped(made: Planted, fold: Repetition) -> Mapping[str, Product]:
    """Maps of a fold that are wrong everywhere."""
    maps = {}
    for tile, product in fold.maps.items():
        with raster.reader(raster.inspect(product.file("class.tif"))) as pixels:
            classes = pixels.read(Window(0, 0, CELL * CELLS, CELL * CELLS))[0]
        maps[tile] = ((classes + 1) % 3).astype(np.uint8)
    return made.scene.repetition(fold.experiment, maps, fold.manifest, fold.model).maps


def test_the_list_does_not_depend_on_blocks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = planted(home)
    listed = made.label_review().file("label_review.csv").read_bytes()
    monkeypatch.setattr(evidences, "BLOCK", 37)
    elsewhere = made.scene.home / "scored" / "label_review"
    for path in elsewhere.iterdir():
        path.rename(path.with_name(f"old{path.name}"))
    assert made.label_review().file("label_review.csv").read_bytes() == listed


def test_the_product_is_for_people_and_for_a_gis(home: Path) -> None:
    made = planted(home)
    product = made.label_review()
    assert {"label_review.csv", "label_review.gpkg", "index.html", "summary.json", "preview.png"} <= set(product.files)
    frame = geopandas.read_file(product.file("label_review.gpkg"), layer="label_review")
    listed = listed_in(product)
    assert frame["rank"].tolist() == list(range(1, len(listed) + 1))
    assert frame.crs == CRS
    assert frame.area.round(2).tolist() == [float(row["m2"]) for row in listed]
    text = product.file("index.html").read_text(encoding="utf-8")
    assert text.count("data:image/png") == 3 * 3
    assert len(product.json("summary.json")["worst"]) == 10


def test_the_same_list_has_the_same_bytes(tmp_path: Path, home: Path) -> None:
    files = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        product = planted(folder).label_review()
        files.append({name: product.files[name]["sha256"] for name in product.files if name != "manifest.json"})
    assert files[0] == files[1]


def test_a_recipe_without_folds_is_refused(home: Path) -> None:
    made = planted(home)
    alone = made.scene.repetition(EXPERIMENT, {})
    with pytest.raises(IncompleteError, match="no folds"):
        label_review(made.manifest, made.tiles, EXPERIMENT, [alone], home)


def test_labels_that_have_changed_since_are_refused(home: Path) -> None:
    made = planted(home)
    (home / "a.gpkg").unlink()
    write_labels(home / "a.gpkg", np.zeros((CELLS, CELLS), int))
    with pytest.raises(IncompleteError, match=r"labels of \['a'\]"):
        made.label_review()


def test_labels_that_are_no_polygons_are_refused(home: Path) -> None:
    made = planted(home)
    dataset: Dataset = made.manifest.dataset.model_copy(update={"labels": Labels(kind="raster")})
    manifest = made.manifest.model_copy(update={"dataset": dataset})
    with pytest.raises(LabelError, match="labels of kind raster"):
        changes(manifest, made.tiles, made.repetitions[0].maps, home)


def test_polygons_with_several_covers_are_left_out_and_counted(home: Path) -> None:
    x, y = ORIGIN
    covers = ("PST", "FDC", "A(60PST_40FDC)", "A(90FDC_10PST)", "ZAU")
    strips = [(box(x + 6 * i, y - 8, x + 6 * i + 6, y), cover) for i, cover in enumerate(covers)]
    write_polygons(home / "a.gpkg", strips)
    given = np.array([0, 1, IGNORE, 1, IGNORE], np.uint8)[None].repeat(8, 0).repeat(6, 1)
    scene = scored(home, {"a": given}, {"a": np.ones_like(given)})
    labels = Labels(attribute="code", content="siose")
    legend = scene.manifest.legend.model_copy(update={"codes": {"PST": "field", "FDC": "forest", "ZAU": "ignore"}})
    dataset = scene.manifest.dataset.model_copy(update={"labels": labels})
    tiles = catalogue.tiles(dataset)
    stated = {"label_fingerprint": tile_fingerprints(tiles[0], home / MEMORY)[1]}
    entries = tuple(entry.model_copy(update=stated) for entry in scene.manifest.tiles)
    manifest = scene.manifest.model_copy(update={"dataset": dataset, "legend": legend, "tiles": entries})
    product = changes(manifest, tiles, scene.predictions, home)
    assert [row["code"] for row in listed_in(product, "label_changes")] == ["PST"], (
        "the label, not what was decided on it"
    )
    summary = product.json("summary.json")
    assert summary["polygons"] == 2
    assert summary["left_out"] == {
        "with several covers": 2,
        "of a code that is ignored": 1,
        "with too few pixels that count": 0,
    }
    assert [row["label"] for row in summary["worst"]] == ["field"]


def test_polygons_of_one_name_keep_their_own_outlines(home: Path) -> None:
    made = planted(home)
    for tile in TILES:
        frame = geopandas.read_file(home / f"{tile}.gpkg")
        frame["name"] = "same"
        frame.to_file(home / f"{tile}.gpkg", layer="labels", driver="GPKG", engine="pyogrio")
    dataset = made.manifest.dataset.model_copy(update={"labels": Labels(attribute="code", id="name")})
    tiles = catalogue.tiles(dataset)
    entries = tuple(
        entry.model_copy(update={"label_fingerprint": tile_fingerprints(tile, home / MEMORY)[1]})
        for entry, tile in zip(made.manifest.tiles, tiles, strict=True)
    )
    manifest = made.manifest.model_copy(update={"dataset": dataset, "tiles": entries})
    product = label_review(manifest, tiles, made.experiment, made.repetitions, home)
    frame = geopandas.read_file(product.file("label_review.gpkg"), layer="label_review")
    assert set(frame["name"]) == {"same"}
    assert len(set(zip(frame["tile"], frame.geometry.to_wkt(), strict=True))) == len(frame)


def test_a_large_unsure_change_may_stand_before_a_small_sure_one() -> None:
    given = {"large": 0, "small": 0, "right": 0, "too": 0, "also": 0, "other": 1, "another": 1}
    polygons = tuple(Polygon("a", name, "1", label, i) for i, (name, label) in enumerate(given.items()))
    p = np.array([[0.3, 0.7], [0.1, 0.9], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    reviewed = ReviewedPolygons(
        polygons, np.array([1000.0, 100, 9, 8, 7, 6, 5]), np.ones(7), p, 1 - p[:, 0], -np.log(p[:, 0])
    )
    assert [row["polygon"] for row in rows(reviewed, ("x", "y"), by_area=True)] == ["large", "small"]
    assert [row["polygon"] for row in rows(reviewed, ("x", "y"))][:2] == ["small", "large"]


def test_a_map_on_another_grid_is_refused(tmp_path: Path) -> None:
    shifted = write_geotiff(tmp_path / "a.tif", np.zeros((8, 8), np.uint8), origin=(ORIGIN[0] + 5, ORIGIN[1]))
    truth = raster.inspect(write_geotiff(tmp_path / "b.tif", np.zeros((8, 8), np.uint8)))
    map_layer = MapLayer(raster.inspect(shifted), raster.inspect(shifted))
    grid = GeoBox((8, 8), transform(), CRS)
    with pytest.raises(GridError, match="another grid"):
        collect_evidence("a", np.array([box(0, 0, 1, 1)]), grid, truth, [map_layer], 2, all_touched=False)


def test_pixels_that_are_ignored_or_not_mapped_do_not_count(tmp_path: Path) -> None:
    labels, mapped = np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8)
    labels[:2], mapped[:, :1] = IGNORE, IGNORE
    truth, classes = (write_geotiff(tmp_path / f"{i}.tif", a) for i, a in enumerate((labels, mapped)))
    grid = GeoBox((8, 8), transform(), CRS)
    extent = box(ORIGIN[0], ORIGIN[1] - 8, ORIGIN[0] + 8, ORIGIN[1])
    map_layer = MapLayer(raster.inspect(classes), raster.inspect(classes))
    evidence = collect_evidence("a", np.array([extent]), grid, raster.inspect(truth), [map_layer], 2, all_touched=False)
    assert evidence.pixels.tolist() == [[0, 6 * 7]]


@pytest.mark.parametrize("shape", [box(-9, -9, 3, 3), box(0, 0, 4000, 10), box(95, 95, 99, 99)])
def test_a_window_of_a_picture_lies_in_its_tile(shape: Any) -> None:
    window = window_around(shape, (100, 5000))
    assert window.within((100, 5000)) == window
    assert 0 < window.width <= 1025
