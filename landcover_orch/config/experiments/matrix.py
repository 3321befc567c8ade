"""One file, many recipes: the combinations of its choices, each a recipe whose name carries every choice."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from landcover_orch.config.experiments.settings import named
from landcover_orch.errors import ConfigError, Problem, did_you_mean

SEPARATOR = "__"
"""Stands between the file's name and the choices: potsdam-unet__4-residual-serial."""

ROWS = "rows"
"""The key of a matrix that lists combinations, where not all of them are wanted."""

Plain = Mapping[str, Any]
Axes = dict[str, dict[str, Any]]
"""Setting, dotted -> label -> value."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def file_of(name: str) -> str:
    """The file that a recipe stands in: 'potsdam-unet' of 'potsdam-unet__4-residual-serial'."""
    return name.partition(SEPARATOR)[0]


def expand(content: Plain, file: str, where: str) -> dict[str, dict[str, Any]]:
    """The recipes of a file's content by name, as plain values without `matrix`; the content itself where it has none.

    A matrix maps settings to their values: `model.skips: [3, 4]`, or label -> value where a value is no name by
    itself: `model.residual: {plain: false, residual: true}`. It gives every combination, or those that `rows` lists:
    `rows: [[3, plain], [4, residual]]`. A whole setting (`optimiser`) is set before its parts (`optimiser.lr`).

    Args:
        content: what the file holds.
        file: its name without .yaml.
        where: the file as messages call it.

    Raises:
        ConfigError: every problem of the matrix, those of labels, rows and names together.
    """
    problems = _of_the_file(content, file, where)
    base = {key: value for key, value in content.items() if key != "matrix"}
    where = f"{where}: matrix"
    axes, axis_problems = _axes(content["matrix"], where) if "matrix" in content else ({}, [])
    rows, more = _rows(content["matrix"], axes, where) if axes else ([], [])
    problems = [*problems, *axis_problems, *more]
    if problems:
        raise ConfigError(*problems)
    if not axes:
        return {file: base}
    made = [(file + SEPARATOR + "-".join(row), *_with(base, axes, row, where)) for row in rows]
    problems = _twice([name for name, _, _ in made], where, "name") + [
        problem for _, _, axis_problems in made for problem in axis_problems
    ]
    if problems:
        raise ConfigError(*dict.fromkeys(problems))
    return {name: {**recipe, "name": name} for name, recipe, _ in made}


def _of_the_file(content: Plain, file: str, where: str) -> list[Problem]:
    problems = []
    if content.get("name", file) != file:
        problems.append(
            Problem(f"{where}: name", repr(content["name"]), f"{file!r}, as the file is called", "rename one")
        )
    if SEPARATOR in file or file.endswith("_"):
        expected = f"a name without {SEPARATOR}, which begins the choices of a matrix, and without a last _"
        problems.append(Problem(where, f"a file called {file}", expected, "rename the file"))
    return problems


def _axes(matrix: object, where: str) -> tuple[Axes, list[Problem]]:
    if not isinstance(matrix, Mapping) or not set(matrix) - {ROWS}:
        expected = "settings and their values, as `model.skips: [3, 4]`"
        return {}, [Problem(where, repr(matrix)[:80], expected, "write one, or delete the key")]
    axes: Axes = {}
    problems = []
    for path, values in matrix.items():
        if path != ROWS:
            axes[str(path)], axis_problems = _axis(str(path), values, f"{where}: {path}")
            problems += axis_problems
    return axes, problems


def _axis(path: str, values: object, where: str) -> tuple[dict[str, Any], list[Problem]]:
    if path in ("name", "description"):
        return {}, [Problem(where, f"`{path}` as a choice", "a setting", f"name the choices; {path} is one a file")]
    if isinstance(values, Mapping):
        pairs = list(values.items())
    else:
        pairs = [(value, value) for value in values] if isinstance(values, list) else []
    if not pairs:
        return {}, [Problem(where, repr(values)[:80], "a list of values, or label: value", "write one a choice")]
    expected, fix = "letters, digits, - and _", "give the value a label: `{some-label: value}`"
    problems = [
        Problem(where, f"{key!r} as part of a name", expected, fix)
        for key, _ in pairs
        if not _LABEL.fullmatch(label(key))
    ]
    labels = [label(key) for key, _ in pairs]
    return dict(zip(labels, (value for _, value in pairs), strict=True)), [*problems, *_twice(labels, where, "label")]


def label(value: object) -> str:
    """What a value is called in a recipe's name: 0.001 is '0_001', false is 'false'; '' where it has no short name."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return str(value).replace(".", "_") if isinstance(value, str | int | float) else ""


def _rows(matrix: Plain, axes: Axes, where: str) -> tuple[list[tuple[str, ...]], list[Problem]]:
    if ROWS not in matrix:
        return list(itertools.product(*axes.values())), []
    rows, where = matrix[ROWS], f"{where}: {ROWS}"
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        return [], [Problem(where, repr(rows)[:80], f"a list of rows, each [{', '.join(axes)}]", "write a row a run")]
    labels = [tuple(label(value) for value in row) for row in rows]
    return labels, [problem for number, row in enumerate(labels, 1) for problem in _of_a_row(row, number, axes, where)]


def _of_a_row(row: tuple[str, ...], number: int, axes: Axes, where: str) -> list[Problem]:
    where = f"{where}: row {number}"
    if len(row) != len(axes):
        return [Problem(where, f"{len(row)} choices", f"one each of {', '.join(axes)}", "correct the row")]
    return [
        Problem(where, repr(choice), f"one of {list(known)} for {path}", did_you_mean(choice, list(known)) or "add it")
        for choice, (path, known) in zip(row, axes.items(), strict=True)
        if choice not in known
    ]


def _twice(words: Sequence[str], where: str, what: str) -> list[Problem]:
    twice: Iterable[str] = dict.fromkeys(word for word in words if words.count(word) > 1)
    expected, fix = f"a {what} each", "give the values labels that differ, or drop the copy"
    return [Problem(where, f"{words.count(word)} with the {what} {word}", expected, fix) for word in twice]


def _with(base: Plain, axes: Axes, row: tuple[str, ...], where: str) -> tuple[dict[str, Any], list[Problem]]:
    return changed(
        base, {path: values[choice] for choice, (path, values) in zip(row, axes.items(), strict=True)}, where
    )


def changed(base: Plain, values: Plain, where: str) -> tuple[dict[str, Any], list[Problem]]:
    """A plain recipe with other values at dotted paths, and what of them has no place in it.

    A whole setting (`optimiser`) is set before its parts (`optimiser.lr`).
    """
    recipe, ordered = copy.deepcopy(dict(base)), sorted(values, key=lambda path: path.count("."))
    return recipe, [problem for path in ordered for problem in _set(recipe, path, copy.deepcopy(values[path]), where)]


def _set(recipe: dict[str, Any], path: str, value: object, where: str) -> list[Problem]:
    *parts, last = path.split(".")
    here = recipe
    for part in parts:
        inner = named(here.get(part, {}))
        if not isinstance(inner, dict):
            fix = f"choose among whole values of `{part}`"
            return [Problem(f"{where}: {path}", f"`{part}` is {inner!r}"[:80], "a part with settings", fix)]
        here[part] = inner
        here = inner
    here[last] = value
    return []
