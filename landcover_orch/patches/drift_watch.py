"""Drift monitoring: a tile compared with what a model was trained on, whenever it arrives, without a new manifest.

A tile that lies outside is mapped all the same; its map is to be trusted less, and the tile to be examined.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from landcover_orch import compute
from landcover_orch.config import Dataset
from landcover_orch.errors import CatalogueError, IncompleteError, Problem, RasterError, pluralise
from landcover_orch.patches import WATCH_VERSION, drift, manifest, statistics
from landcover_orch.patches.dataset import PART_ROWS, of_digest
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.products import DATASET_MANIFEST, DRIFT, MANIFEST_NAME, SUMMARY
from landcover_orch.store.publish import Product, Recipe, Stage, current, publish
from landcover_orch.tiles import imagery
from landcover_orch.tiles.catalogue import image_fingerprint
from landcover_orch.tiles.tile import Tile


def trained_on(dataset: str, digest: str, home: Path) -> Product:
    """The published manifest of that digest, a fold's too, whose train pixels its models learnt from.

    Where it is gone, the present manifest.

    Raises:
        IncompleteError: that holds no histograms of its train pixels, either.
    """
    for product in of_digest(dataset, digest, home):
        if drift.TRAINED in product.files:
            return product
    present = current(home / dataset / DATASET_MANIFEST, MANIFEST_NAME)
    if drift.TRAINED not in present.files:
        fix = f"materialise the asset `{DATASET_MANIFEST}` again"
        raise IncompleteError(Problem(str(present.path), f"no {drift.TRAINED}", "what was trained on", fix))
    return present


def build(dataset: Dataset, tile: Tile, trained: Product, home: Path) -> Product:
    """How far a tile lies from the train pixels of a manifest, published: summary.json, a row as of `drift.rows`.

    Raises:
        CatalogueError: the manifest is of other bands.
        RasterError: the tile has more or fewer.
    """
    described, image = manifest.load(trained.path), image_fingerprint(tile, home / MEMORY)
    if described.dataset.bands != dataset.bands:
        expected = f"{', '.join(described.dataset.bands)}, which the model was trained on"
        fix = "train on the present bands: materialise `dataset_manifest` and `model` again"
        raise CatalogueError(Problem(f"dataset {dataset.name}", f"bands {', '.join(dataset.bands)}", expected, fix))
    recipe = Recipe(
        asset=DRIFT,
        version=WATCH_VERSION,
        inputs={"image": image, "trained": trained.files[drift.TRAINED]["sha256"]},
        configuration={"imagery": dataset.imagery, "limit": dataset.limits.max_drift},
    )

    def write(stage: Stage) -> None:
        row = known_row(described, dataset, tile.name, image, trained) or measure_row(dataset, tile, trained)
        stage.write_json(SUMMARY, row)

    def present() -> Recipe:
        return replace(recipe, inputs={**recipe.inputs, "image": image_fingerprint(tile, home / MEMORY)})

    return publish(home / dataset.name / DRIFT, tile.name, recipe, write, present=present)


def known_row(
    described: manifest.DatasetManifest, dataset: Dataset, tile: str, image: str, trained: Product
) -> dict[str, Any] | None:
    """The row that the manifest itself has of the tile's present pixels."""
    then, now = ((d.imagery, d.limits.max_drift) for d in (described.dataset, dataset))
    fingerprints = {entry.name: entry.image_fingerprint for entry in described.tiles}
    if then != now or fingerprints.get(tile) != image:
        return None
    rows: list[dict[str, Any]] = trained.json(SUMMARY)["drift"]
    return next(row for row in rows if row["tile"] == tile)


def measure_row(dataset: Dataset, tile: Tile, trained: Product) -> dict[str, Any]:
    """The row of a tile, measured: its histograms against those of the train pixels.

    Raises:
        RasterError: the tile has more or fewer bands than the dataset.
    """
    image = imagery.inspect(dataset, tile.images)
    if image.count != len(dataset.bands):
        expected, fix = f"{len(dataset.bands)}: {', '.join(dataset.bands)}", "see what the check `files_fit` says of it"
        raise RasterError(Problem(str(tile.image), pluralise(image.count, "band"), expected, fix))
    parts = statistics.parts_of_image(image, dataset.dtype, dataset.nodata, rows=PART_ROWS)
    counts = compute.run(statistics.count_image, parts, cluster=dataset.cluster, label=f"radiometry of {tile.name}")
    histograms = {tile.name: statistics.histograms(image.count, dataset.dtype, counts, train=False)}
    (row,) = drift.rows(histograms, drift.load(trained.file(drift.TRAINED)), dataset.bands, dataset.limits.max_drift)
    return row if dataset.radiometry is None else drift.with_unmatched(row, image)
