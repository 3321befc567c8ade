"""Label guess: the column, the codes with their counts, names and colours, of polygons or of label rasters."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from landcover_orch.drafts.files import VectorFile
from landcover_orch.drafts.samples import PixelSample
from landcover_orch.errors import pluralise
from landcover_orch.grid import HECTARE
from landcover_orch.labels.codes import as_code
from landcover_orch.labels.vectors import readable

MAX_FEATURES = 100_000
"""Features of a file whose columns and areas are read."""

MAX_LABEL_FILES = 200
"""Label files that are read; of more, as many from the first on."""

MAX_CODES = 200
"""Distinct values up to which a column may hold codes."""

HINT = re.compile(
    r"class|clase|klass|code|codigo|lulc|cover|usage|use|type|categor|label|legend|kategor", re.IGNORECASE
)
WEAK_HINT = re.compile(r"id$|level|nivel|niveau|value|gridcode", re.IGNORECASE)
SERIAL = re.compile(r"^(fid|ogc_fid|objectid|index|id|gid|uuid)$", re.IGNORECASE)


@dataclass(frozen=True)
class Code:
    """A source code: the class it becomes (None: ignored), how often it occurs, and its area where that is known."""

    code: str
    name: str | None
    count: int
    hectares: float | None = None
    colour: str | None = None


@dataclass(frozen=True)
class LabelGuess:
    """How labels are read: kind, column, codes, and remarks with what else was seen.

    `layers` names the layer of each file that has several.
    """

    kind: str
    codes: tuple[Code, ...]
    column: str | None = None
    layers: Mapping[str, str] = field(default_factory=dict)
    unit: str = "polygon"
    complete: bool = True
    remarks: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Column:
    """A column of all label files: counts and areas (square units of the CRS) by code, features without a code."""

    name: str
    counts: Counter[str]
    areas: Mapping[str, float]
    missing: int

    def score(self, features: int) -> float:
        """How likely the column holds the codes of classes; below 0: it does not."""
        distinct = len(self.counts)
        if (
            not distinct
            or distinct > MAX_CODES
            or (distinct == features and features > 5 and not HINT.search(self.name))
        ):
            return -1.0
        if SERIAL.match(self.name) and not distinct * 10 <= features:
            return -1.0
        points = 3.0 * bool(HINT.search(self.name)) + 1.5 * bool(WEAK_HINT.search(self.name))
        points += (
            2.0 * (1 < distinct <= 60) - 2.0 * (self.missing / max(features, 1)) - 1.0 * bool(SERIAL.match(self.name))
        )
        return max(points, 0.0)


def of_polygons(files: Sequence[VectorFile]) -> LabelGuess | None:
    """The guess of polygons; None where no column can hold codes."""
    shown = files[:MAX_LABEL_FILES]
    tables = [read(file) for file in shown]
    names = [name for name in tables[0] if all(name in table for table in tables)] if tables else []
    columns = [column_of(name, tables) for name in names]
    features = sum(len(next(iter(table.values()))[0]) for table in tables if table)
    ranked = sorted(columns, key=lambda column: -column.score(features))
    ranked = [column for column in ranked if column.score(features) >= 0]
    if not ranked:
        return None
    best = ranked[0]
    title = names_of(best.name, tables, [column.name for column in columns])
    metres = all(in_metres(file) for file in shown)
    codes = tuple(
        Code(
            code,
            title.get(code, f"class {code}") if title else (code if not code.isdecimal() else f"class {code}"),
            count,
            best.areas[code] / HECTARE if metres else None,
        )
        for code, count in sorted(best.counts.items(), key=lambda item: natural(item[0]))
    )
    remarks = list(column_remarks(best, ranked[1:], title))
    complete = len(shown) == len(files) and all(file.info["features"] <= MAX_FEATURES for file in files)
    layers = {file.path: file.layer for file in files if file.layers > 1}
    return LabelGuess("vector", codes, best.name, layers, complete=complete, remarks=tuple(remarks))


def column_remarks(best: Column, others: Sequence[Column], titled: Mapping[str, str | None]) -> Iterator[str]:
    """What else could be the column, and what is wrong with this one."""
    if others:
        listed = ", ".join(f"{column.name} ({pluralise(len(column.counts), 'value')})" for column in others[:6])
        yield f"other columns: {listed}"
    if best.missing:
        without = pluralise(best.missing, "polygon has", "polygons have")
        yield f"{without} no {best.name}: give each a code, or delete it"
    if any(name is None for name in titled.values()):
        yield "codes without a name are ignored: name a class where they are one"


def read(file: VectorFile) -> dict[str, tuple[NDArray[Any], NDArray[np.float64]]]:
    """Values and areas of the features of a file by column; of dates and measures none."""
    kinds = dict(zip(file.info["fields"], file.info["dtypes"], strict=True))
    columns = [str(name) for name, dtype in kinds.items() if not str(dtype).startswith("datetime")]
    if not columns:
        return {}
    with readable(file.full):
        meta, _, wkb, data = pyogrio.raw.read(
            file.full, layer=file.layer, columns=columns, max_features=MAX_FEATURES, force_2d=True
        )
    areas = np.nan_to_num(shapely.area(shapely.from_wkb(wkb, on_invalid="ignore")))
    return {str(name): (values, areas) for name, values in zip(meta["fields"], data, strict=True)}


def column_of(name: str, tables: Sequence[Mapping[str, tuple[NDArray[Any], NDArray[np.float64]]]]) -> Column:
    """Counts and areas by code of a column of several files; a column of measures has none."""
    counts: Counter[str] = Counter()
    areas: dict[str, float] = defaultdict(float)
    missing = 0
    for table in tables:
        values, sizes = table[name]
        if values.dtype.kind == "f" and not np.all(np.mod(values[np.isfinite(values)], 1) == 0):
            return Column(name, Counter(), {}, 0)
        for value, size in zip(values.tolist(), sizes.tolist(), strict=True):
            code = as_code(value)
            missing += code is None
            if code is not None:
                counts[code] += 1
                areas[code] += size
    return Column(name, counts, areas, missing)


def names_of(
    column: str, tables: Sequence[Mapping[str, tuple[NDArray[Any], NDArray[np.float64]]]], columns: Sequence[str]
) -> dict[str, str | None]:
    """Class names by code from a column of texts that gives each code one text of its own; empty where there is none.

    Of several the one whose texts are longest; a code whose text is empty has None.
    """
    best: dict[str, str | None] = {}
    for other in columns:
        texts: dict[str, set[str]] = defaultdict(set)
        for table in tables:
            for value, text in zip(table[column][0].tolist(), table[other][0].tolist(), strict=True):
                if as_code(value) is not None:
                    texts[as_code(value) or ""].add(as_code(text) or "")
        single = {code: next(iter(names)) for code, names in texts.items() if len(names) == 1}
        given = [name.casefold() for name in single.values() if name]
        spoken = given and len(single) == len(texts) and len(set(given)) == len(given)
        spoken = spoken and all(re.search(r"[^\W\d_]{3}", name) for name in given)
        if other != column and spoken and len("".join(given)) > len("".join(name or "" for name in best.values())):
            best = {code: name or None for code, name in single.items()}
    return {code: name if name and name.casefold() != "ignore" else None for code, name in best.items()}


def in_metres(file: VectorFile) -> bool:
    """Whether areas of a file's polygons are square metres."""
    from pyproj import CRS

    crs = file.info["crs"]
    return crs is not None and all(axis.unit_name == "metre" for axis in CRS.from_user_input(crs).axis_info)


