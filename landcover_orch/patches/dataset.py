"""Dataset manifest, built: tiles, versions, splits, statistics and the leak check, under one digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landcover_orch import compute, raster
from landcover_orch.config import Dataset, Promotion, file_label
from landcover_orch.config.experiments import ClassWeights
from landcover_orch.errors import CatalogueError, IncompleteError, LeakError, Problem
from landcover_orch.grid import RESOLUTION_TOLERANCE
from landcover_orch.ground_truth import build as ground_truth
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.legend import IGNORE, Legend
from landcover_orch.patches import MANIFEST_VERSION, drift, manifest_page, splits, statistics, store, write
from landcover_orch.patches import manifest as manifests
from landcover_orch.patches.class_weights import class_weights
from landcover_orch.patches.footprints import TileFootprints
from landcover_orch.patches.ground import class_fractions, ground, one_class_warnings
from landcover_orch.patches.leak import dropped, leaks
from landcover_orch.patches.manifest import FILE, SPLITS, BandStatistics, DatasetManifest, TileEntry
from landcover_orch.patches.one_class import one_class_problem
from landcover_orch.patches.suspects import constant_bands, same_pixels
from landcover_orch.raster.histogram import Histogram
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.products import (
    CLASS_RASTER,
    DATASET_MANIFEST,
    GROUND_TRUTH,
    MANIFEST_NAME,
    PAGE,
    PATCHES,
    PREVIEW,
    SUMMARY,
)
from landcover_orch.store.publish import Product, Recipe, Stage, current, failure, load, publish
from landcover_orch.tiles import imagery
from landcover_orch.tiles.tile import Tile

PART_ROWS = 4096
"""Rows of a tile whose statistics one worker takes."""


def of_digest(dataset: str, digest: str, home: Path) -> Iterator[Product]:
    """The published manifests of a digest, former ones and those of folds too, by the names of their folders."""
    for path in sorted((home / dataset / DATASET_MANIFEST).glob(f"[!.]*/{FILE}")):
        with suppress(IncompleteError):  # damaged, or of an earlier version
            product = load(path.parent.resolve())
            if manifests.load(product.path).digest == digest:
                yield product


def build(dataset: Dataset, legend: Legend, tiles: Sequence[Tile], home: Path, *, name: str = MANIFEST_NAME) -> Product:
    """The published manifest of a dataset: dataset.json, summary.json, train_histograms.npz, index.html, tiles.png,
    preview.png.

    Args:
        dataset: what is described.
        legend: its classes.
        tiles: its tiles, with ground truth and patches that are current; those that the dataset goes on without do not
            count.
        home: folder everything is written below.
        name: of the product; a fold of the dataset has its own.

    Raises:
        CatalogueError: a tile has no ground truth or patches, or has them of other inputs; or nothing is left to
            train on.
        LeakError: train windows overlap held-out pixels.
    """
    used = [tile for tile in tiles if tile.name not in dataset.tiles.go_on_without]
    sources = current_products(dataset, legend, used, home)
    essential = essential_settings(dataset)
    folder = home / dataset.name / DATASET_MANIFEST

    def write(stage: Stage) -> None:
        _write(stage, dataset, essential, legend, sources, home)

    def present() -> Recipe:
        return recipe(essential, legend, current_products(dataset, legend, used, home))

    return publish(folder, name, recipe(essential, legend, sources), write, present=present)


@dataclass(frozen=True)
class TileProducts:
    """A tile with its current products and fingerprints."""

    tile: Tile
    image: str
    label: str | None
    truth: Product
    patches: Product


def essential_settings(dataset: Dataset) -> Dataset:
    """The dataset without what no pixel depends on: another experiment or schedule leaves the manifest as it is."""
    return dataset.model_copy(
        update={
            "description": "",
            "experiments": ("any",),
            "baselines": (),
            "retraining": None,
            "promotion": Promotion(),
            "cluster": None,
        }
    )


def recipe(essential: Dataset, legend: Legend, sources: Sequence[TileProducts]) -> Recipe:
    """The build key of a manifest."""
    return Recipe(
        asset=DATASET_MANIFEST,
        version=MANIFEST_VERSION,
        inputs={
            s.tile.name: [s.image, s.label, s.truth.fingerprint, s.patches.fingerprint, *map(str, s.tile.images)]
            for s in sources
        },
        configuration={"dataset": essential, "legend": legend},
    )


def current_products(dataset: Dataset, legend: Legend, tiles: Sequence[Tile], home: Path) -> list[TileProducts]:
    """The products of each tile, by name, where they are there and made of what the tile is now.

    Raises:
        CatalogueError: products are missing, or made of other inputs; all of them.
    """
    problems: list[Problem] = []
    sources: list[TileProducts] = []
    for tile in sorted(tiles, key=lambda tile: tile.name):
        image, label = tile_fingerprints(tile, home / MEMORY)
        try:
            truth = current(home / dataset.name / GROUND_TRUTH, tile.name)
            patches = current(home / dataset.name / PATCHES, tile.name)
        except IncompleteError as error:
            problems += missing_product(dataset, tile.name, home) or error.problems
            continue
        for asset, product, key in (
            (GROUND_TRUTH, truth, ground_truth.recipe(dataset, legend, tile, home)),
            (PATCHES, patches, write.recipe(dataset, legend, tile, truth, home)),
        ):
            failed = failure(home / dataset.name / asset, tile.name)
            if failed is not None and failed.fingerprint == key.fingerprint:
                problems += missing_product(dataset, tile.name, home)
                break  # what follows is of what it was before
            if product.fingerprint != key.fingerprint:
                stale = f"`{asset}` was made of other files or another configuration"
                fix = f"materialise `{asset}` again for {tile.name}"
                problems.append(Problem(f"tile {tile.name}", stale, "the tile as it is now", fix))
        sources.append(TileProducts(tile, image, label, truth, patches))
    if problems:
        raise CatalogueError(*problems)
    return sources


def missing_product(dataset: Dataset, tile: str, home: Path) -> list[Problem]:
    """Why a tile has no ground truth or patches, where its build failed; nothing where it was not tried."""
    without = f"go on without it: `tiles.go_on_without: [{tile}]`"
    failures = ((asset, failure(home / dataset.name / asset, tile)) for asset in (GROUND_TRUTH, PATCHES))
    return [
        Problem(
            f"tile {tile}",
            f"no `{asset}`: {problem.where}: {problem.found}",
            problem.expected,
            f"{problem.fix}, or {without}" if not problem.fix.endswith("?") else f"{problem.fix} Or {without}",
        )
        for asset, failed in failures
        if failed is not None
        for problem in failed.problems
    ]


def _write(
    stage: Stage, dataset: Dataset, essential: Dataset, legend: Legend, sources: Sequence[TileProducts], home: Path
) -> None:
    footprints = assign_roles(dataset, sources)
    counts = count_pixels(dataset, sources)
    labelled = [part for source in sources if source.tile.label for part in counts[source.tile.name]]
    bands = train_statistics(dataset, labelled)
    entries = [
        tile_entry(source, of_tile, counts[source.tile.name] if source.tile.label else [], home, legend)
        for source, of_tile in zip(sources, footprints, strict=True)
    ]
    train = np.sum([entry.class_pixels["train"] for entry in entries], axis=0)
    weights = class_weights(ClassWeights(name="inverse", clip=dataset.limits.weight_clip), train.tolist(), legend.names)
    require_patches(dataset, entries)
    require_classes(dataset, legend, entries)
    require_one_resolution(dataset, entries)
    manifest = DatasetManifest(
        dataset=essential, legend=legend, tiles=tuple(entries), bands=bands, class_weights=weights
    )
    (stage.path / FILE).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    trained = statistics.histograms(len(bands), dataset.dtype, labelled, train=True)
    drift.save(stage.path / drift.TRAINED, [band.compact(drift.BINS) for band in trained])
    drifts = drift_rows(dataset, drift.load(stage.path / drift.TRAINED), counts, sources)
    suspects = [
        *constant_bands(dataset.bands, dataset.dtype, counts),
        *same_pixels({source.tile.name: source.patches for source in sources}),
    ]
    warnings = [*one_class_warnings(manifest), *suspects]
    summary = {"warnings": warnings, "suspects": suspects, "drift": drifts}
    stage.write_json(SUMMARY, {**summarise(manifest, sources), **summary})
    samples = manifest_page.samples(manifest, home)
    cut = [source.patches.json(SUMMARY) for source in sources]
    tiles = manifest_page.tiles_picture(manifest, home)
    matched = matched_pictures(sources)
    page = manifest_page.page(manifest, cut, drifts, samples, dataset.description, matched, tiles, warnings)
    (stage.path / PAGE).write_text(page, encoding="utf-8")
    (stage.path / manifest_page.TILES_PICTURE).write_bytes(tiles)
    (stage.path / PREVIEW).write_bytes(manifest_page.preview(samples))


def assign_roles(dataset: Dataset, sources: Sequence[TileProducts]) -> list[TileFootprints]:
    """The tiles' windows with their roles, without leaks.

    Raises:
        LeakError: train windows overlap held-out pixels and the configuration does not drop them.
    """
    footprints = [tile_footprints(dataset, source) for source in sources]
    if dataset.splits.on_overlap == "drop":
        footprints = dropped(footprints)
    problems = leaks(footprints)
    if problems:
        raise LeakError(*problems)
    return footprints


def tile_footprints(dataset: Dataset, source: TileProducts) -> TileFootprints:
    """The windows of a tile's patches with their roles, and its held-out pixels; none without labels."""
    grid, name = raster.inspect(source.truth.file(CLASS_RASTER)).grid, source.tile.name
    if source.tile.label is None:
        return TileFootprints(name, grid, [], np.zeros(0, np.int8), [])
    windows = store.read_index(source.patches.file(store.STORE)).windows(dataset.patches.size)
    roles = splits.window_roles(dataset.splits, name, grid, windows)
    return TileFootprints(name, grid, windows, roles, splits.held_out(dataset.splits, name, grid))


