"""Label review: polygons whose label maps speak against, as products: CSV, GeoPackage, a page of pictures.

`label_review` ranks polygons for whoever corrects labels, by out-of-fold maps. `label_changes` ranks them for whoever
brings labels up to date, by maps of a newer orthophoto.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from landcover_orch import raster
from landcover_orch.config import Splits
from landcover_orch.config.experiments import Experiment
from landcover_orch.errors import IncompleteError, Problem
from landcover_orch.evaluation import VERSION
from landcover_orch.evaluation.evaluate import MAP
from landcover_orch.evaluation.repetition import Repetition, require_matching_versions
from landcover_orch.evaluation.tables import csv_text
from landcover_orch.evaluation.views import CONFIDENCE
from landcover_orch.pages import page, picture
from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.raster import inspect
from landcover_orch.review import geopackage, train_ground
from landcover_orch.review.comparison import Compared, Subject, compare
from landcover_orch.review.evidence import MapLayer
from landcover_orch.review.ranking import COLUMNS, flagged_rows, rows
from landcover_orch.store import publish
from landcover_orch.store.products import LABEL_REVIEW
from landcover_orch.store.publish import Product, Recipe, Stage
from landcover_orch.tiles.tile import Tile

PAGE, SUMMARY, PREVIEW = "index.html", "summary.json", "preview.png"
PICTURED, PREVIEWED, WORST = 40, 8, 10
"""Polygons with pictures on the page, in the preview, and in the summary."""

YEARS, LEARNT = ("image_year", "label_year"), "train_ground"
"""Columns beside those of `review.ranking`: the years of what the maps show and of the labels; and, of a list by area,
the share of the polygon that the maps' model learnt from (None: not known)."""

M2_A_HECTARE = 10_000


@dataclass(frozen=True)
class List:
    """How a list is called and ranked: by area for `label_changes`, and then with the share of train ground.

    `learnt` are the splits that the maps' model was trained with, None where nobody knows; `tiles_left_out` says why.
    """

    name: str
    title: str
    by_area: bool = False
    learnt: Splits | None = None
    tiles_left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of its table."""
        return (*COLUMNS, *YEARS, *([LEARNT] if self.by_area else []))


def label_review(
    manifest: DatasetManifest,
    tiles: Sequence[Tile],
    experiment: Experiment,
    repetitions: Sequence[Repetition],
    home: Path,
) -> Product:
    """The published list of suspicious polygons by a recipe with folds: label_review/<experiment>.

    Args:
        manifest: the dataset's.
        tiles: the dataset's tiles, with their files.
        experiment: the recipe.
        repetitions: its folds' models with their maps.
        home: folder everything is written below.

    Raises:
        IncompleteError: the recipe has no folds, or labels have changed since the manifest was made.
        ContractError: a model or map is of other data.
        LabelError: labels are no polygons, or cannot be read.
    """
    if not repetitions or any(repetition.fold is None for repetition in repetitions):
        fix = "name a recipe with `protocol.folds` as the dataset's `label_review`"
        raise IncompleteError(Problem(f"label review by {experiment.name}", "no folds", "maps out of fold", fix))
    require_matching_versions(manifest, repetitions)
    map_layers: dict[str, list[MapLayer]] = {}
    for repetition in repetitions:
        for tile, product in repetition.maps.items():
            map_layers.setdefault(tile, []).append(map_layer(product, repetition.manifest))
    named = {tile.name: tile for tile in tiles}
    subject = Subject(manifest, named, map_layers, home, len({repetition.experiment.seed for repetition in repetitions}))
    maps = {
        f"{repetition.name} {tile}": product for repetition in repetitions for tile, product in repetition.maps.items()
    }
    what = List(LABEL_REVIEW, f"Suspicious polygons of {manifest.dataset.name}, by {experiment.name}")
    return published(subject, what, maps, experiment.name)


def named_maps(repetitions: Sequence[Repetition]) -> dict[str, Product]:
    """'<repetition> <tile>' -> map, of all maps of some repetitions: what a build recipe calls them."""
    return {f"{each.name} {tile}": product for each in repetitions for tile, product in each.maps.items()}


def map_layer(product: Product, fold: DatasetManifest | None = None) -> MapLayer:
    """A published map as it is looked at; of a fold, where its model never saw the ground."""
    return MapLayer(inspect(product.file(MAP)), inspect(product.file(CONFIDENCE)), fold)


def published(subject: Subject, what: List, maps: Mapping[str, Product], name: str) -> Product:
    """The published list: CSV, GeoPackage, page, preview and summary.

    Args:
        subject: labels and maps.
        what: which list.
        maps: what the maps are called -> the maps.
        name: of the product.

    Raises:
        IncompleteError, LabelError, GridError: as `comparison.compare`.
    """
    manifest = subject.manifest
    labels = {f"labels {e.name}": e.label_fingerprint for e in subject.entries}
    recipe = Recipe(
        asset=what.name,
        version=VERSION,
        inputs={"manifest": manifest.digest, **labels, **{f"map {key}": p.fingerprint for key, p in maps.items()}},
        configuration={
            "legend": manifest.legend,
            "title": what.title,
            "columns": manifest.dataset.labels,
            "years": [(entry.name, entry.year, entry.label_year) for entry in subject.entries],
            **({"learnt": what.learnt, "left out": what.tiles_left_out} if what.by_area else {}),
        },
    )
    folder = subject.home / manifest.dataset.name / what.name
    return publish.publish(folder, name, recipe, lambda stage: _write(stage, subject, what))


def _write(stage: Stage, subject: Subject, what: List) -> None:
    compared = compare(subject)
    listed = _rows(subject, what, compared)
    table = csv_text(what.columns, ([row[column] for column in what.columns] for row in listed))
    (stage.path / f"{what.name}.csv").write_text(table, encoding="utf-8")
    geopackage.write(stage.path / f"{what.name}.gpkg", what.name, subject, compared, listed, what.columns)
    cards, preview = _cards(subject, compared, listed)
    summary = _summary(subject, what, compared, listed)
    shown = {"title": what.title, "by_area": what.by_area, "kind": what.name, "legend": subject.manifest.legend}
    shown["labels"] = {key: name for name, key in geopackage.label_columns(subject.manifest.dataset.labels).items()}
    html = page.render("label_review.html", **shown, summary=summary, cards=cards, rows=listed)
    (stage.path / PAGE).write_text(html, encoding="utf-8")
    (stage.path / PREVIEW).write_bytes(preview)
    stage.write_json(SUMMARY, summary)


def _rows(subject: Subject, what: List, compared: Compared) -> list[dict[str, Any]]:
    """The list's rows, with the columns that only their tile tells."""
    listed = rows(compared.polygons, subject.manifest.legend.names, by_area=what.by_area)
    for entry in subject.entries:
        tile_rows = [row for row in listed if row["tile"] == entry.name]
        for row in tile_rows:
            row.update(zip(YEARS, _years(subject, entry), strict=True))
        if what.by_area:
            for row, share in zip(tile_rows, _learnt(what.learnt, entry, compared, tile_rows), strict=True):
                row[LEARNT] = share
    return listed


