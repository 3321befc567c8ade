"""Training data summary: tiles, patches and classes by split before anything is built, and what cannot be learnt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from landcover_orch.config import Dataset, file_label
from landcover_orch.errors import GridError, LandcoverError, Problem, pluralise
from landcover_orch.grid import Window, blocks, starts
from landcover_orch.legend import IGNORE, Legend
from landcover_orch.patches.ground import ONE_CLASS
from landcover_orch.tiles.tile import Tile

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from landcover_orch.patches.footprints import TileFootprints
    from landcover_orch.raster import Raster

MAX_TILES = 128
"""Tiles whose labels are read; of more, as many at random, for a regular step could miss a split."""

MAX_PIXELS = 2**22
"""Pixels up to which a tile's labels are read whole; of larger tiles `SAMPLES` x `SAMPLES` windows are."""

SAMPLES, SAMPLE_SIDE = 16, 128
STRIP_ROWS = 512

MAX_STARTS = 128
"""Windows along an axis whose split is computed; of more, as many evenly spread, and the count is scaled."""

MAX_COMPARED = 200_000
"""Windows of all tiles up to which those on held-out ground of other tiles are sought."""

FEW = 1_000
"""Train pixels below which a class is called rare."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class TileSummary:
    """What a tile brings: its size, label pixels (role, class; 255 = ignored), and its windows with their roles.

    Each window stands for `scale` patches. `classes` are those that its labels hold anywhere; `complete` says that its
    labels were read to the last pixel.
    """

    size: int
    pixels: NDArray[np.float64]
    windows: TileFootprints
    scale: float
    classes: frozenset[int] = frozenset()
    complete: bool = True


@dataclass(frozen=True)
class TrainingData:
    """Tiles, patches and pixels of each class by split, estimated where `exact` is false.

    `complete` says that the labels of the tiles that were read were read to the last pixel.
    """

    names: tuple[str, ...]
    tiles: dict[str, int]
    patches: dict[str, int]
    pixels: NDArray[np.float64]
    size: int
    labelled_tiles: int
    read_tiles: int
    complete: bool
    held: frozenset[int] = frozenset()
    problems: tuple[Problem, ...] = field(default=())
    grids: tuple[GeoBox, ...] = ()

    def table(self) -> Iterator[str]:
        """Lines of a table: a column a split, a row for tiles, patches, and each class's fraction of labelled pixels.

        A tile that is divided into blocks counts in each split that it has patches in.
        """
        width = max(map(len, (*self.names, "unlabelled, ignored")))
        yield f"{'':<{width}}" + "".join(f"{split:>14}" for split in SPLITS)
        for label, counts in (("tiles with patches", self.tiles), ("patches", self.patches)):
            yield f"{label:<{width}}" + "".join(f"{counts[split]:>14,}" for split in SPLITS)
        labelled = self.pixels[:, :IGNORE].sum(axis=1)
        for number, name in enumerate(self.names):
            yield f"{name:<{width}}" + "".join(map(_percent, self.pixels[:3, number], labelled))
        yield f"{'unlabelled, ignored':<{width}}" + "".join(map(_percent, self.pixels[:3, IGNORE], self.pixels.sum(1)))
        dropped = self.patches["dropped"] + self.patches["excluded"]
        if dropped:
            lost = pluralise(dropped, "patch is", "patches are")
            yield f"{lost} in no split, as what lies over a border between two, or on excluded pixels"
        yield self.source

    @property
    def exact(self) -> bool:
        """Whether all labels were read to the last pixel."""
        return self.complete and self.read_tiles == self.labelled_tiles

    @property
    def source(self) -> str:
        """What the table is made from."""
        of = f" of {self.read_tiles} of {self.labelled_tiles} tiles" if self.read_tiles < self.labelled_tiles else ""
        sampled = "" if self.complete else f" in a sample of {SAMPLES} x {SAMPLES} windows of {SAMPLE_SIDE} px a tile"
        return f"Patches by geometry, classes by the labels{of}{sampled}; nodata of the orthophotos is not counted."

    def cannot_be_learnt(self) -> Iterator[str]:
        """What cannot be learnt, chosen by or scored, with the reason, a line each."""
        for split, use in zip(
            SPLITS, ("nothing is trained", "no checkpoint is chosen", "nothing is scored"), strict=True
        ):
            if not self.patches[split]:
                yield f"no patch is {split}, so {use}: correct `splits`, or take a smaller `patches.size`"
        yield from self.uneven_splits()
        present = self.pixels[:, : len(self.names)].sum(axis=0)
        if (present > 0).sum() == 1:
            yield f"nothing can be learnt: all labels are {self.names[int(present.argmax())]!r}"
        for number, name in enumerate(self.names):
            yield from self.class_remarks(name, self.pixels[:3, number], number in self.held)

    def uneven_splits(self) -> Iterator[str]:
        """Splits that choose or judge models on ground of hardly more than one class, where training has others."""
        fractions = [row / row.sum() if row.sum() else row for row in self.pixels[:3, : len(self.names)]]
        for split, row in zip(SPLITS[1:], fractions[1:], strict=True):
            number = int(row.argmax())
            if row[number] > ONE_CLASS > fractions[0][number]:
                use = "chosen" if split == "validation" else "judged"
                held, trained = (f"{100 * part[number]:.0f} %" for part in (row, fractions[0]))
                ground = f"{split} ground is {held} {self.names[number]}, train ground {trained}"
                yield f"{ground}: models are hardly to be {use} by it; name other tiles in `splits`"

    def class_remarks(self, name: str, pixels: NDArray[np.float64], held: bool) -> Iterator[str]:
        """Why a class cannot be learnt or scored.

        Args:
            name: of the class.
            pixels: train, validation, test.
            held: whether any label is of the class.
        """
        train, _, test = pixels
        sample = "" if self.exact else "of the sample "
        if not held:
            yield f"{name}: cannot be learnt, as no label {sample}is of this class"
        elif not train:
            yield f"{name}: cannot be learnt, as no train pixel {sample}is of this class"
        elif train < FEW:
            yield f"{name}: hardly to be learnt from {pluralise(round(train), 'train pixel')}"
        if held and self.patches["test"] and not test:
            yield f"{name}: not scored, as no test pixel {sample}is of this class"


def _percent(part: float, total: float) -> str:
    return f"{'-':>14}" if not part else f"{100 * part / total:>13.1f}%"


def training_data(dataset: Dataset, legend: Legend, tiles: Sequence[Tile]) -> TrainingData:
    """Summary of a dataset's training data, from headers and labels; no pixel of an orthophoto is read.

    A tile that cannot be read becomes a problem; the others are summed.
    """
    labelled = [tile for tile in tiles if tile.label and tile.name not in dataset.tiles.go_on_without]
    drawn = set(np.random.default_rng(0).permutation(len(labelled))[:MAX_TILES].tolist())
    summaries, problems = [], dict[Problem, None]()
    for index, tile in enumerate(labelled):
        try:
            summaries.append(tile_summary(dataset, legend, tile, read=index in drawn))
        except LandcoverError as error:
            problems |= dict.fromkeys(error.problems)
    summaries, leaks = without_leaks(dataset, summaries)
    return summed(legend, summaries, len(labelled), len(drawn), (*problems, *leaks))


def without_leaks(dataset: Dataset, summaries: list[TileSummary]) -> tuple[list[TileSummary], list[Problem]]:
    """The tiles without train windows on held-out ground of other tiles, or the problems that such windows are.

    Of many windows nothing is compared here: the manifest compares them all.
    """
    from landcover_orch.patches.leak import dropped, leaks

    windows = [tile.windows for tile in summaries]
    if sum(len(tile.windows) for tile in windows) > MAX_COMPARED:
        return summaries, []
    if dataset.splits.on_overlap == "refuse":
        exact = not dataset.patches.min_labelled and all(tile.scale == 1 for tile in summaries)
        return summaries, leaks(windows) if exact else []
    return [replace(tile, windows=left) for tile, left in zip(summaries, dropped(windows), strict=True)], []


def summed(
    legend: Legend, summaries: Sequence[TileSummary], labelled: int, read: int, problems: tuple[Problem, ...]
) -> TrainingData:
    """The sum of the tiles' summaries."""
    from landcover_orch.patches.splits import ROLE_NAMES

    patches = {
        name: [tile.scale * int((tile.windows.roles == role).sum()) for tile in summaries]
        for name, role in ROLE_NAMES.items()
    }
    return TrainingData(
        names=legend.names,
        tiles={split: sum(count > 0 for count in patches[split]) for split in SPLITS},
        patches={name: round(sum(counts)) for name, counts in patches.items()},
        pixels=sum((tile.pixels for tile in summaries), np.zeros((4, IGNORE + 1))),
        size=sum(tile.size for tile in summaries),
        labelled_tiles=labelled,
        read_tiles=read,
        complete=all(tile.complete for tile in summaries),
        held=frozenset().union(*(tile.classes for tile in summaries)),
        problems=problems,
        grids=tuple(tile.windows.grid for tile in summaries),
    )


