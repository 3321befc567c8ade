"""Imagery guess: bands, dtype, nodata, CRS, resolution and years of orthophotos, each with its reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from landcover_orch.drafts.files import RasterFile
from landcover_orch.drafts.samples import PixelSample
from landcover_orch.errors import pluralise
from landcover_orch.grid import crs_label, resolution, unit_of_length

DTYPES = ("uint8", "uint16", "int16", "float32")
YEAR = re.compile(r"(?<!\d)(19[5-9]\d|20[0-4]\d)(?!\d)")

ZEROS = 0.01
"""Fraction of pixels that are 0 in all bands, from which on zeros may be nodata, where they lie in corners."""

LISTED = 4


@dataclass(frozen=True)
class Guess:
    """A value, why it was chosen, and questions that only a person can answer."""

    value: Any
    reason: str
    questions: tuple[str, ...] = field(default=())


def some(items: Iterable[str]) -> str:
    """The first items in a row, and how many more there are."""
    names = list(items)
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def bands(images: Sequence[RasterFile]) -> Guess:
    """Band names: by descriptions, else by the colour interpretation, else by their number."""
    for image in images:
        described = [text for text in image.raster.descriptions if text]
        if len(described) == image.raster.count and len(set(described)) == len(described):
            return Guess(described, f"by the bands' descriptions of {image.path}", alpha_questions(images))
    for image in images:
        roles = [role for role in image.roles if role != "alpha"]
        if roles[:3] == ["red", "green", "blue"] and len(roles) == image.raster.count:
            further = ["nir"] if len(roles) == 4 else [f"band_{n}" for n in range(4, len(roles) + 1)]
            reason = f"by the colour interpretation of {image.path}"
            asked = (f"bands {', '.join(further)}: the files do not say what they are",) if further else ()
            return Guess(["red", "green", "blue", *further], reason, (*asked, *alpha_questions(images)))
    count = images[0].raster.count
    usual = {1: ["grey"], 3: ["red", "green", "blue"], 4: ["red", "green", "blue", "nir"]}
    names = usual.get(count) or [f"band_{n}" for n in range(1, count + 1)]
    asked = () if count == 1 else ("are the bands in this order? the files do not say it",)
    return Guess(names, f"{pluralise(count, 'band')}, by their number alone", (*asked, *alpha_questions(images)))


def alpha_questions(images: Sequence[RasterFile]) -> tuple[str, ...]:
    """What to do where a band that is tagged as transparency is infrared."""
    tagged = [image for image in images if "alpha" in image.roles]
    if not tagged:
        return ()
    last = len(tagged[0].roles)
    select = f"`tiles.select: [{', '.join(map(str, range(1, last + 1)))}]`"
    return (
        f"band {last} of {some(image.path for image in tagged)} is tagged as transparency; if it is infrared: {select} "
        "and its name in `bands`",
    )


def dtype(images: Sequence[RasterFile], samples: Mapping[str, PixelSample]) -> tuple[Guess, dict[str, str]]:
    """The dtype that holds all files, and the dtype of each file that is stored in another one."""
    kinds = Counter(image.raster.dtype for image in images)
    common = np.result_type(*(np.dtype(kind) for kind in kinds))
    smallest, low, high = min(kinds, key=lambda kind: np.dtype(kind).itemsize), 0.0, 0.0
    others = [image for image in images if image.raster.dtype != smallest]
    if smallest in DTYPES and all(image.path in samples and samples[image.path].complete for image in others):
        low = min((samples[image.path].low for image in others), default=0.0)
        high = max((samples[image.path].high for image in others), default=0.0)
        limits = np.iinfo(smallest) if np.dtype(smallest).kind in "iu" else np.finfo(smallest)
        integral = all(np.dtype(image.raster.dtype).kind in "iu" for image in others)
        if others and integral and low >= limits.min and high <= limits.max:
            reason = f"{some(image.path for image in others)} store {low:g} to {high:g}, which fits"
            return Guess(smallest, reason), {image.path: image.raster.dtype for image in others}
    chosen = str(common) if str(common) in DTYPES else "float32" if common.kind == "f" else "uint16"
    reason = " and ".join(f"{kind} in {pluralise(count, 'file')}" for kind, count in kinds.items())
    asked: tuple[str, ...] = ()
    if str(common) not in DTYPES:
        option = {"float32": "Float32", "uint16": "UInt16"}[chosen]
        asked = (f"pixels of {common} are not read: convert them once with gdal_translate -ot {option}",)
    return Guess(chosen, reason, asked), {i.path: i.raster.dtype for i in images if i.raster.dtype != chosen}


def nodata(images: Sequence[RasterFile], samples: Mapping[str, PixelSample]) -> Guess:
    """The nodata value, with the counts that speak for it."""
    shown = [samples[image.path] for image in images if image.path in samples]
    pixels = sum(sample.pixels for sample in shown)
    of = f"{pixels:,} pixels" + ("" if all(s.complete for s in shown) and len(shown) == len(images) else " of a sample")
    tags = sorted({image.raster.nodata for image in images if image.raster.nodata is not None})
    zeros, corners = sum(s.zeros for s in shown), sum(s.corners for s in shown)
    if tags:
        tagged, hidden = sum(s.tagged for s in shown), sum(s.hidden for s in shown)
        counts = (
            f"the tag {', '.join(f'{tag:g}' for tag in tags)} is the value of a band in {tagged:,}, of all bands in "
        )
        counts += f"{hidden:,} of {of}"
        if tagged > 2 * hidden:
            return Guess("none", f"{counts}: an ordinary value, no mark of missing pixels")
        return Guess("file", counts)
    if any(image.raster.mask in ("alpha", "mask band") for image in images):
        return Guess("file", "the files mask their pixels without data")
    if pixels and zeros / pixels >= ZEROS and corners:
        return Guess(
            0,
            f"no file states one; {zeros:,} of {of} are 0 in all bands, "
            f"{pluralise(corners, 'corner')} of tiles among them",
        )
    return Guess("file", f"no file states one; {zeros:,} of {of} are 0 in all bands")


def crs(images: Sequence[RasterFile], vector_labels: bool) -> tuple[Guess, float | None]:
    """The CRS, and the side of a pixel where files say nothing of either."""
    without = [image.path for image in images if image.raster.grid.crs is None]
    if without and vector_labels:
        question = f"{some(without)} state no CRS: write it here as EPSG:n, or add it with gdal_edit.py -a_srs EPSG:n"
        return Guess("file", "polygons need one", (question,)), None
    if len(without) == len(images):
        question = "no file says where it lies: state the side of a pixel in metres as `resolution`"
        return Guess("none", "no file states a CRS", (question,)), 1.0
    groups: dict[str, list[str]] = {}
    for image in images:
        name = crs_label(image.raster.grid.crs) if image.raster.grid.crs else "none"
        groups.setdefault(name, []).append(image.path)
    listed = "; ".join(f"{name} in {len(paths)} ({some(paths)})" for name, paths in groups.items())
    asked = []
    if without:
        asked.append(f"{some(without)} state no CRS: add it with gdal_edit.py -a_srs EPSG:n")
    elif len(groups) > 1:
        asked.append(
            "tiles of several CRSs: each is read in its own; one dataset of one CRS is easier (gdalwarp -t_srs)"
        )
    return Guess("file", f"each file states its own: {listed}", tuple(asked)), None


def resolutions(images: Sequence[RasterFile]) -> Iterator[str]:
    """What is said of the size of a pixel: what it is, and what to do where it differs."""
    groups: dict[str, list[str]] = {}
    for image in images:
        unit = unit_of_length(image.raster.grid) or "m"
        groups.setdefault(f"{resolution(image.raster.grid):.2g} {unit}", []).append(image.path)
    yield "a pixel is " + "; ".join(f"{size} in {some(paths)}" for size, paths in groups.items())
    if len(groups) > 1:
        finest = min(groups, key=lambda size: float(size.split()[0]))
        yield f"resolutions differ, and a model learns sizes in pixels: warp the others once to {finest} or coarser "
        yield "(gdalwarp -tr), or write a dataset for each"


def years(paths: Mapping[str, str]) -> dict[str, int]:
    """The year that each path names, by key; of several the last, of a folder where the file has none."""
    named = {}
    for key, path in paths.items():
        for part in reversed(path.split("/")):
            if matches := YEAR.findall(part):
                named[key] = int(matches[-1])
                break
    return named
