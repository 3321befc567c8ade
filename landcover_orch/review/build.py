"""Label review as products: polygons whose label the maps contradict, as CSV, GeoPackage and a page of pictures.

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
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from landcover_orch.config import Splits
from landcover_orch.config.experiments import Experiment
from landcover_orch.errors import IncompleteError, Problem
from landcover_orch.evaluation.repetition import Repetition, require_matching_versions
from landcover_orch.evaluation.tables import csv_text
from landcover_orch.grid import crs_label, reproject
from landcover_orch.pages import page, picture
from landcover_orch.pages.links import asset_link, registered_model_link
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.raster import inspect
from landcover_orch.review import VERSION, geopackage, train_fraction
from landcover_orch.review.comparison import Comparison, Subject, compare
from landcover_orch.review.evidence import MapLayer
from landcover_orch.review.ranking import COLUMNS, flagged_rows, rows
from landcover_orch.store import publish
from landcover_orch.store.products import CLASS_MAP, CONFIDENCE_MAP, LABEL_REVIEW, PAGE, PREVIEW, SUMMARY
from landcover_orch.store.publish import Product, Recipe, Stage
from landcover_orch.tiles.tile import Tile

PICTURED, PREVIEWED, WORST = 40, 8, 10
"""Polygons with pictures on the page, in the preview, and in the summary."""

PLACE, YEARS, TRAIN_FRACTION = ("x", "y"), ("image_year", "label_year"), "train_ground"
"""Columns beside those of `review.ranking`: a point in the polygon, in the CRS of the GeoPackage; the years of what the
maps show and of the labels; and, of a list by area, the fraction of the polygon that the maps' model was trained on
(None: not known)."""

M2_A_HECTARE = 10_000

UNFOLDED = 12
"""Rows up to which the table of tiles is shown unfolded."""


@dataclass(frozen=True)
class ReviewList:
    """Name and ranking of a list: by area for `label_changes`, and then with the train fraction of each polygon.

    `version` is the code version in its recipe. `trained_splits` are those that the maps' model was trained with, None
    where they are not known; `tiles_left_out` says why.
    """

    name: str
    title: str
    version: int
    by_area: bool = False
    trained_splits: Splits | None = None
    tiles_left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of its table."""
        return (*COLUMNS, *PLACE, *YEARS, *([TRAIN_FRACTION] if self.by_area else []))


def label_review(
    manifest: DatasetManifest,
    tiles: Sequence[Tile],
    experiment: Experiment,
    repetitions: Sequence[Repetition],
    home: Path,
) -> Product:
    """Publishes the polygons that an experiment with folds takes to be mislabelled: label_review/<experiment>.

    Args:
        manifest: the dataset's.
        tiles: the dataset's tiles, with their files.
        experiment: its configuration.
        repetitions: its folds' models with their maps.
        home: folder everything is written below.

    Raises:
        IncompleteError: the experiment has no folds, or labels have changed since the manifest was made.
        ContractError: a model or map is of other data.
        LabelError: labels are no polygons, or cannot be read.
    """
    if not repetitions or any(repetition.fold is None for repetition in repetitions):
        fix = "name an experiment with `protocol.folds` as the dataset's `label_review`"
        raise IncompleteError(Problem(f"label review by {experiment.name}", "no folds", "maps out of fold", fix))
    require_matching_versions(manifest, repetitions)
    map_layers: dict[str, list[MapLayer]] = {}
    for repetition in repetitions:
        for tile, product in repetition.maps.items():
            map_layers.setdefault(tile, []).append(map_layer(product, repetition.manifest))
    named = {tile.name: tile for tile in tiles}
    subject = Subject(
        manifest, named, map_layers, home, len({repetition.experiment.seed for repetition in repetitions})
    )
    title = f"Suspicious polygons of {manifest.dataset.name}, by {experiment.name}"
    kind = ReviewList(LABEL_REVIEW, title, VERSION)
    return publish_list(subject, kind, named_maps(repetitions), experiment.name)


