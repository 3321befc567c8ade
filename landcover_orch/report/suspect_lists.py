"""Lists of polygons whose label maps speak against, as products: CSV, GeoPackage, a page of pictures.

`suspects` are ranked for whoever corrects labels, by out-of-fold maps; `changes` for whoever brings them up to date, by
maps of a newer orthophoto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landcover_orch import page, picture, publish
from landcover_orch.errors import IncompleteError, Problem
from landcover_orch.experiment import Experiment
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.publish import Product, Stage
from landcover_orch.raster import inspect
from landcover_orch.raw.catalogue import Tile
from landcover_orch.report import VERSION
from landcover_orch.report.comparison import Compared, Subject, compare
from landcover_orch.report.evaluate import MAP
from landcover_orch.report.evidence import Look
from landcover_orch.report.repetition import Repetition, require_own_ground
from landcover_orch.report.suspects import COLUMNS, flagged_rows, rows
from landcover_orch.report.tables import csv_text
from landcover_orch.report.views import CONFIDENCE

SUSPECTS, CHANGES = "suspects", "changes"
PAGE, SUMMARY, PREVIEW = "index.html", "summary.json", "preview.png"
PICTURED, PREVIEWED, WORST = 40, 8, 10
"""Polygons with pictures on the page, in the preview, and in the summary."""

DATE = "2024-01-01T00:00:00.000Z"
"""What GeoPackages state as their time of change: the same list has the same bytes."""


@dataclass(frozen=True)
class List:
    """How a list is called and ranked."""

    name: str
    title: str
    by_area: bool


def suspects(
    manifest: DatasetManifest,
    tiles: Sequence[Tile],
    experiment: Experiment,
    repetitions: Sequence[Repetition],
    home: Path,
) -> Product:
    """The published list of suspicious polygons by a recipe with folds: suspects/<experiment>.

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
    if not repetitions or any(one.fold is None for one in repetitions):
        fix = "name a recipe with `protocol.folds` as the dataset's `doctor`"
        raise IncompleteError(Problem(f"suspects by {experiment.name}", "no folds", "maps out of fold", fix))
    require_own_ground(manifest, repetitions)
    looks: dict[str, list[Look]] = {}
    for one in repetitions:
        for tile, product in one.maps.items():
            looks.setdefault(tile, []).append(_look(product, one.manifest))
    subject = Subject(manifest, _by_name(tiles), looks, home, len({one.recipe.seed for one in repetitions}))
    maps = {f"{one.name} {tile}": product for one in repetitions for tile, product in one.maps.items()}
    what = List(SUSPECTS, f"Suspicious polygons of {manifest.dataset.name}, by {experiment.name}", by_area=False)
    return _publish(subject, what, maps, experiment.name)


def changes(manifest: DatasetManifest, tiles: Sequence[Tile], maps: Mapping[str, Product], home: Path) -> Product:
    """The published list of polygons that a map shows as another class: changes/changes, the largest and surest first.

    Args:
        manifest: the dataset's, whose labels are older than what the maps show.
        tiles: the dataset's tiles, with their files.
        maps: tile -> its map, of all of it.
        home: folder everything is written below.

    Raises:
        IncompleteError: there is no map of a tile with labels, or labels have changed since the manifest was made.
        LabelError: labels are no polygons, or cannot be read.
    """
    subject = Subject(manifest, _by_name(tiles), {tile: [_look(product)] for tile, product in maps.items()}, home)
    what = List(CHANGES, f"Change candidates of {manifest.dataset.name}", by_area=True)
    return _publish(subject, what, maps, CHANGES)


def _look(product: Product, fold: DatasetManifest | None = None) -> Look:
    return Look(inspect(product.file(MAP)), inspect(product.file(CONFIDENCE)), fold)


def _by_name(tiles: Sequence[Tile]) -> dict[str, Tile]:
    return {tile.name: tile for tile in tiles}