def count_pixels(dataset: Dataset, sources: Sequence[TileProducts]) -> dict[str, list[statistics.Counts]]:
    """The counts of each tile's parts, by tile, made by as many workers as there are."""
    parts: list[statistics.Part] = []
    for source in sources:
        image, classes = imagery.inspect(dataset, source.tile.images), source.truth.file(CLASS_RASTER)
        name, dtype, nodata = source.tile.name, dataset.dtype, dataset.nodata
        parts += statistics.parts(name, image, classes, dtype, nodata, dataset.splits, rows=PART_ROWS)
    counts = compute.run(statistics.count, parts, cluster=dataset.cluster, label="statistics")
    by_tile: dict[str, list[statistics.Counts]] = {source.tile.name: [] for source in sources}
    for part, of_part in zip(parts, counts, strict=True):
        by_tile[part.tile].append(of_part)
    return by_tile


def train_statistics(dataset: Dataset, labelled: Sequence[statistics.Counts]) -> tuple[BandStatistics, ...]:
    """Statistics of each band over the train pixels.

    Raises:
        CatalogueError: there is no train pixel.
    """
    bands = statistics.band_statistics(dataset.bands, dataset.dtype, labelled)
    if not bands:
        where = f"{file_label('datasets', dataset.name)}: splits"
        fix = "leave a tile or some blocks to training"
        raise CatalogueError(Problem(where, "no train pixel with data", "something to train on", fix))
    return bands