def tile_summary(dataset: Dataset, legend: Legend, tile: Tile, *, read: bool = True) -> TileSummary:
    """What one tile brings; without `read` its patches alone.

    Raises:
        LandcoverError: its orthophoto or labels cannot be read, or hold codes that the legend lacks.
    """
    from landcover_orch.tiles import imagery

    image = imagery.orthophoto(dataset, tile.image)
    size = image.shape[0] * image.shape[1]
    if not read:
        windows, scale = tile_windows(dataset, tile.name, image.grid)
        return TileSummary(size, np.zeros((4, IGNORE + 1)), windows, scale)
    complete = size <= MAX_PIXELS
    boxes = blocks(image.shape, STRIP_ROWS, image.shape[1]) if complete else sample_windows(image.shape)
    pixels, fractions, mask, held = label_counts(dataset, legend, tile, image, boxes)
    windows, scale = tile_windows(dataset, tile.name, image.grid, mask if complete else None)
    if not complete:
        scale *= float((fractions >= dataset.patches.min_labelled).mean())
        pixels *= size / pixels.sum()
    return TileSummary(size, pixels, windows, scale, held, complete)


def label_counts(
    dataset: Dataset, legend: Legend, tile: Tile, image: Raster, boxes: Sequence[Window]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], frozenset[int]]:
    """Labels of a tile in some windows: pixels (role, class), labelled fraction of each window, mask, classes held."""
    from landcover_orch.ground_truth.build import code_numbers, read_labels
    from landcover_orch.labels.codes import to_classes
    from landcover_orch.patches.splits import roles

    codes, pixels, fractions = code_numbers(dataset, legend, tile), np.zeros((4, IGNORE + 1)), []
    labels = read_labels(dataset, legend, tile, image, boxes, codes)
    mask = np.zeros(image.shape, bool)
    for box, strip in zip(boxes, labels.strips, strict=True):
        classes = to_classes(strip, codes)
        joint = roles(dataset.splits, tile.name, image.grid, box).astype(np.intp) * (IGNORE + 1) + classes
        pixels += np.bincount(joint.reshape(-1), minlength=pixels.size).reshape(pixels.shape)
        mask[box.slices] = classes != IGNORE
        fractions.append(float(mask[box.slices].mean()))
    held = np.flatnonzero(pixels[:, :IGNORE].sum(axis=0)).tolist()
    if labels.polygons is not None:
        held += np.unique(codes.classes[labels.polygons.number]).tolist()
    return pixels, np.array(fractions), mask, frozenset(held) - {IGNORE}


