"""Polygons whose covers come with shares: from their labels or their table to decisions, and the table of shares."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio

from landcover_orch.config import Labels, Values
from landcover_orch.errors import LabelError, Problem
from landcover_orch.labels import composites, siose
from landcover_orch.labels.codes import NULL, Coding, Stray, as_code, unknown_codes
from landcover_orch.labels.composites import Decision, Parts
from landcover_orch.labels.polygons import Features, Polygons
from landcover_orch.labels.siose_covers import names_of
from landcover_orch.labels.vectors import readable, table_columns
from landcover_orch.legend import Legend

AT_ONCE = 5_000
"""Polygons whose rows of the table are asked for at a time."""

TOLERANCE = 1.0
"""Percent by which the table's percentages of a polygon, which are rounded, may miss 100."""

LISTED = 20
"""Faulty polygons that one error names."""


def decided(features: Features, path: Path, labels: Labels, legend: Legend, coding: Coding) -> Polygons:
    """The polygons of a file with the decision on each, in the file's order.

    Raises:
        SioseError: labels that are not SIOSE's, all of them.
        UnknownCodeError: covers that the legend lacks, all of them with counts.
        LabelError: polygons without rows in the table, or whose percentages do not sum to 100; or the legend gives a
            meaning to composites that SIOSE does not have.
    """
    composites.require_predefined(legend)
    where = features.where
    if labels.content == "values":
        where = f"{path}, layer {labels.values.layer}, column {labels.values.cover}"
        covers = _from_table(path, labels.values, features, legend)
    else:
        covers = _from_column(features, legend, alone=labels.content == "largest")
    _require_known(where, features, covers, legend)
    judge = _judge(legend, alone=labels.content == "largest")
    judged = {parts: judge(parts) for parts in dict.fromkeys(covers)}
    numbers = {parts: coding.codes.index(decision.code) for parts, decision in judged.items()}
    number = np.array([numbers[parts] for parts in covers], np.uint16)
    decisions = tuple(judged[parts] for parts in covers)
    values = () if labels.content == "values" else tuple(as_code(value) or NULL for value in features.value)
    return Polygons(features.geometry, number, features.notes, tuple(features.name), decisions, values)


def _judge(legend: Legend, *, alone: bool) -> Callable[[Parts], Decision]:
    if not alone:
        return lambda parts: composites.decide(parts, legend)
    return lambda parts: Decision("largest", str(composites.meaning(parts[0][0], legend)))


def _from_column(features: Features, legend: Legend, *, alone: bool) -> list[Parts]:
    """Covers and shares of each polygon, from its label; or, `alone`, the one cover that the column tells."""
    labels = [as_code(value) or NULL for value in features.value]
    first: dict[str, str] = {}
    for label, name in zip(labels, features.name, strict=True):
        first.setdefault(label, name)
    absent = labels.count(NULL)
    if absent:
        raise unknown_codes(features.where, "polygons", [Stray(NULL, absent, f"polygon {first[NULL]}")], legend)
    if alone:
        return [((label, 1.0),) for label in labels]
    trees = siose.parse_all((f"{name} ({features.where})", label) for label, name in first.items())
    parts = {label: composites.parts(tree, legend) for label, tree in zip(first, trees, strict=True)}
    return [parts[label] for label in labels]


def _require_known(where: str, features: Features, covers: Sequence[Parts], legend: Legend) -> None:
    met = Counter(cover for parts in covers for cover, _ in parts)
    missing = set(composites.unknown(met, legend))
    if missing:
        named = list(zip(covers, features.name, strict=True))
        first = {cover: name for parts, name in reversed(named) for cover, _ in parts}
        strays = (Stray(cover, met[cover], f"polygon {first[cover]}") for cover in missing)
        raise unknown_codes(where, "polygons", strays, legend)


def _from_table(path: Path, table: Values, features: Features, legend: Legend) -> list[Parts]:
    nameless = int((features.name == NULL).sum())
    if nameless:
        fix = f"give them the names that {table.layer} has, or delete them"
        raise LabelError(Problem(features.where, f"no name (NULL) in {nameless} polygons", "names of polygons", fix))
    rows = _rows(path, table, features)
    problems: list[Problem] = []
    found: dict[str, Parts] = {}
    for name in dict.fromkeys(features.name):
        counted = _counted(rows.get(name, []), legend)
        total = sum(percent for _, percent in counted)
        if not _is_whole(counted, total):
            problems.append(_no_whole(path, table, name, counted, total))
            continue
        merged: dict[str, float] = {}
        for cover, percent in counted:
            merged[cover] = merged.get(cover, 0.0) + percent / total
        found[name] = tuple(merged.items())
    if problems:
        raise LabelError(*problems[:LISTED], *_more(path, len(problems) - LISTED))
    return [found[name] for name in features.name]


