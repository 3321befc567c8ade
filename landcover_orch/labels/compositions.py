"""Composite polygons: covers and their fractions, from labels or a table, to decisions and the table of fractions."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, assert_never

import numpy as np
import pyogrio

from landcover_orch.config import Labels, Values
from landcover_orch.errors import LabelError, Problem, pluralise
from landcover_orch.labels import composites, siose
from landcover_orch.labels.codes import NULL, Coding, Decision, Parts, Stray, as_code, unknown_codes
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
        ValueError: labels of content `code`, which hold no covers.
        SioseError: labels that are not SIOSE's, all of them.
        UnknownCodeError: covers that the legend lacks, all of them with counts.
        LabelError: polygons without rows in the table, or whose percentages do not sum to 100; or the legend gives a
            meaning to composites that SIOSE does not have.
    """
    composites.require_predefined(legend)
    where = features.where
    match labels.content:
        case "values":
            where = f"{path}, layer {labels.values.layer}, column {labels.values.cover}"
            covers = covers_from_table(path, labels.values, features, legend)
        case "siose":
            covers = covers_from_labels(features, legend, largest_only=False)
        case "largest":
            covers = covers_from_labels(features, legend, largest_only=True)
        case "code":
            raise ValueError(f"{where}: labels of content 'code' hold no covers")
        case _:
            assert_never(labels.content)
    counts = Counter(cover for parts in covers for cover, _ in parts)
    missing = set(composites.unknown(counts, legend))
    if missing:
        first = {
            cover: name for parts, name in zip(covers[::-1], features.name[::-1], strict=True) for cover, _ in parts
        }
        strays = (Stray(cover, counts[cover], f"polygon {first[cover]}") for cover in missing)
        raise unknown_codes(where, "polygon", strays, legend)
    by_parts = {
        parts: Decision("largest", str(composites.meaning(parts[0][0], legend)))
        if labels.content == "largest"
        else composites.decide(parts, legend)
        for parts in dict.fromkeys(covers)
    }
    numbers = {parts: coding.codes.index(decision.code) for parts, decision in by_parts.items()}
    number = np.array([numbers[parts] for parts in covers], np.uint16)
    decisions = tuple(by_parts[parts] for parts in covers)
    values = () if labels.content == "values" else tuple(as_code(value) or NULL for value in features.value)
    return Polygons(features.geometry, number, features.notes, tuple(features.name), decisions, values)


def covers_from_labels(features: Features, legend: Legend, *, largest_only: bool) -> list[Parts]:
    """Covers and fractions of each polygon, from its SIOSE label; or the one cover that the column names."""
    labels = [as_code(value) or NULL for value in features.value]
    first: dict[str, str] = {}
    for label, name in zip(labels, features.name, strict=True):
        first.setdefault(label, name)
    absent = labels.count(NULL)
    if absent:
        raise unknown_codes(features.where, "polygon", [Stray(NULL, absent, f"polygon {first[NULL]}")], legend)
    if largest_only:
        return [((label, 1.0),) for label in labels]
    trees = siose.parse_all((f"{name} ({features.where})", label) for label, name in first.items())
    parts = {label: composites.parts(tree, legend) for label, tree in zip(first, trees, strict=True)}
    return [parts[label] for label in labels]


class CoverRow(NamedTuple):
    """A row of a table of covers: the cover, its percentage of the polygon, and the composites that hold it.

    `ancestors` are those composites' numbers, outermost first.
    """

    cover: str
    percent: float
    ancestors: tuple[str, ...]


def covers_from_table(path: Path, table: Values, features: Features, legend: Legend) -> list[Parts]:
    """Covers and fractions of each polygon, from the rows of a table that bear its name.

    Raises:
        LabelError: polygons without a name, without rows, or whose percentages do not sum to 100.
    """
    nameless = int((features.name == NULL).sum())
    if nameless:
        fix = f"give them the names that {table.layer} has, or delete them"
        raise LabelError(
            Problem(features.where, f"no name (NULL) in {pluralise(nameless, 'polygon')}", "names of polygons", fix)
        )
    rows = cover_rows(path, table, features)
    problems: list[Problem] = []
    by_name: dict[str, Parts] = {}
    for name in dict.fromkeys(features.name):
        covers = counted_covers(rows.get(name, []), legend)
        total = sum(percent for _, percent in covers)
        if abs(total - 100) > TOLERANCE or any(not percent > 0 or cover == NULL for cover, percent in covers):
            listed = ", ".join(f"{percent:g} % {'(no cover)' if cover == NULL else cover}" for cover, percent in covers)
            where = f"{path}, layer {table.layer}: polygon {name}"
            actual = f"{listed}: {total:g} % in all" if listed else "no row"
            problems.append(Problem(where, actual, "covers that sum to 100 %", "correct the rows at their source"))
            continue
        merged: dict[str, float] = {}
        for cover, percent in covers:
            merged[cover] = merged.get(cover, 0.0) + percent / total
        by_name[name] = tuple(merged.items())
    if len(problems) > LISTED:
        actual = f"{len(problems) - LISTED} more such polygons"
        problems = [*problems[:LISTED], Problem(str(path), actual, "none", "mend those named first")]
    if problems:
        raise LabelError(*problems)
    return [by_name[name] for name in features.name]