def named_maps(repetitions: Sequence[Repetition]) -> dict[str, Product]:
    """Names of maps in a build recipe: '<repetition> <tile>' -> map, of all maps of some repetitions."""
    return {f"{each.name} {tile}": product for each in repetitions for tile, product in each.maps.items()}


def map_layer(product: Product, fold: DatasetManifest | None = None) -> MapLayer:
    """Map layer of a published map; of a fold, it counts where its model was not trained."""
    return MapLayer(inspect(product.file(CLASS_MAP)), inspect(product.file(CONFIDENCE_MAP)), fold)


def publish_list(subject: Subject, kind: ReviewList, maps: Mapping[str, Product], name: str) -> Product:
    """Publishes a list: CSV, GeoPackage, page, preview and summary.

    Args:
        subject: labels and maps.
        kind: which list.
        maps: name -> map.
        name: of the product.

    Raises:
        IncompleteError, LabelError, GridError: as `comparison.compare`.
    """
    manifest = subject.manifest
    labels = {f"labels {e.name}": e.label_fingerprint for e in subject.entries}
    recipe = Recipe(
        asset=kind.name,
        version=kind.version,
        inputs={"manifest": manifest.digest, **labels, **{f"map {key}": p.fingerprint for key, p in maps.items()}},
        configuration={
            "legend": manifest.legend,
            "title": kind.title,
            "columns": manifest.dataset.labels,
            "years": [(entry.name, entry.year, entry.label_year) for entry in subject.entries],
            **({"learnt": kind.trained_splits, "left out": kind.tiles_left_out} if kind.by_area else {}),
        },
    )
    folder = subject.home / manifest.dataset.name / kind.name
    return publish.publish(folder, name, recipe, lambda stage: Review.of(subject, kind).write(stage))


def points_inside(shapes: NDArray[Any], source: Any, target: Any) -> list[tuple[float, float]]:
    """A point inside each polygon, x and y in units of the target CRS, to hundredths (of degrees: to 1e-6)."""
    points = shapely.point_on_surface(shapes)
    if source != target:
        points = reproject(points, source, target)
    digits = 6 if CRS.from_user_input(target).is_geographic else 2
    return [(round(float(x), digits), round(float(y), digits)) for x, y in shapely.get_coordinates(points)]


