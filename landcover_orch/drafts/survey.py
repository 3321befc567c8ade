"""Tile survey: which files of a folder are orthophotos, which are labels, and what they were paired by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import shapely

from landcover_orch.drafts import labels
from landcover_orch.drafts.files import RasterFile, Scan, VectorFile
from landcover_orch.drafts.imagery import some
from landcover_orch.drafts.labels import LabelGuess
from landcover_orch.drafts.pairing import LABEL_WORDS, paired
from landcover_orch.drafts.samples import PixelSample, sample
from landcover_orch.errors import CatalogueError, LandcoverError, Problem, pluralise
from landcover_orch.grid import bounding_boxes, corner_distance
from landcover_orch.labels.vectors import meets, readable
from landcover_orch.tiles.imagery import TOLERANCE

MAX_SHARED = 8
"""Label files without an orthophoto of their name that are held against all orthophotos, the largest first."""

MAX_SAMPLED = 24
"""Rasters whose pixels are looked at; of more, as many evenly spread."""


@dataclass(frozen=True)
class Survey:
    """The orthophotos of a folder, the label file of each (or one of all), how labels are read, and what was seen."""

    images: tuple[RasterFile, ...]
    label_of: Mapping[str, str]
    shared: str | None
    labels: LabelGuess
    samples: Mapping[str, PixelSample]
    reason: str
    remarks: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def labelled(self) -> list[RasterFile]:
        """The orthophotos with labels."""
        return [image for image in self.images if image.path in self.label_of]

    @property
    def bare(self) -> list[RasterFile]:
        """The orthophotos without labels."""
        return [image for image in self.images if image.path not in self.label_of]


@dataclass(frozen=True)
class Candidate:
    """A way to label the orthophotos: files by image, or one of all, and how they are read."""

    label_of: Mapping[str, str]
    shared: str | None
    guess: LabelGuess
    reason: str


def survey(files: Scan) -> Survey:
    """What the files of a folder are.

    Raises:
        CatalogueError: there is no orthophoto, or nothing that labels one, with what there is instead.
    """
    samples, problems = sampled(files.rasters)
    broken = {problem.where.partition(": rows")[0] for problem in problems}
    rasters = [file for file in files.rasters if str(file.raster.path) not in broken]
    images, masks = told_apart(rasters, samples)
    problems = (*files.problems, *problems)
    if not images:
        raise CatalogueError(*problems, no_image(files, masks))
    kinds = {file.raster.count: [i for i in images if i.raster.count == file.raster.count] for file in images}
    found = [
        (count, candidate)
        for count, of_kind in kinds.items()
        for candidate in (
            *vector_candidates(of_kind, files.vectors),
            *raster_candidates(of_kind, masks, samples),
        )
    ]
    if not found:
        raise CatalogueError(*problems, *other_grids(images, masks), no_label(files, images, masks))
    bands, best = max(found, key=lambda pair: (len(pair[1].label_of), pair[0]))
    images, other = kinds[bands], [image for image in images if image.raster.count != bands]
    remarks = [f"bands of another kind, not used: {some(file.path for file in other)} (see `tiles.further`)"] * bool(
        other
    )
    others = [candidate for count, candidate in found if candidate is not best and count == bands]
    remarks += [f"other labels: {described(candidate)}" for candidate in others]
    label_of = {image.path: best.label_of[image.path] for image in images if image.path in best.label_of}
    return Survey(tuple(images), label_of, best.shared, best.guess, samples, best.reason, tuple(remarks), problems)


def sampled(rasters: Sequence[RasterFile]) -> tuple[dict[str, PixelSample], tuple[Problem, ...]]:
    """Pixel samples by path, of each folder and number of bands some; and the problems of those that cannot be read."""
    groups: dict[tuple[str, int, str], list[RasterFile]] = {}
    for file in rasters:
        groups.setdefault((file.path.rpartition("/")[0], file.raster.count, file.raster.dtype), []).append(file)
    samples: dict[str, PixelSample] = {}
    problems: list[Problem] = []
    for group in groups.values():
        for file in group[:: max(1, -(-len(group) // MAX_SAMPLED))]:
            try:
                samples[file.path] = sample(file.raster)
            except LandcoverError as error:
                problems.extend(error.problems)
    return samples, tuple(problems)


def told_apart(
    rasters: Sequence[RasterFile], samples: Mapping[str, PixelSample]
) -> tuple[list[RasterFile], list[RasterFile]]:
    """Orthophotos and label rasters: of few values or colours, beside others of many, or named as labels."""
    few = {path for path, of_file in samples.items() if of_file.codes is not None}
    kinds = {
        (file.path.rpartition("/")[0], file.raster.count, file.raster.dtype) for file in rasters if file.path in few
    }
    named = {file.path for file in rasters if LABEL_WORDS.search(file.path)}
    masks = [
        file
        for file in rasters
        if file.path in few
        or (
            file.path not in samples
            and file.path in named
            and (file.path.rpartition("/")[0], file.raster.count, file.raster.dtype) in kinds
        )
    ]
    if len(masks) == len(rasters):
        masks = [file for file in masks if file.path in named]
    taken = {file.path for file in masks}
    return [file for file in rasters if file.path not in taken], masks


def vector_candidates(images: Sequence[RasterFile], vectors: Sequence[VectorFile]) -> list[Candidate]:
    """Polygons that label the orthophotos: a file each, or one of all."""
    by_path = {file.path: file for file in vectors}
    pairs, way = paired([image.path for image in images], list(by_path))
    result = []
    own = [by_path[path] for path in dict.fromkeys(pairs.values())]
    guess = labels.of_polygons(own) if own else None
    if guess:
        result.append(Candidate(pairs, None, guess, f"files with the orthophotos' {way}"))
    rest = [file for file in vectors if len(own) == 1 or file.path not in pairs.values()]
    for file in sorted(rest, key=lambda file: -int(file.info["features"]))[:MAX_SHARED]:
        on = [image for image in images if lies_on(file, image)]
        shared_guess = labels.of_polygons([file]) if len(on) > (file.path in pairs.values()) else None
        if shared_guess:
            reason = f"one file, whose polygons lie on {len(on)} of {pluralise(len(images), 'orthophoto')}"
            result.append(Candidate({image.path: file.path for image in on}, file.path, shared_guess, reason))
    return result


def lies_on(file: VectorFile, image: RasterFile) -> bool:
    """Whether a vector file has a feature on an orthophoto."""
    grid, crs = image.raster.grid, file.info["crs"]
    if grid.crs is None or crs is None:
        return False
    try:
        with readable(file.full):
            return meets(file.full, file.layer, grid, crs)
    except LandcoverError:
        return False


def raster_candidates(
    images: Sequence[RasterFile], masks: Sequence[RasterFile], samples: Mapping[str, PixelSample]
) -> list[Candidate]:
    """Label rasters on the orthophotos' grids: a file each, or one of all."""
    by_path = {file.path: file for file in masks}
    of_image = {image.path: image for image in images}
    result = []
    pairs, way = paired(list(of_image), list(by_path))
    pairs = {image: mask for image, mask in pairs.items() if same_grid(of_image[image], by_path[mask])}
    if pairs:
        guess = raster_guess([by_path[mask] for mask in pairs.values()], samples)
        result.append(Candidate(pairs, None, guess, f"rasters of few values with the orthophotos' {way}"))
    for mask in [mask for mask in masks if mask.path not in pairs.values()][:MAX_SHARED]:
        on = [image for image in images if same_grid(image, mask)]
        if on:
            reason = f"one raster of few values, on the grid of {len(on)} of {pluralise(len(images), 'orthophoto')}"
            label_of = {image.path: mask.path for image in on}
            result.append(Candidate(label_of, mask.path, raster_guess([mask], samples), reason))
    return result


