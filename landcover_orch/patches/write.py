"""Patch extraction: cuts a tile into its patch store, in whole shards, by as many workers as there are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch import compute, raster
from landcover_orch.config import Dataset
from landcover_orch.errors import LabelError
from landcover_orch.grid import Window, coverage, windows
from landcover_orch.ground_truth import build as truth
from landcover_orch.ground_truth.areas import area_problems, decision_problems
from landcover_orch.labels import fractions
from landcover_orch.legend import IGNORE, Legend
from landcover_orch.patches import VERSION, store
from landcover_orch.patches.row_buffer import RowBuffer
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.products import CLASS_RASTER, GROUND_TRUTH, PATCHES, SUMMARY
from landcover_orch.store.publish import Product, Recipe, Stage, current, publish
from landcover_orch.tiles import imagery
from landcover_orch.tiles.catalogue import image_fingerprint
from landcover_orch.tiles.tile import Tile

RUN_ROWS = 2048
"""Rows of the tile that one worker goes through without a break, so that few blocks are decoded twice."""

SMALL_CACHE = 32 * 2**20


def build(dataset: Dataset, legend: Legend, tile: Tile, home: Path) -> Product:
    """The published patch store of a tile, cut from its image and its current ground truth; empty without labels.

    Raises:
        IncompleteError: the tile has no ground truth.
        LabelError: its areas are not those of the labels, or its composites left no labelled ground.
        GridError: the tile is smaller than a patch and the edge policy is not `pad`.
    """
    labels = current(home / dataset.name / GROUND_TRUTH, tile.name)
    folder, present = home / dataset.name / PATCHES, partial(recipe, dataset, legend, tile, labels, home)

    def write(stage: Stage) -> None:
        require_agreement(labels)
        _write(stage, dataset, legend, tile, labels)

    return publish(folder, tile.name, present(), write, present=present)


def require_agreement(labels: Product) -> None:
    """Raises LabelError where ground truth lost an area, or decided nothing: training on it would be wrong."""
    summary = labels.json(SUMMARY)
    problems = [*area_problems(summary), *(decision_problems(summary) if "decisions" in summary else ())]
    if problems:
        raise LabelError(*problems)


def recipe(dataset: Dataset, legend: Legend, tile: Tile, labels: Product, home: Path) -> Recipe:
    """The build key of the patch store of a tile."""
    polygons = {"polygons": True} if truth.POLYGONS in labels.files else {}
    return Recipe(
        asset=PATCHES,
        version=VERSION,
        inputs={"image": image_fingerprint(tile, home / MEMORY), "ground_truth": labels.fingerprint},
        configuration={"patches": dataset.patches, "imagery": dataset.imagery, "classes": legend.names, **polygons},
    )


@dataclass(frozen=True)
class PatchSource:
    """The rasters that patches are cut from, as plain values that travel to a worker."""

    image: raster.Raster
    classes: Path
    polygons: Path | None
    """Their numbers, where the ground truth keeps fractions."""

    dtype: str
    nodata: raster.Nodata
    count: int

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays of patches that are written."""
        return (store.IMAGE, store.LABEL, *([store.POLYGON] if self.polygons else []))


@dataclass(frozen=True)
class ShardRun:
    """Shards that follow each other, written by one worker from top to bottom."""

    source: PatchSource
    path: Path
    shards: tuple[tuple[int, tuple[Window, ...]], ...]
    size: int
    """Patches of a whole shard."""


def _write(stage: Stage, dataset: Dataset, legend: Legend, tile: Tile, labels: Product) -> None:
    path = stage.path / store.STORE
    for leftover in path.rglob("*.__lock"):
        leftover.unlink()
    image = imagery.inspect(dataset, tile.images)
    cut = dataset.patches
    boxes = windows(image.shape, cut.size, cut.stride, cut.edge) if tile.label else []
    polygons = labels.file(truth.POLYGONS) if truth.POLYGONS in labels.files else None
    classes = labels.file(CLASS_RASTER)
    source = PatchSource(image, classes, polygons, dataset.dtype, dataset.nodata, len(legend.classes))
    index = patch_index(stage, path, dataset, legend, source, boxes)
    layout = _layout(dataset, image, len(index))
    runs = unfinished_runs(stage, source, path, layout, index.windows(cut.size))
    label = f"patches of {tile.name}"
    compute.run(write_run, runs, done=lambda run, _: mark_run(stage, run), cluster=dataset.cluster, label=label)
    stage.write_json(SUMMARY, summarise(dataset, legend, tile, image.shape, boxes, index, layout))


def _layout(dataset: Dataset, image: raster.Raster, patches: int) -> store.Layout:
    size = dataset.patches.size
    patch_bytes = image.count * size * size * np.dtype(dataset.dtype).itemsize
    shard = store.shard_size(dataset.patches.shard, patches, patch_bytes)
    return store.Layout(patches, image.count, size, dataset.dtype, shard, dataset.patches.compression)


def patch_index(
    stage: Stage,
    path: Path,
    dataset: Dataset,
    legend: Legend,
    source: PatchSource,
    boxes: Sequence[Window],
) -> store.Index:
    """The index of a store whose metadata lie on disk: those of a killed build, else counted and written now."""
    if not stage.done("layout"):
        index = select_patches(dataset, boxes, count_windows(dataset, source, boxes))
        attributes = {"bands": list(dataset.bands), "classes": list(legend.names), "ignore": IGNORE}
        fraction = declared_fractions(source, legend)
        store.create(path, _layout(dataset, source.image, len(index)), index, attributes, fraction)
        stage.mark("layout", *(file for file in sorted(path.rglob("*")) if file.is_file()))
    return store.read_index(path)


