"""Experiment matrix: one file, many experiments, the combinations of its choices; each name carries every choice."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from landcover_orch.errors import ConfigError, Problem, did_you_mean, pluralise
from landcover_orch.settings import named

SEPARATOR = "__"
"""Stands between the file's name and the choices: potsdam-unet__4-residual-serial."""

ROWS = "rows"
"""The key of a matrix that lists combinations, where not all of them are to run."""

Plain = Mapping[str, Any]
Axes = dict[str, dict[str, Any]]
"""Setting, dotted -> label -> value."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def file_of(name: str) -> str:
    """File of an experiment: 'potsdam-unet' of 'potsdam-unet__4-residual-serial'."""
    return name.partition(SEPARATOR)[0]


def expand(content: Plain, file: str, where: str) -> dict[str, dict[str, Any]]:
    """Expands a file's content into experiments by name, plain values without `matrix`; the content where it has none.

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
    problems = file_problems(content, file, where)
    base = {key: value for key, value in content.items() if key != "matrix"}
    where = f"{where}: matrix"
    axes, axis_problems = read_axes(content["matrix"], where) if "matrix" in content else ({}, [])
    rows, more = read_rows(content["matrix"], axes, where) if axes else ([], [])
    problems = [*problems, *axis_problems, *more]
    if problems:
        raise ConfigError(*problems)
    if not axes:
        return {file: base}
    made = []
    for row in rows:
        values = {path: choices[choice] for choice, (path, choices) in zip(row, axes.items(), strict=True)}
        made.append((file + SEPARATOR + "-".join(row), *changed(base, values, where)))
    problems = _duplicates([name for name, _, _ in made], where, "name") + [
        problem for _, _, axis_problems in made for problem in axis_problems
    ]
    if problems:
        raise ConfigError(*dict.fromkeys(problems))
    return {name: {**experiment, "name": name} for name, experiment, _ in made}


def file_problems(content: Plain, file: str, where: str) -> list[Problem]:
    """Problems of a file's name."""
    problems = []
    if content.get("name", file) != file:
        problems.append(
            Problem(f"{where}: name", repr(content["name"]), f"{file!r}, as the file is called", "rename one")
        )
    if SEPARATOR in file or file.endswith("_"):
        expected = f"a name without {SEPARATOR}, which begins the choices of a matrix, and without a last _"
        problems.append(Problem(where, f"a file called {file}", expected, "rename the file"))
    return problems


def read_axes(matrix: object, where: str) -> tuple[Axes, list[Problem]]:
    """Axes of a matrix, and their problems."""
    if not isinstance(matrix, Mapping) or not set(matrix) - {ROWS}:
        expected = "settings and their values, as `model.skips: [3, 4]`"
        return {}, [Problem(where, repr(matrix)[:80], expected, "write one, or delete the key")]
    axes: Axes = {}
    problems = []
    for path, values in matrix.items():
        if path != ROWS:
            axes[str(path)], axis_problems = read_axis(str(path), values, f"{where}: {path}")
            problems += axis_problems
    return axes, problems


def read_axis(path: str, values: object, where: str) -> tuple[dict[str, Any], list[Problem]]:
    """Label -> value of one axis, and its problems."""
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
    return dict(zip(labels, (value for _, value in pairs), strict=True)), [
        *problems,
        *_duplicates(labels, where, "label"),
    ]


def label(value: object) -> str:
    """Label of a value in an experiment's name: 0.001 is '0_001', false is 'false'; '' where it has no short name."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return str(value).replace(".", "_") if isinstance(value, str | int | float) else ""


def read_rows(matrix: Plain, axes: Axes, where: str) -> tuple[list[tuple[str, ...]], list[Problem]]:
    """Combinations of labels, an axis each: all, or those that `rows` lists; and their problems."""
    if ROWS not in matrix:
        return list(itertools.product(*axes.values())), []
    rows, where = matrix[ROWS], f"{where}: {ROWS}"
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        return [], [Problem(where, repr(rows)[:80], f"a list of rows, each [{', '.join(axes)}]", "write a row a run")]
    labels = [tuple(label(value) for value in row) for row in rows]
    return labels, [
        problem for number, row in enumerate(labels, 1) for problem in row_problems(row, number, axes, where)
    ]


def row_problems(row: tuple[str, ...], number: int, axes: Axes, where: str) -> list[Problem]:
    """Problems of one of the `rows`: its length, and labels that no axis has."""
    where = f"{where}: row {number}"
    if len(row) != len(axes):
        return [Problem(where, pluralise(len(row), "choice"), f"one each of {', '.join(axes)}", "correct the row")]
    return [
        Problem(where, repr(choice), f"one of {list(known)} for {path}", did_you_mean(choice, list(known)) or "add it")
        for choice, (path, known) in zip(row, axes.items(), strict=True)
        if choice not in known
    ]


def _duplicates(words: Sequence[str], where: str, what: str) -> list[Problem]:
    duplicates: Iterable[str] = dict.fromkeys(word for word in words if words.count(word) > 1)
    expected, fix = f"a {what} each", "give the values labels that differ, or drop the copy"
    return [Problem(where, f"{words.count(word)} with the {what} {word}", expected, fix) for word in duplicates]


def changed(base: Plain, values: Plain, where: str) -> tuple[dict[str, Any], list[Problem]]:
    """Plain experiment with other values at dotted paths, and the problems of these paths.

    A whole setting (`optimiser`) is set before its parts (`optimiser.lr`).
    """
    experiment, ordered = copy.deepcopy(dict(base)), sorted(values, key=lambda path: path.count("."))
    return experiment, [
        problem for path in ordered for problem in set_value(experiment, path, copy.deepcopy(values[path]), where)
    ]


def set_value(experiment: dict[str, Any], path: str, value: object, where: str) -> list[Problem]:
    """Sets a value at a dotted path, in place; the problem where the path has none."""
    *parts, last = path.split(".")
    here = experiment
    for part in parts:
        inner = named(here.get(part, {}))
        if not isinstance(inner, dict):
            fix = f"choose among whole values of `{part}`"
            return [Problem(f"{where}: {path}", f"`{part}` is {inner!r}"[:80], "a part with settings", fix)]
        here[part] = inner
        here = inner
    here[last] = value
    return []