def natural(code: str) -> tuple[bool, float, str]:
    """Sort key: numbers by their value, then texts."""
    number = code.isdecimal()
    return not number, float(code) if number else 0.0, code


def of_rasters(
    samples: Sequence[PixelSample], palette: Mapping[int, tuple[int, int, int]], nodata: float | None
) -> LabelGuess:
    """The guess of label rasters: one band of codes, or colours."""
    counts: Counter[str] = Counter()
    for sample in samples:
        counts.update(sample.codes or {})
    colour = any(code.startswith("#") for code in counts)
    remarks = []
    if nodata is not None and counts.pop(as_code(float(nodata)) or "", 0):
        remarks.append(f"{nodata:g} is the nodata value of the label rasters: unlabelled, no class")
    codes = tuple(
        Code(code, f"class {code.removeprefix('#')}", counts[code], colour=colour_of(code, palette))
        for code in sorted(counts, key=natural)
    )
    if "0" in counts:
        remarks.append("0 is often what was not looked at: write `ignore` for it where that is so")
    complete = all(sample.complete for sample in samples)
    return LabelGuess("rgb" if colour else "raster", codes, unit="pixel", complete=complete, remarks=tuple(remarks))


def colour_of(code: str, palette: Mapping[int, tuple[int, int, int]]) -> str | None:
    """The colour that a label raster itself gives a code."""
    if code.startswith("#"):
        return code
    rgb = palette.get(int(code))
    return None if rgb is None or not any(rgb) else "#{:02x}{:02x}{:02x}".format(*rgb)