def declared_fractions(source: PatchSource, legend: Legend) -> NDArray[np.float32] | None:
    """(number, class) Fractions declared of the polygons whose pixels have no class; None where none are kept."""
    if source.polygons is None:
        return None
    declared = fractions.read(source.polygons.with_name(truth.COMPOSITION), legend.names)
    return np.where(declared.undecided[:, None], declared.normalised, 0).astype(np.float32)


def select_patches(dataset: Dataset, boxes: Sequence[Window], counts: NDArray[np.int64]) -> store.Index:
    """The index of the windows that are labelled enough, from their labelled pixels (window, class)."""
    labelled = (counts.sum(axis=1) / dataset.patches.size**2).astype(np.float32)
    enough = labelled >= np.float32(dataset.patches.min_labelled)
    corners = np.array([(box.row, box.col) for box in boxes], np.int64).reshape(-1, 2)[enough]
    return store.Index(corners[:, 0].copy(), corners[:, 1].copy(), labelled[enough], counts[enough])


def count_windows(dataset: Dataset, source: PatchSource, boxes: Sequence[Window]) -> NDArray[np.int64]:
    """Labelled pixels (window, class) of every window, counted by as many workers as there are."""
    groups = [tuple(group) for _, group in groupby(boxes, key=lambda box: box.row // RUN_ROWS)]
    counts = compute.run(count_classes, [(source, group) for group in groups], cluster=dataset.cluster, label="count")
    return np.concatenate([np.empty((0, source.count), np.int64), *counts])


def count_classes(job: tuple[PatchSource, Sequence[Window]]) -> NDArray[np.int64]:
    """Labelled pixels (window, class) of windows in row order."""
    source, boxes = job
    with raster.reader(raster.inspect(source.classes), nodata="none", cache=SMALL_CACHE) as classes:
        rows = RowBuffer(classes, fill=IGNORE)
        counts = [np.bincount(rows.cut(box).reshape(-1), minlength=IGNORE + 1) for box in boxes]
    return np.array(counts, np.int64)[:, : source.count]


def unfinished_runs(
    stage: Stage, source: PatchSource, path: Path, layout: store.Layout, boxes: Sequence[Window]
) -> list[ShardRun]:
    """The shards that are not finished, in runs of neighbours that begin within `RUN_ROWS` rows."""
    todo = [(k, first, last) for k, (first, last) in enumerate(layout.shards) if not stage.done(f"shard {k}")]
    groups = groupby(todo, key=lambda shard: boxes[shard[1]].row // RUN_ROWS)
    return [
        ShardRun(source, path, tuple((k, tuple(boxes[first:last])) for k, first, last in group), layout.shard)
        for _, members in groups
        if (group := list(members))
    ]


def cache_bytes(image: raster.Raster, size: int) -> int:
    """Bytes of GDAL's block cache: few where blocks end with the rows of patches, else a row of blocks a worker."""
    if all(size % file.block[0] == 0 for file in image.files):
        return SMALL_CACHE
    row = sum(file.block[0] * len(file.bands) * np.dtype(file.dtype).itemsize for file in image.files) * image.shape[1]
    return min(raster.CACHE_BYTES, max(SMALL_CACHE, row * (compute.workers() + 1)))


def write_run(run: ShardRun) -> int:
    """Number of patches written: the shards of a run, each in one piece."""
    source = run.source
    arrays = [store.open_array(run.path, name) for name in source.names]
    cache = cache_bytes(source.image, arrays[0].shape[-1])
    with ExitStack() as files:
        pixels = raster.reader(source.image, dtype=source.dtype, nodata=source.nodata, cache=cache)
        rows = [RowBuffer(files.enter_context(pixels), fill=0)]
        for path, fill in ((source.classes, IGNORE), (source.polygons, 0)):
            if path is not None:
                read = raster.reader(raster.inspect(path), nodata="none", cache=cache)
                rows.append(RowBuffer(files.enter_context(read), fill=fill))
        for shard, boxes in run.shards:
            for array, cut in zip(arrays, rows, strict=True):
                write_shard(array, cut, shard * run.size, boxes)
    return sum(len(boxes) for _, boxes in run.shards)


def write_shard(array: Any, rows: RowBuffer, first: int, boxes: Sequence[Window]) -> None:
    """Writes the patches of windows into an array of a store, from its patch `first` on, in one piece."""
    block = np.empty((len(boxes), *array.shape[1:]), array.dtype.numpy_dtype)
    for i, box in enumerate(boxes):
        block[i] = rows.cut(box)
    # the block is ours alone until it is written, so that tensorstore need not copy it first
    array[first : first + len(boxes)].write(block, can_reference_source_data_indefinitely=True).result()


def mark_run(stage: Stage, run: ShardRun) -> None:
    """Checkpoint: notes the shards of a run as written, so that a killed build goes on after them."""
    for shard, _ in run.shards:
        stage.mark(f"shard {shard}", *(store.shard_file(run.path, name, shard) for name in run.source.names))


def summarise(
    dataset: Dataset,
    legend: Legend,
    tile: Tile,
    shape: tuple[int, int],
    boxes: Sequence[Window],
    index: store.Index,
    layout: store.Layout,
) -> dict[str, Any]:
    """The summary of a tile's patches: windows, coverage and class pixels."""
    return {
        "tile": tile.name,
        **store.summarise(boxes, len(index)),
        "coverage": coverage(shape, list(boxes)),
        "labelled": float(index.labelled.mean(dtype=np.float64)) if len(index) else None,
        "class_pixels": dict(zip(legend.names, index.class_count.sum(axis=0).tolist(), strict=True)),
        "size": dataset.patches.size,
        "shards": len(layout.shards),
        "patches_per_shard": layout.shard,
    }