def raster_guess(masks: Sequence[RasterFile], samples: Mapping[str, PixelSample]) -> LabelGuess:
    """How label rasters are read."""
    shown = [samples[mask.path] for mask in masks if mask.path in samples]
    return labels.of_rasters(shown, masks[0].raster.palette, masks[0].raster.nodata)


def same_grid(image: RasterFile, mask: RasterFile) -> bool:
    """Whether a label raster lies pixel by pixel on an orthophoto; without a place the shape decides."""
    first, second = image.raster, mask.raster
    if first.shape != second.shape or first.grid.crs != second.grid.crs:
        return False
    return corner_distance(first.grid, second.grid) <= TOLERANCE


def described(candidate: Candidate) -> str:
    """A way to label the orthophotos in a few words."""
    guess, files = candidate.guess, sorted(set(candidate.label_of.values()))
    column = f", column {guess.column}" if guess.column else ""
    return f"{some(files)} (kind {guess.kind}{column}, {pluralise(len(guess.codes), 'code')})"


def overlapping(images: Sequence[RasterFile]) -> list[tuple[str, str]]:
    """Pairs of orthophotos that lie on the same ground."""
    placed = [image for image in images if image.raster.grid.crs is not None]
    if not placed:
        return []
    crs = str(placed[0].raster.grid.crs)
    boxes = [
        shapely.union_all([shapely.box(*bounds) for bounds in bounding_boxes(image.raster.grid, crs)])
        for image in placed
    ]
    small = [shapely.buffer(box, -0.001 * box.length) for box in boxes]
    pairs = shapely.STRtree(small).query(small, predicate="intersects").T.tolist()
    return [(placed[i].path, placed[j].path) for i, j in pairs if i < j]