def _publish(subject: Subject, what: List, maps: Mapping[str, Product], name: str) -> Product:
    manifest = subject.manifest
    labels = {f"labels {e.name}": e.label_fingerprint for e in subject.entries}
    recipe = {
        "room": what.name,
        "version": VERSION,
        "inputs": {"manifest": manifest.digest, **labels, **{f"map {key}": p.fingerprint for key, p in maps.items()}},
        "configuration": {"legend": manifest.legend, "title": what.title},
    }
    folder = subject.home / manifest.dataset.name / what.name
    return publish.publish(folder, name, recipe, lambda stage: _write(stage, subject, what))


def _write(stage: Stage, subject: Subject, what: List) -> None:
    compared = compare(subject)
    listed = rows(compared.found, subject.manifest.legend.names, by_area=what.by_area)
    table = csv_text(COLUMNS, ([row[column] for column in COLUMNS] for row in listed))
    (stage.path / f"{what.name}.csv").write_text(table, encoding="utf-8")
    _write_polygons(stage.path / f"{what.name}.gpkg", what.name, subject, compared, listed)
    cards, preview = _cards(subject, compared, listed)
    summary = _summary(subject, compared, listed)
    shown = {"title": what.title, "by_area": what.by_area, "legend": subject.manifest.legend}
    html = page.render("report/suspects.html", **shown, summary=summary, cards=cards, rows=listed, kind=what.name)
    (stage.path / PAGE).write_text(html, encoding="utf-8")
    (stage.path / PREVIEW).write_bytes(preview)
    stage.write_json(SUMMARY, summary)


def _summary(subject: Subject, compared: Compared, listed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names, area = subject.manifest.legend.names, float(compared.found.m2.sum())
    flagged = flagged_rows(listed)
    m2 = sum(row["m2"] for row in flagged)
    worst = ("rank", "tile", "polygon", "label", "suggestion", "m2", "margin", "disagreement", "flagged")
    joint = compared.found.joint if len(compared.found) else np.zeros((len(names), len(names)))
    return {
        "polygons": len(compared.found),
        "m2": round(area, 2),
        "flagged": len(flagged),
        "flagged_m2": round(m2, 2),
        "flagged_share_of_area": round(m2 / area, 6) if area else 0.0,
        "expected_wrong_share_of_polygons": round(float(joint.sum() - np.trace(joint)), 6),
        "left_out": dict(compared.left_out),
        "worst": [{column: row[column] for column in worst} for row in listed[:WORST]],
        "joint": [
            {"label": name, **dict(zip(names, line, strict=True))}
            for name, line in zip(names, joint.round(6).tolist(), strict=True)
        ],
    }


def _cards(
    subject: Subject, compared: Compared, listed: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], bytes]:
    """The worst polygons with their pictures as PNG, and the preview of the very worst."""
    from landcover_orch.report.suspect_pictures import pictures, sheet

    entries = {entry.name: entry for entry in subject.entries}
    cards, photos = [], []
    for row in listed[:PICTURED]:
        tile = row["tile"]
        drawn = pictures(subject, entries[tile], compared.outlines[tile], row["index"])
        cards.append({**row, "pictures": [picture.png(one, colours=128) for one in drawn]})
        photos.append(drawn[0])
    return cards, picture.small_png(sheet(photos[:PREVIEWED]))


def _write_polygons(
    path: Path, layer: str, subject: Subject, compared: Compared, listed: Sequence[Mapping[str, Any]]
) -> None:
    """A GeoPackage of the listed polygons with their columns, in the CRS of the first tile."""
    import geopandas
    import pandas as pd  # type: ignore[import-untyped]
    import pyogrio

    crs = {entry.name: entry.crs for entry in subject.entries}
    target = next(iter(crs.values()))
    parts = []
    for tile, outlines in compared.outlines.items():
        own = [row for row in listed if row["tile"] == tile]
        shapes = outlines.geometry[np.array([row["index"] for row in own], np.int64)]
        frame = geopandas.GeoDataFrame(pd.DataFrame(own, columns=list(COLUMNS)), geometry=shapes, crs=crs[tile])
        parts.append(frame if crs[tile] == target else frame.to_crs(target))
    found = geopandas.GeoDataFrame(pd.concat([p for p in parts if len(p)] or parts[:1])).sort_values("rank")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": DATE})
    try:
        pyogrio.write_dataframe(
            found, path, layer=layer, driver="GPKG", geometry_type="MultiPolygon", promote_to_multi=True
        )
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
