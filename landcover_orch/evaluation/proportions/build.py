"""Class proportions of a dataset's units by its maps: a table, the challenge's submission, and its score.

The map's pixels are counted, not probabilities: the maps keep the best class and its confidence alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from landcover_orch import raster
from landcover_orch.config import Dataset, file_label
from landcover_orch.errors import ConfigError, IncompleteError, Problem
from landcover_orch.evaluation import VERSION
from landcover_orch.evaluation.proportions.table import submission, summary, table, write_parquet
from landcover_orch.evaluation.proportions.units import units
from landcover_orch.evaluation.tables import csv_text
from landcover_orch.legend import left_out_problems
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store import publish
from landcover_orch.store.products import CLASS_MAP, CLASS_RASTER, PREVIEW, PROPORTIONS, SUMMARY
from landcover_orch.store.publish import Product, Recipe, Stage

CSV, PARQUET, SUBMISSION, FIGURE = "proportions.csv", "proportions.parquet", "submission.csv", "proportions.png"


def build(
    manifest: DatasetManifest, dataset: Dataset, maps: Mapping[str, Product], home: Path, name: str = PROPORTIONS
) -> Product:
    """Publishes the class proportions of every unit of some maps as proportions/<name>.

    proportions.csv and .parquet have a row a unit (see `table.UnitRow`), submission.csv is for the Sentinel-2 challenge
    (see `table.submission`). summary.json holds the score.

    Args:
        manifest: holds the tiles' ground truth.
        dataset: what a unit is, and which classes are left out.
        maps: tile -> its map.
        home: folder everything is written below.
        name: of the product.

    Raises:
        ConfigError: a class that is left out is none of the legend's.
        IncompleteError: there is no map.
    """
    where, excluded = f"{file_label('datasets', dataset.name)}: proportions.exclude_classes", dataset.proportions
    problems = left_out_problems(excluded.exclude_classes, list(manifest.legend.names), where, "predicted")
    if problems:
        raise ConfigError(*problems)
    if not maps:
        where, fix = f"proportions of {dataset.name}", "materialise `land_cover_map`"
        raise IncompleteError(Problem(where, "no map", "a map of one tile at least", fix))
    recipe = Recipe(
        asset=PROPORTIONS,
        version=VERSION,
        inputs={"manifest": manifest.digest, **{f"map {tile}": product.fingerprint for tile, product in maps.items()}},
        configuration={
            "proportions": dataset.proportions,
            "patches": dataset.patches,
            "splits": dataset.splits,
            "legend": manifest.legend,
        },
    )
    folder = home / dataset.name / PROPORTIONS
    return publish.publish(folder, name, recipe, lambda stage: _write(stage, manifest, dataset, maps, home))


def _write(stage: Stage, manifest: DatasetManifest, dataset: Dataset, maps: Mapping[str, Product], home: Path) -> None:
    from landcover_orch.evaluation.proportions import figures

    legend, settings = manifest.legend, dataset.proportions
    labels = {entry.name: home / entry.ground_truth / CLASS_RASTER for entry in manifest.tiles if entry.name in maps}
    counted = units(
        dataset,
        len(legend.classes),
        {tile: raster.inspect(product.file(CLASS_MAP)) for tile, product in maps.items()},
        {tile: raster.inspect(path) for tile, path in labels.items()},
    )
    rows = table(counted, legend.names, settings.exclude_classes)
    lines = [row.columns() for row in rows]
    (stage.path / CSV).write_text(csv_text([*lines[0]], (line.values() for line in lines)), encoding="utf-8")
    write_parquet(stage.path / PARQUET, lines)
    (stage.path / SUBMISSION).write_text(submission(rows, legend.names), encoding="utf-8")
    figure = figures.proportions(rows, legend, settings.exclude_classes)
    (stage.path / FIGURE).write_bytes(figure)
    (stage.path / PREVIEW).write_bytes(figures.reduced(figure))
    stage.write_json(SUMMARY, summary(rows, settings))
