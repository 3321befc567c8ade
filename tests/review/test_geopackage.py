"""A list as a GeoPackage: the labels' own columns, whatever they are called, so that its rows come back as labels."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from landcover_orch.config import Labels, TileOverride
from landcover_orch.errors import LabelError
from landcover_orch.labels import polygons
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.review import build as review
from landcover_orch.review.build import label_review
from landcover_orch.review.geopackage import columns, label_columns
from landcover_orch.review.label_changes import build
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.publish import Product
from landcover_orch.tiles import catalogue
from tests.review.test_ranking import CELL, CELLS, TILES, Planted, listed_in, planted
from tests.scenes import CRS, transform

LISTED = ("rank", "tile", "polygon", "code", "label", "m2")


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take most of the time."""
    monkeypatch.setattr(review, "PICTURED", 1)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (Labels(attribute="code", id="id"), ("id", "code", "rank", "tile", "label", "m2")),
        (Labels(attribute="code"), ("code", "rank", "tile", "polygon", "label", "m2")),
        (Labels(attribute="CODIIGE", id="ID_POLYGON"), ("ID_POLYGON", "CODIIGE", "rank", "tile", "label", "m2")),
        (Labels(attribute="Label", id="CODE"), ("CODE", "Label", "rank", "tile", "label_review_label", "m2")),
        (Labels(attribute="Polygon"), ("Polygon", "rank", "tile", "label_review_polygon", "label", "m2")),
        (Labels(attribute="code", id="code"), ("code", "rank", "tile", "polygon", "label", "m2")),
        (Labels(content="values", id="ID"), ("ID", "rank", "tile", "code", "label", "m2")),
    ],
)
def test_the_labels_columns_come_first_and_keep_their_names(labels: Labels, expected: tuple[str, ...]) -> None:
    assert tuple(columns(labels, LISTED, "label_review")) == expected


def test_columns_that_differ_in_case_alone_are_refused() -> None:
    with pytest.raises(LabelError, match="rename one of the columns"):
        columns(Labels(attribute="code", id="CODE"), LISTED, "label_review")


def relabelled(made: Planted, labels: Labels) -> Product:
    """The list of a planted dataset whose labels name their polygons, and call their columns otherwise."""
    home = made.scene.home
    for tile in TILES:
        frame = geopandas.read_file(home / f"{tile}.gpkg")
        frame = frame.rename(columns={"code": labels.attribute, "geometry": "shape"}).set_geometry("shape")
        if labels.id:
            frame[labels.id] = [f"{tile}{i}" for i in range(len(frame))]
        (home / f"{tile}.gpkg").unlink()
        layer = {"FID": "number", "GEOMETRY_NAME": "shape"}
        frame.to_file(home / f"{tile}.gpkg", layer="labels", driver="GPKG", engine="pyogrio", layer_options=layer)
    dataset = made.manifest.dataset.model_copy(update={"labels": labels})
    tiles = catalogue.tiles(dataset)
    entries = tuple(
        entry.model_copy(update={"label_fingerprint": tile_fingerprints(tile, home / MEMORY)[1]})
        for entry, tile in zip(made.manifest.tiles, tiles, strict=True)
    )
    manifest = made.manifest.model_copy(update={"dataset": dataset, "tiles": entries})
    return label_review(manifest, tiles, made.experiment, made.repetitions, home)


@pytest.mark.parametrize(
    "labels",
    [
        Labels(attribute="M2", id="Rank"),
        Labels(attribute="fid", id="geom"),
        Labels(attribute="label", id="label_review_label"),
        Labels(attribute="suggestion"),
    ],
    ids=lambda labels: f"{labels.attribute} {labels.id}",
)
def test_rows_are_read_as_the_labels_are(home: Path, labels: Labels) -> None:
    made = planted(home)
    product = relabelled(made, labels)
    listed = listed_in(product)
    grid = GeoBox((CELL * CELLS, CELL * CELLS), transform(), CRS)
    features = polygons.read(product.file("label_review.gpkg"), None, labels.attribute, grid, name=labels.id)
    assert features.value.tolist() == [row["code"] for row in listed]
    if labels.id:
        assert features.name.tolist() == [row["polygon"] for row in listed]


def test_moved_labels_are_listed_where_their_shift_puts_them(home: Path) -> None:
    made = planted(home)
    tiles = made.manifest.dataset.tiles.model_copy(update={"overrides": {"a": TileOverride(shift=(3, -2))}})
    dataset = made.manifest.dataset.model_copy(update={"tiles": tiles})
    shifted_tiles = catalogue.tiles(dataset)
    entries = tuple(
        entry.model_copy(update={"label_fingerprint": tile_fingerprints(tile, home / MEMORY)[1]})
        for entry, tile in zip(made.manifest.tiles, shifted_tiles, strict=True)
    )
    manifest = made.manifest.model_copy(update={"dataset": dataset, "tiles": entries})
    product = build(manifest, shifted_tiles, {"a": made.repetitions[0].maps["a"]}, home)
    listed = geopandas.read_file(product.file("label_changes.gpkg")).iloc[0]
    original = geopandas.read_file(home / "a.gpkg").iloc[int(listed["polygon"]) - 1]
    by = np.array(listed.geometry.bounds) - original.geometry.bounds
    assert by.tolist() == [3, 2, 3, 2], "3 px to the right and 2 up, at 1 m a pixel"


def test_what_a_table_tells_cannot_come_back() -> None:
    assert label_columns(Labels(content="values", id="ID", attribute="X")) == {"ID": "polygon"}