Row = tuple[str, float, tuple[str, ...]]
"""Cover, percentage of the polygon, and the composites that hold it, outermost first."""


def _rows(path: Path, table: Values, features: Features) -> dict[str, list[Row]]:
    """The rows of the table by polygon; only those of the polygons that were read."""
    layer, wanted = table_columns(path, table)
    found: dict[str, list[Row]] = {}
    for some in _pieces(list(dict.fromkeys(features.value)), AT_ONCE):
        names = ", ".join(_literal(name) for name in some)
        with readable(path):
            meta, _, _, data = pyogrio.raw.read(
                path, layer=layer, columns=wanted, where=f'"{table.polygon}" IN ({names})', read_geometry=False
            )
        read = dict(zip(map(str, meta["fields"]), data, strict=True))
        held = read.get(table.ancestors, np.full(len(data[0]), None, object))
        for polygon, cover, percent, ancestors in zip(
            read[table.polygon], read[table.cover], read[table.percent], held, strict=True
        ):
            row = (as_code(cover) or NULL, _number(percent), _ancestors(ancestors))
            found.setdefault(as_code(polygon) or NULL, []).append(row)
    return found


def _pieces(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _literal(value: object) -> str:
    """A value as SQL writes it."""
    text = as_code(value) or ""
    quoted = text.replace("'", "''")
    return f"'{quoted}'" if isinstance(value, str) else text


def _number(value: object) -> float:
    """A percentage, in text with a point or a comma; NaN where it is none."""
    try:
        return float(str(value).replace(",", "."))
    except ValueError:
        return math.nan


def _ancestors(value: object) -> tuple[str, ...]:
    """Numbers of composites from '600,813', whatever parts them; 0 and an empty text stand for none."""
    numbers = (part.lstrip("0") for part in re.split(r"[\W_]+", as_code(value) or ""))
    return tuple(number for number in numbers if number)


def _counted(rows: Sequence[Row], legend: Legend) -> list[tuple[str, float]]:
    """Covers that count, with their percentages: no composite's own row, for its members tell as much.

    Members of a composite that the legend takes as a whole count as this composite. Covers of 0 % do not count.
    """
    composite = {ancestor for _, _, ancestors in rows for ancestor in ancestors}
    whole = {number for number in composite if composites.counts_whole(number, legend)}
    return [
        (next((ancestor for ancestor in ancestors if ancestor in whole), cover), percent)
        for cover, percent, ancestors in rows
        if percent != 0 and not composite.intersection(names_of(cover))
    ]


def _is_whole(counted: Iterable[tuple[str, float]], total: float) -> bool:
    return abs(total - 100) <= TOLERANCE and all(percent > 0 and cover != NULL for cover, percent in counted)


def _no_whole(path: Path, table: Values, name: str, counted: Iterable[tuple[str, float]], total: float) -> Problem:
    told = ", ".join(f"{percent:g} % {'(no cover)' if cover == NULL else cover}" for cover, percent in counted)
    where = f"{path}, layer {table.layer}: polygon {name}"
    found = f"{told}: {total:g} % in all" if told else "no row"
    return Problem(where, found, "covers that sum to 100 %", "correct the rows at their source")


def _more(path: Path, count: int) -> list[Problem]:
    return [Problem(str(path), f"{count} more such polygons", "none", "mend those named first")] if count > 0 else []


def write_shares(path: Path, polygons: Sequence[str], decisions: Sequence[Decision]) -> int:
    """Writes a Parquet table of shares, and gives the number of its rows: one for each class of each polygon.

    Columns: `polygon` (uint32, as in the raster of polygons: 1, 2, ... in burn order), `source` (what the label file
    calls it), `decision`, `class` ('ignore' for covers that the legend ignores) and `share` of the whole polygon
    (double; a polygon's shares sum to 1). Polygons of which only the largest cover is known have no row.

    Args:
        polygons: what each is called, in burn order.
        decisions: on each of them.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    rows = [
        (number, name, decision.how, cls, share)
        for number, (name, decision) in enumerate(zip(polygons, decisions, strict=True), start=1)
        for cls, share in decision.shares
    ]
    columns = list(zip(*rows, strict=True)) or [()] * 5
    kinds = (pa.uint32(), pa.string(), pa.string(), pa.string(), pa.float64())
    names = ("polygon", "source", "decision", "class", "share")
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    pq.write_table(pa.table(dict(zip(names, arrays, strict=True))), path)
    return len(rows)