def other_grids(images: Sequence[RasterFile], masks: Sequence[RasterFile]) -> list[Problem]:
    """The problems of label rasters that bear an orthophoto's name and lie on another grid."""
    pairs, _ = paired([image.path for image in images], [mask.path for mask in masks])
    of_image, of_mask = ({file.path: file.raster for file in files} for files in (images, masks))
    fix = "warp the labels once onto the orthophoto's grid (gdalwarp -te ... -ts ... -r near)"
    return [
        Problem(
            str(of_mask[label].path),
            f"{of_mask[label].shape[0]} x {of_mask[label].shape[1]} pixels, another grid",
            f"that of {image}: {of_image[image].shape[0]} x {of_image[image].shape[1]} pixels",
            fix,
        )
        for image, label in pairs.items()
    ]


def no_image(files: Scan, masks: Sequence[RasterFile]) -> Problem:
    """The problem of a folder without orthophotos."""
    others = ", ".join(f"{count} {ending}" for ending, count in files.others.most_common(6)) or "nothing else"
    rasters, vectors = pluralise(len(masks), "raster"), pluralise(len(files.vectors), "vector file")
    found = f"no orthophoto: {rasters} of labels, {vectors}, {others}"
    return Problem(
        str(files.folder), found, "GeoTIFFs (.tif)", "name another folder, or convert: gdal_translate -of GTiff"
    )


def no_label(files: Scan, images: Sequence[RasterFile], masks: Sequence[RasterFile]) -> Problem:
    """The problem of orthophotos that nothing labels."""
    seen = [*(file.path for file in files.vectors), *(mask.path for mask in masks)]
    found = f"{pluralise(len(images), 'orthophoto')} ({some(image.path for image in images)}) and no labels of them"
    found += f"; {some(seen)} lie on none, or have no column of codes" if seen else ""
    expected = "polygons with a column of codes (.gpkg, .shp, .geojson), or label rasters on the orthophotos' grids"
    return Problem(str(files.folder), found, expected, "add labels of one tile at least, or name the folder with both")
