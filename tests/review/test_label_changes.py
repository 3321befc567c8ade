"""Change candidates: planted changes come first, years decide what is compared, and rows hold the train fraction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import geopandas
import numpy as np
import pytest
from shapely.geometry import Point, box

from landcover_orch import raster
from landcover_orch.config import Dataset, Labels, Splits, SplitSpec, Tiles, load_legend
from landcover_orch.errors import IncompleteError
from landcover_orch.grid import Window
from landcover_orch.ground_truth import build as truth
from landcover_orch.legend import IGNORE
from landcover_orch.patches import dataset as datasets
from landcover_orch.patches import manifest as manifests
from landcover_orch.patches import write
from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.review import build as review
from landcover_orch.review.label_changes import build
from landcover_orch.store import publish
from landcover_orch.store.publish import Product, Recipe
from landcover_orch.synthetic import landscape
from landcover_orch.synthetic.camera import BANDS
from landcover_orch.tiles import catalogue
from landcover_orch.tiles.tile import Tile
from tests.review.test_ranking import (
    CELL,
    CELLS,
    RIGHT,
    TILES,
    Planted,
    average_precision,
    folded,
    listed_in,
    pixels_of,
    planted,
    write_labels,
)

Years = Mapping[str, tuple[int | None, int | None]]
NOT_STATED: Years = {}


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take most of the time."""
    monkeypatch.setattr(review, "PICTURED", 3)


def dated(manifest: DatasetManifest, years: Years) -> DatasetManifest:
    """The manifest with years of image and labels of some tiles."""
    tiles = [
        entry.model_copy(update=dict(zip(("year", "label_year"), years.get(entry.name, (None, None)), strict=True)))
        for entry in manifest.tiles
    ]
    return manifest.model_copy(update={"tiles": tuple(tiles)})


def changes(made: Planted, home: Path, trained_splits: Splits | None = None, years: Years = NOT_STATED) -> Product:
    return build(dated(made.manifest, years), made.tiles, made.repetitions[0].maps, home, trained_splits)


def test_changes_are_ranked_by_area_and_lead(home: Path) -> None:
    made = planted(home, confusion=RIGHT)
    listed = listed_in(changes(made, home), "label_changes")
    assert {(row["tile"], row["polygon"]) for row in listed} == made.mislabelled
    assert [row["rank"] for row in listed] == [str(i + 1) for i in range(len(listed))]


def test_the_page_says_first_what_to_do_and_where(home: Path) -> None:
    product = changes(planted(home, confusion=RIGHT), home)
    first = listed_in(product, "label_changes")[0]
    outlines = geopandas.read_file(product.file("label_changes.gpkg"))
    assert outlines.geometry.iloc[0].contains(Point(float(first["x"]), float(first["y"])))
    text = product.file("index.html").read_text(encoding="utf-8")
    assert text.index("What to do first") < text.index("The first 3</h2>") < text.index("Tile by tile</h2>")
    place = f'{float(first["m2"]) / 10_000:.2f}\u00a0ha, at <span class="place">x {first["x"]}, y {first["y"]}</span>'
    assert f"Number 1 is polygon {first['polygon']} of tile {first['tile']}, {place}" in text
    assert "landcover materialise " in text


def test_points_lie_inside_concave_polygons_in_the_crs_of_the_geopackage() -> None:
    horseshoe = box(500_000, 4_600_000, 500_030, 4_600_030) - box(500_010, 4_600_000, 500_020, 4_600_025)
    ((x, y),) = review.points_inside(np.array([horseshoe], object), "EPSG:25830", "EPSG:25830")
    assert horseshoe.contains(Point(x, y))
    ((lon, lat),) = review.points_inside(np.array([horseshoe], object), "EPSG:25830", "EPSG:4326")
    assert (lon, lat) == pytest.approx((-3, 41.55), abs=0.01)
    assert review.points_inside(np.array([], object), "EPSG:25830", "EPSG:4326") == []


def test_where_nothing_has_changed_the_list_is_empty(home: Path) -> None:
    labels = {"a": pixels_of(np.arange(CELLS**2).reshape(CELLS, CELLS) % 3)}
    write_labels(home / "a.gpkg", labels["a"][::CELL, ::CELL])
    product = changes(folded(home, labels, labels, set()), home)
    assert listed_in(product, "label_changes") == []
    assert len(geopandas.read_file(product.file("label_changes.gpkg"))) == 0
    assert "No polygon is listed." in product.file("index.html").read_text(encoding="utf-8")
    summary = product.json("summary.json")
    assert (summary["listed"], summary["listed_hectares"], summary["flagged_fraction_of_area"]) == (0, 0, 0)


def test_only_tiles_with_newer_images_are_compared_and_rows_say_the_years(home: Path) -> None:
    years = {"a": (2024, 2021), "b": (2021, 2021), "c": (2020, 2021)}
    product = changes(planted(home, confusion=RIGHT), home, years=years)
    listed = listed_in(product, "label_changes")
    assert {(row["tile"], row["image_year"], row["label_year"]) for row in listed} == {("a", "2024", "2021")}
    summary = product.json("summary.json")
    assert [row["tile"] for row in summary["tiles_left_out"]] == ["b", "c"]
    (tile,) = summary["tiles"]
    assert (tile["tile"], tile["polygons"], tile["listed"]) == ("a", CELLS**2, len(listed))
    assert tile["listed_hectares"] == summary["listed_hectares"] == len(listed) * CELL**2 / 10_000
    frame = geopandas.read_file(product.file("label_changes.gpkg"))
    assert frame["image_year"].tolist() == [2024] * len(listed)