@dataclass(frozen=True)
class Review:
    """A list of polygons under review, its rows (see `ranking.rows`) and what the rows are taken from."""

    subject: Subject
    kind: ReviewList
    comparison: Comparison
    rows: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, subject: Subject, kind: ReviewList) -> Review:
        """The rows of a list, with the columns that are their tile's."""
        comparison = compare(subject)
        listed = rows(comparison.polygons, subject.manifest.legend.names, by_area=kind.by_area)
        for entry in subject.entries:
            tile_rows = [row for row in listed if row["tile"] == entry.name]
            index = np.array([row["index"] for row in tile_rows], np.int64)
            points = points_inside(comparison.outlines[entry.name].geometry[index], entry.crs, subject.entries[0].crs)
            for row, point in zip(tile_rows, points, strict=True):
                row.update(zip(PLACE, point, strict=True))
                row.update(zip(YEARS, subject.years(entry), strict=True))
            if kind.by_area:
                fractions = comparison.train_fractions(kind.trained_splits, entry, index)
                for row, fraction in zip(tile_rows, fractions, strict=True):
                    row[TRAIN_FRACTION] = fraction
        return cls(subject, kind, comparison, listed)

    def write(self, stage: Stage) -> None:
        """Writes all files of the product."""
        kind, legend = self.kind, self.subject.manifest.legend
        dataset = self.subject.manifest.dataset.name
        table = csv_text(kind.columns, ([row[column] for column in kind.columns] for row in self.rows))
        (stage.path / f"{kind.name}.csv").write_text(table, encoding="utf-8")
        path = stage.path / f"{kind.name}.gpkg"
        geopackage.write(path, kind.name, self.subject, self.comparison, self.rows, kind.columns)
        cards, preview = self.cards()
        summary = self.summary()
        labels = {key: name for name, key in geopackage.label_columns(self.subject.manifest.dataset.labels).items()}
        html = page.render(
            "label_review.html",
            links=[asset_link(dataset, kind.name), registered_model_link(dataset)],
            title=kind.title,
            by_area=kind.by_area,
            kind=kind.name,
            legend=legend,
            labels=labels,
            summary=summary,
            crs=crs_label(self.subject.entries[0].crs),
            file=f"datasets/{dataset}.yaml",
            dataset=dataset,
            unfolded=UNFOLDED,
            cards=cards,
            rows=self.rows,
        )
        (stage.path / PAGE).write_text(html, encoding="utf-8")
        (stage.path / PREVIEW).write_bytes(preview)
        stage.write_json(SUMMARY, summary)

    def summary(self) -> dict[str, Any]:
        """Contents of summary.json: counts and areas, tile by tile, the first rows, and the estimated joint."""
        names, polygons = self.subject.manifest.legend.names, self.comparison.polygons
        area, flagged = float(polygons.m2.sum()), flagged_rows(self.rows)
        m2, listed_m2 = (sum(row["m2"] for row in some) for some in (flagged, self.rows))
        plain = ("rank", "tile", "polygon", "label", "suggestion", "m2", "margin", "disagreement", "flagged")
        columns = (*plain, *self.kind.columns[len(COLUMNS) :])
        joint = polygons.joint if len(polygons) else np.zeros((len(names), len(names)))
        left_out = sorted(self.kind.tiles_left_out.items())
        return {
            "polygons": len(polygons),
            "m2": round(area, 2),
            "listed": len(self.rows),
            "listed_hectares": round(listed_m2 / M2_A_HECTARE, 4),
            "listed_fraction_of_area": round(listed_m2 / area, 6) if area else 0.0,
            "flagged": len(flagged),
            "flagged_m2": round(m2, 2),
            "flagged_fraction_of_area": round(m2 / area, 6) if area else 0.0,
            "expected_mislabelled_fraction": round(float(joint.sum() - np.trace(joint)), 6),
            "left_out": dict(self.comparison.left_out),
            "tiles": self.tiles(),
            "tiles_left_out": [{"tile": tile, "why": why} for tile, why in left_out],
            "worst": [{column: row[column] for column in columns} for row in self.rows[:WORST]],
            "joint": [
                {"label": name, **dict(zip(names, line, strict=True))}
                for name, line in zip(names, joint.round(6).tolist(), strict=True)
            ],
        }

    def tiles(self) -> list[dict[str, Any]]:
        """Summary of each tile: years, reviewed polygons, those listed or flagged with their hectares, train fraction.

        Of a list by area all that are listed count, of another one those that are flagged.
        """
        reviewed = Counter(polygon.tile for polygon in self.comparison.polygons.polygons)
        counted, m2 = Counter[str](), Counter[str]()
        verb = "listed" if self.kind.by_area else "flagged"
        for row in self.rows if self.kind.by_area else flagged_rows(self.rows):
            counted[row["tile"]] += 1
            m2[row["tile"]] += row["m2"]
        splits = self.kind.trained_splits
        return [
            {
                "tile": entry.name,
                **dict(zip(YEARS, self.subject.years(entry), strict=True)),
                "polygons": reviewed[entry.name],
                verb: counted[entry.name],
                f"{verb}_hectares": round(m2[entry.name] / M2_A_HECTARE, 4),
                **({TRAIN_FRACTION: splits and train_fraction.of_tile(splits, entry)} if self.kind.by_area else {}),
            }
            for entry in self.subject.entries
        ]

    def cards(self) -> tuple[list[dict[str, Any]], bytes]:
        """The first polygons with their pictures as PNG, and the preview of the very first."""
        from landcover_orch.review.figures import contact_sheet, pictures

        entries = {entry.name: entry for entry in self.subject.entries}
        cards, photos = [], []
        for row in self.rows[:PICTURED]:
            tile = row["tile"]
            drawn = pictures(self.subject, entries[tile], self.comparison.outlines[tile], row["index"])
            cards.append({**row, "pictures": [picture.png(drawing, colours=128) for drawing in drawn]})
            photos.append(drawn[0])
        return cards, picture.small_png(contact_sheet(photos[:PREVIEWED]))