def drift_rows(
    dataset: Dataset,
    trained: Sequence[Histogram],
    counts: Mapping[str, Sequence[statistics.Counts]],
    sources: Sequence[TileProducts],
) -> list[dict[str, Any]]:
    """How far each tile's bands lie from those of the train pixels; of tiles without labels, too."""
    bands, dtype = dataset.bands, dataset.dtype
    tiles = {name: statistics.histograms(len(bands), dtype, parts, train=False) for name, parts in counts.items()}
    rows = drift.rows(tiles, trained, bands, dataset.limits.max_drift)
    if dataset.radiometry is None:
        return rows
    images = {source.tile.name: imagery.inspect(dataset, source.tile.images) for source in sources}
    return [drift.with_unmatched(row, images[row["tile"]]) for row in rows]


def require_patches(dataset: Dataset, entries: Sequence[TileEntry]) -> None:
    """Raises CatalogueError where no patch is in any split: each overlaps several, or excluded pixels."""
    if not any(entry.counts[split] for entry in entries for split in SPLITS):
        where = f"{file_label('datasets', dataset.name)}: splits"
        fix = "take a larger `splits.block` or a smaller `patches.size`"
        raise CatalogueError(Problem(where, "no patch lies in one split alone", "patches to train on", fix))


def require_classes(dataset: Dataset, legend: Legend, entries: Sequence[TileEntry]) -> None:
    """Raises CatalogueError where all labels are of one class, and what has none is ignored."""
    labelled = [entry for entry in entries if entry.label_fingerprint]
    counts = np.sum([entry.class_pixels[split] for entry in labelled for split in SPLITS], axis=0)
    held = {name for name, count in zip(legend.names, counts, strict=True) if count}
    total = sum(entry.pixels for entry in labelled)
    problem = one_class_problem(dataset, legend, held, float(counts.sum()), float(total))
    if problem:
        raise CatalogueError(problem)