def test_without_a_newer_map_there_is_no_list(home: Path) -> None:
    made = planted(home)
    with pytest.raises(IncompleteError, match=r"a: its map is not newer than its labels; b: .*`label_year`"):
        changes(made, home, years=dict.fromkeys(TILES, (2021, 2021)))
    with pytest.raises(IncompleteError, match="a: no map"):
        build(made.manifest, made.tiles, {}, home)


def test_rows_and_tiles_say_what_the_model_learnt_from(home: Path) -> None:
    made = planted(home, confusion=RIGHT)
    trained_splits = Splits(test=SplitSpec(tiles=("b",)))
    product = changes(made, home, trained_splits)
    by_tile = {row["tile"]: float(row["train_ground"]) for row in listed_in(product, "label_changes")}
    assert by_tile == {"a": 1, "b": 0, "c": 1}
    assert [row["train_ground"] for row in product.json("summary.json")["tiles"]] == [1, 0, 1]
    assert "100 % train area" in product.file("index.html").read_text(encoding="utf-8")
    unknown = changes(made, home)
    assert {row["train_ground"] for row in listed_in(unknown, "label_changes")} == {""}
    assert "not known" in unknown.file("index.html").read_text(encoding="utf-8")


def test_maps_out_of_fold_show_what_a_map_of_taught_labels_hides(home: Path) -> None:
    made = planted(home, confusion=RIGHT)
    taught = {tile: pixels_of(_codes(home / f"{tile}.gpkg")) for tile in TILES}
    maps = made.scene.repetition(made.experiment, taught).maps
    alone = build(made.manifest, made.tiles, maps, home, made.manifest.dataset.splits)
    assert listed_in(alone, "label_changes") == []
    product = build(made.manifest, made.tiles, maps, home, made.manifest.dataset.splits, made.repetitions)
    listed = listed_in(product, "label_changes")
    assert {(row["tile"], row["polygon"]) for row in listed} == made.mislabelled
    assert {(row["train_ground"], row["pixels"]) for row in listed} == {("0.0", str(CELL**2))}
    assert "not trained on its pixels" in product.file("index.html").read_text(encoding="utf-8")


def _codes(path: Path) -> np.ndarray:
    return np.asarray(geopandas.read_file(path)["code"].astype(int)).reshape(CELLS, CELLS)


def test_planted_changes_of_the_landscape_come_first(home: Path) -> None:
    """Labels of years ago against maps of today that are wrong in every tenth pixel."""
    tiles = landscape.write(home / "landscape", rows=1, cols=2, size=512)
    manifest, described_tiles = _described(home)
    random = np.random.default_rng(0)
    maps = {entry.name: _mapped(home, entry, random) for entry in manifest.tiles}
    listed = listed_in(build(manifest, described_tiles, maps, home), "label_changes")
    changed = {(tile, name) for tile in tiles for name in _changed(home / "landscape", tile)}
    hit = np.array([(row["tile"], row["polygon"]) in changed for row in listed])
    assert len(changed) >= 5
    assert {(row["image_year"], row["label_year"]) for row in listed} == {("2024", "2021")}
    assert hit.sum() >= 0.9 * len(changed), "some are cut by the tiles' edges to a few pixels"
    assert average_precision(hit) > 0.95


def _described(home: Path) -> tuple[DatasetManifest, list[Tile]]:
    """The manifest and tiles of the landscape with its older labels."""
    folder = (home / "landscape").resolve().name
    described = Dataset(
        name="older",
        root=str(home),
        tiles=Tiles(
            image=f"{folder}/images/{{tile}}.tif",
            label=f"{folder}/labels/older/{{tile}}.gpkg",
            year=2024,
            label_year=2021,
        ),
        bands=BANDS,
        legend="landscape",
        labels=Labels(layer=landscape.LAYER, attribute="code", id="id"),
        experiments=("random-forest",),
    )
    legend, tiles = load_legend("landscape"), catalogue.tiles(described)
    for tile in tiles:
        truth.build(described, legend, tile, home)
        write.build(described, legend, tile, home)
    return manifests.load(datasets.build(described, legend, tiles, home).path), tiles


def _mapped(home: Path, entry: TileEntry, random: np.random.Generator) -> Product:
    """A map that is the truth but for every tenth pixel, at a confidence of 200 of 254."""
    known = raster.inspect(home / f"landscape/truth/{entry.name}.tif")
    extent = Window(0, 0, *known.shape)
    with raster.reader(known) as pixels:
        classes = pixels.read(extent)[0]
    incorrect = random.random(classes.shape) < 0.1
    classes[incorrect] = random.integers(0, 5, int(incorrect.sum()))
    files = {"class.tif": classes, "confidence.tif": np.full_like(classes, 200)}

    def written(stage: publish.Stage) -> None:
        for name, values in files.items():
            shown = [(extent, values)]
            raster.write_cog(stage.path / name, known.grid, shown, band="class", palette=None, names=(), nodata=IGNORE)

    return publish.publish(home / "maps", entry.name, Recipe("land_cover_map", 1, {}, {}), written)


def _changed(folder: Path, tile: str) -> list[str]:
    """Ids of the polygons whose code is not that of today."""
    now, before = (geopandas.read_file(folder / f"labels/{version}/{tile}.gpkg") for version in ("complete", "older"))
    return [str(name) for name in before["id"][(now["code"] != before["code"]).to_numpy()]]