def _years(subject: Subject, entry: TileEntry) -> tuple[int | None, int | None]:
    """The year that a tile's maps show, and that of its labels."""
    return raster.year(subject.map_layers[entry.name][0].classes.path) or entry.year, entry.label_year


def _learnt(
    splits: Splits | None, entry: TileEntry, compared: Compared, tile_rows: Sequence[Mapping[str, Any]]
) -> list[float | None]:
    if splits is None:
        return [None] * len(tile_rows)
    outlines = compared.outlines[entry.name]
    shapes = outlines.geometry[np.array([row["index"] for row in tile_rows], np.int64)]
    fractions = train_ground.train_fractions(splits, entry.name, entry.grid, shapes, outlines.label_grid)
    return [round(float(share), 4) for share in fractions]


def _summary(subject: Subject, what: List, compared: Compared, listed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names, area = subject.manifest.legend.names, float(compared.polygons.m2.sum())
    flagged = flagged_rows(listed)
    m2, listed_m2 = (sum(row["m2"] for row in some) for some in (flagged, listed))
    columns = ("rank", "tile", "polygon", "label", "suggestion", "m2", "margin", "disagreement", "flagged")
    joint = compared.polygons.joint if len(compared.polygons) else np.zeros((len(names), len(names)))
    return {
        "polygons": len(compared.polygons),
        "m2": round(area, 2),
        "listed": len(listed),
        "listed_hectares": round(listed_m2 / M2_A_HECTARE, 4),
        "listed_share_of_area": round(listed_m2 / area, 6) if area else 0.0,
        "flagged": len(flagged),
        "flagged_m2": round(m2, 2),
        "flagged_share_of_area": round(m2 / area, 6) if area else 0.0,
        "expected_wrong_share_of_polygons": round(float(joint.sum() - np.trace(joint)), 6),
        "left_out": dict(compared.left_out),
        "tiles": _tiles(subject, what, compared, listed),
        "tiles_left_out": [{"tile": tile, "why": why} for tile, why in sorted(what.tiles_left_out.items())],
        "worst": [
            {column: row[column] for column in (*columns, *what.columns[len(COLUMNS) :])} for row in listed[:WORST]
        ],
        "joint": [
            {"label": name, **dict(zip(names, line, strict=True))}
            for name, line in zip(names, joint.round(6).tolist(), strict=True)
        ],
    }


def _tiles(
    subject: Subject, what: List, compared: Compared, listed: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A row a tile: its years, polygons looked at, those that stand out with their hectares, its share of train ground.

    Of a list by area all that are listed stand out, of another one those that are flagged.
    """
    looked_at, counted, m2 = (
        Counter(polygon.tile for polygon in compared.polygons.polygons),
        Counter[str](),
        Counter[str](),
    )
    out = "listed" if what.by_area else "flagged"
    for row in listed if what.by_area else flagged_rows(listed):
        counted[row["tile"]] += 1
        m2[row["tile"]] += row["m2"]
    return [
        {
            "tile": entry.name,
            **dict(zip(YEARS, _years(subject, entry), strict=True)),
            "polygons": looked_at[entry.name],
            out: counted[entry.name],
            f"{out}_hectares": round(m2[entry.name] / M2_A_HECTARE, 4),
            **({LEARNT: what.learnt and train_ground.of_tile(what.learnt, entry)} if what.by_area else {}),
        }
        for entry in subject.entries
    ]


def _cards(
    subject: Subject, compared: Compared, listed: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], bytes]:
    """The worst polygons with their pictures as PNG, and the preview of the very worst."""
    from landcover_orch.review.figures import pictures, sheet

    entries = {entry.name: entry for entry in subject.entries}
    cards, photos = [], []
    for row in listed[:PICTURED]:
        tile = row["tile"]
        drawn = pictures(subject, entries[tile], compared.outlines[tile], row["index"])
        cards.append({**row, "pictures": [picture.png(drawing, colours=128) for drawing in drawn]})
        photos.append(drawn[0])
    return cards, picture.small_png(sheet(photos[:PREVIEWED]))