def require_one_resolution(dataset: Dataset, entries: Sequence[TileEntry]) -> None:
    """Raises CatalogueError where train pixels are of several sizes, which one model would not take."""
    trained = [entry for entry in entries if any(entry.class_pixels["train"])]
    sizes = {round(entry.resolution, 4): entry.name for entry in trained}
    if sizes and max(sizes) - min(sizes) > RESOLUTION_TOLERANCE * min(sizes):
        shown = ", ".join(f"{size:g} ({name})" for size, name in sorted(sizes.items()))
        fix = "resample the tiles to one resolution (gdalwarp -tr X Y -r average), or put them in a dataset each"
        where = f"{file_label('datasets', dataset.name)}: tiles"
        raise CatalogueError(Problem(where, f"train pixels of several sizes: {shown}", "one resolution", fix))


def matched_pictures(sources: Sequence[TileProducts]) -> dict[str, bytes]:
    """Pictures of the tiles whose radiometry is matched, before and after."""
    pictures = {s.tile.name: s.truth.file(ground_truth.RADIOMETRY) for s in sources}
    return {name: path.read_bytes() for name, path in pictures.items() if path.is_file()}


def tile_entry(
    source: TileProducts, footprints: TileFootprints, counts: Sequence[statistics.Counts], home: Path, legend: Legend
) -> TileEntry:
    """The manifest's entry of a tile, from its products and the counts of its parts."""
    tile, grid = source.tile, footprints.grid
    classes = np.sum([np.zeros((len(SPLITS), IGNORE + 1), np.int64), *(part.classes for part in counts)], axis=0)
    excluded = sum(part.excluded for part in counts) if tile.label else int(grid.shape[0]) * int(grid.shape[1])
    patches = {name: int((footprints.roles == role).sum()) for name, role in splits.ROLE_NAMES.items()}
    return TileEntry(
        name=tile.name,
        image=str(tile.image),
        further=tuple(map(str, tile.further)),
        stored_dtype=tile.stored_dtype,
        year=tile.year,
        label_year=tile.label_year,
        image_fingerprint=source.image,
        label_fingerprint=source.label,
        ground_truth=source.truth.path.relative_to(home.resolve()).as_posix(),
        ground_truth_fingerprint=source.truth.fingerprint,
        patches=source.patches.path.relative_to(home.resolve()).as_posix(),
        patches_fingerprint=source.patches.fingerprint,
        shape=(int(grid.shape[0]), int(grid.shape[1])),
        transform=tuple(grid.affine)[:6],
        crs=None if grid.crs is None else str(grid.crs),
        counts=patches,
        patch_roles=splits.encode(footprints.roles),
        class_pixels={name: tuple(classes[role, : len(legend.classes)].tolist()) for role, name in enumerate(SPLITS)},
        excluded_pixels=excluded,
    )


def summarise(manifest: DatasetManifest, sources: Sequence[TileProducts]) -> dict[str, Any]:
    """The summary of a dataset: pixels, patches, class fractions and weights, statistics and years.

    `coverage` is the fraction of the pixels of all tiles with labels that lie in a window.
    """
    patches = [source.patches.json(SUMMARY) for source in sources]
    sizes = [(tile.label_fingerprint is not None) * tile.shape[0] * tile.shape[1] for tile in manifest.tiles]
    counts = {key: sum(tile.counts[key] for tile in manifest.tiles) for key in splits.ROLE_NAMES}
    pixels = sum(tile.pixels for tile in manifest.tiles)
    labelled = sum(sum(tile.class_pixels[split]) for tile in manifest.tiles for split in SPLITS)
    return {
        "digest": manifest.digest,
        "ground": {split: asdict(ground(manifest, split)) for split in SPLITS},
        "tiles": len(manifest.tiles),
        "unlabelled_tiles": sum(tile.label_fingerprint is None for tile in manifest.tiles),
        "pixels": pixels,
        "labelled": labelled / pixels,
        "patches": counts,
        "patches_left_out": sum(tile["left_out"] for tile in patches),
        "coverage": float(np.average([tile["coverage"] for tile in patches], weights=sizes)),
        "class_shares": {
            split: dict(zip(manifest.legend.names, class_fractions(manifest, split), strict=True)) for split in SPLITS
        },
        "class_weights": dict(zip(manifest.legend.names, manifest.class_weights, strict=True)),
        "bands": [band.model_dump() for band in manifest.bands],
        "years": [asdict(years) for years in manifest.years()],
    }