def sample_windows(shape: tuple[int, int]) -> list[Window]:
    """Windows evenly spread over a tile, `SAMPLES` along each axis where it is long enough."""
    rows, cols = (spread([*range(0, max(length - SAMPLE_SIDE, 0) + 1, SAMPLE_SIDE)], SAMPLES) for length in shape)
    return [Window(row, col, SAMPLE_SIDE, SAMPLE_SIDE).within(shape) for row in rows for col in cols]


def spread(values: list[int], most: int) -> list[int]:
    """At most so many of the values, the first and the last among them, evenly spread."""
    if len(values) <= most:
        return values
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def tile_windows(
    dataset: Dataset, tile: str, grid: GeoBox, mask: NDArray[np.bool_] | None = None
) -> tuple[TileFootprints, float]:
    """Windows of a tile with their roles, and for how many patches each stands: of many windows some are taken.

    Args:
        dataset: its patch settings and splits.
        tile: its name.
        grid: its grid.
        mask: (y, x) of labelled pixels, for `patches.min_labelled`; None where that is not known.

    Raises:
        GridError: the tile is smaller than a patch.
    """
    from landcover_orch.patches.footprints import TileFootprints
    from landcover_orch.patches.splits import held_out, window_roles

    cut, shape = dataset.patches, (int(grid.shape[0]), int(grid.shape[1]))
    try:
        rows, cols = (starts(length, cut.size, cut.stride, cut.edge) for length in shape)
    except GridError as error:
        found, expected = f"{shape[0]} x {shape[1]} px", f"a patch of {cut.size} px (`patches.size`) at least"
        raise GridError(Problem(f"tile {tile}", found, expected, error.problems[0].fix)) from error
    some_rows, some_cols = spread(rows, MAX_STARTS), spread(cols, MAX_STARTS)
    windows = [Window(row, col, cut.size, cut.size) for row in some_rows for col in some_cols]
    if mask is not None and cut.min_labelled:
        windows = [window for window in windows if labelled_fraction(mask, window) >= cut.min_labelled]
    scale = len(rows) * len(cols) / (len(some_rows) * len(some_cols))
    held = held_out(dataset.splits, tile, grid) if scale == 1 else []
    return TileFootprints(tile, grid, windows, window_roles(dataset.splits, tile, grid, windows), held), scale