def cover_rows(path: Path, table: Values, features: Features) -> dict[str, list[CoverRow]]:
    """The rows of the table by polygon; only those of the polygons that were read."""
    layer, columns = table_columns(path, table)
    rows: dict[str, list[CoverRow]] = {}
    polygons = list(dict.fromkeys(features.value))
    for start in range(0, len(polygons), AT_ONCE):
        names = ", ".join(sql_literal(name) for name in polygons[start : start + AT_ONCE])
        with readable(path):
            meta, _, _, data = pyogrio.raw.read(
                path, layer=layer, columns=columns, where=f'"{table.polygon}" IN ({names})', read_geometry=False
            )
        by_column = dict(zip(map(str, meta["fields"]), data, strict=True))
        composite = by_column.get(table.ancestors, np.full(len(data[0]), None, object))
        for polygon, cover, percent, ancestors in zip(
            by_column[table.polygon], by_column[table.cover], by_column[table.percent], composite, strict=True
        ):
            row = CoverRow(as_code(cover) or NULL, parse_percentage(percent), parse_ancestors(ancestors))
            rows.setdefault(as_code(polygon) or NULL, []).append(row)
    return rows


def sql_literal(value: object) -> str:
    """A value as SQL writes it."""
    text = as_code(value) or ""
    quoted = text.replace("'", "''")
    return f"'{quoted}'" if isinstance(value, str) else text


def parse_percentage(value: object) -> float:
    """A percentage, in text with a point or a comma; NaN where it is none."""
    try:
        return float(str(value).replace(",", "."))
    except ValueError:
        return math.nan


def parse_ancestors(value: object) -> tuple[str, ...]:
    """Numbers of composites from '600,813', whatever parts them; 0 and an empty text stand for none."""
    numbers = (part.lstrip("0") for part in re.split(r"[\W_]+", as_code(value) or ""))
    return tuple(number for number in numbers if number)


def counted_covers(rows: Sequence[CoverRow], legend: Legend) -> list[tuple[str, float]]:
    """Covers that count, with their percentages: no composite's own row, for its members say as much.

    Members of a composite that the legend takes as a unit count as this composite. Covers of 0 % do not count.
    """
    composite = {ancestor for row in rows for ancestor in row.ancestors}
    units = {number for number in composite if composites.counts_whole(number, legend)}
    return [
        (next((ancestor for ancestor in ancestors if ancestor in units), cover), percent)
        for cover, percent, ancestors in rows
        if percent != 0 and not composite.intersection(names_of(cover))
    ]


def write_fractions(path: Path, polygons: Sequence[str], decisions: Sequence[Decision]) -> int:
    """Writes a Parquet table of class fractions, and gives its number of rows: one for each class of each polygon.

    Columns: `polygon` (uint32, as in the raster of polygons: 1, 2, ... in burn order), `source` (what the label file
    calls it), `decision`, `class` ('ignore' for covers that the legend ignores) and `share`, its fraction of the
    polygon (double; a polygon's fractions sum to 1). Polygons of which only the largest cover is known have no row.

    Args:
        polygons: what each is called, in burn order.
        decisions: on each of them.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    rows = [
        (number, name, decision.how, cls, fraction)
        for number, (name, decision) in enumerate(zip(polygons, decisions, strict=True), start=1)
        for cls, fraction in decision.fractions
    ]
    columns = list(zip(*rows, strict=True)) or [()] * 5
    kinds = (pa.uint32(), pa.string(), pa.string(), pa.string(), pa.float64())
    names = ("polygon", "source", "decision", "class", "share")
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    pq.write_table(pa.table(dict(zip(names, arrays, strict=True))), path)
    return len(rows)