def labelled_fraction(mask: NDArray[np.bool_], window: Window) -> float:
    """Fraction of a window that is labelled; what lies beyond the tile is not."""
    return float(mask[window.within(mask.shape).slices].sum()) / (window.height * window.width)


def empty_split_problems(dataset: Dataset, data: TrainingData) -> Iterator[Problem]:
    """The problem of splits that are asked for by blocks and get no patch, as a block is larger than any tile."""
    from landcover_orch.grid import resolution, unit_of_length

    splits = dataset.splits
    by_blocks = [split for split in ("validation", "test") if getattr(splits, split).blocks]
    empty = [split for split in by_blocks if not data.patches[split]]
    side = max((max(grid.shape) * resolution(grid) for grid in data.grids), default=0)
    patch = dataset.patches.size * resolution(data.grids[0]) if data.grids else 0.0
    if not empty or not data.grids or splits.block <= side or side < 2 * patch:  # a smaller block would not help either
        return
    unit = unit_of_length(data.grids[0]) or "px"
    text = f"no patch is {' or '.join(empty)}: a block is {splits.block:g} {unit}, the largest tile {side:g} {unit}"
    fix = f"set `splits.block: {max(patch, side / 4):.3g}`, or name tiles in `splits.{empty[0]}.tiles`"
    where = f"{file_label('datasets', dataset.name)}: splits.block"
    yield Problem(where, text, f"blocks smaller than a tile and larger than a patch ({patch:g} {unit})", fix)


def single_class_problem(dataset: Dataset, legend: Legend, data: TrainingData) -> Problem | None:
    """The problem of labels that all are of one class; None where there is another, or not all labels were read."""
    from landcover_orch.patches.one_class import one_class_problem

    if not data.exact:
        return None
    pixels = data.pixels[:3]
    held = {legend.names[number] for number in data.held}
    return one_class_problem(dataset, legend, held, float(pixels[:, :IGNORE].sum()), float(pixels.sum()))
