"""Naming conventions: the field's words, none that only the author of the code could search for."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = sorted(
    path
    for folder in ("landcover_orch", "assets", "landcover_mlflow", "tools")
    for path in (ROOT / folder).rglob("*.py")
)
TEXTS = sorted(
    [
        *CODE,
        *(ROOT / "landcover_orch").rglob("*.html"),
        *(ROOT / "configs").rglob("*.yaml"),
        *(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__).resolve()),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "Makefile",
    ]
)

FORBIDDEN = {
    "across",
    "ahead",
    "alike",
    "behind",
    "beside",
    "burning",
    "burnt",
    "by_shares",
    "carried",
    "chance",
    "corridor",
    "crop",
    "dealt",
    "delivered",
    "door",
    "doubt",
    "fresh",
    "gathered",
    "heard",
    "joined",
    "keeper",
    "kept",
    "look",
    "looks",
    "made_of",
    "meeting",
    "moved",
    "room",
    "ruled",
    "said",
    "speaker",
    "standing",
    "stands_on",
    "surprise",
    "tell",
    "told",
    "urn",
    "voices",
    "world",
}
"""No function, class, parameter, variable or attribute is called so."""

AT_MOST = {"found": 32, "one": 11, "own": 5, "whole": 4, "wanted": 3, "place": 4}
"""How often a name may be bound that says of a value where it came from, not what it is."""

STORY = re.compile(r"\b(rooms?|keepers?|corridors?|house of|doors?)\b", re.IGNORECASE)
"""Words for the project itself: it has assets, stages, checks and packages."""

PLACES = ("train corridor", '"corridor"', "corridor:", ", corridor]")
"""Where they name what an orthophoto shows."""


def bindings(tree: ast.AST) -> Iterator[str]:
    """Names that a syntax tree binds: functions, classes, parameters, variables, attributes, aliases."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.alias(asname=str(name)):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def names(path: Path) -> Counter[str]:
    """How often each name is bound in a file, private ones without their underscore."""
    return Counter(name.strip("_") for name in bindings(ast.parse(path.read_text(encoding="utf-8"))))


def test_bindings_are_counted() -> None:
    source = (
        "import a as told\nclass World:\n    def _heard(self, one, *, own=1):\n        for found in one: self.look = 2"
    )
    assert Counter(bindings(ast.parse(source))) == Counter(
        ["told", "World", "_heard", "self", "one", "own", "found", "look"]
    )


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_private_english(path: Path) -> None:
    assert sorted(name for name in names(path) if name.lower() in FORBIDDEN) == []


def test_names_say_what_a_value_is() -> None:
    total = sum((names(path) for path in CODE), Counter[str]())
    assert {word: total[word] for word, most in AT_MOST.items() if total[word] > most} == {}


def test_the_project_is_no_house() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if STORY.search(line) and not any(place in line for place in PLACES)
    ]
    assert found == []


COUNT = re.compile(r"\{(?:len\([^{}]*\)|(?:\w+\.)*n?count)(?::,)?\} (?:\w+ ){0,2}[a-z]{3,}s\b(?! ago)")
"""A count before a plural noun in a message: `pluralise` of landcover_orch/errors.py knows '1 tile', too."""

SEVERAL = ("chain", "common_shift", "errors", "figures", "ground", "issues", "notifications", "page", "protocol")
"""Where there are never exactly one, or the bytes of products hold the words."""


def test_one_of_a_thing_is_no_plural() -> None:
    assert COUNT.search('f"{len(tiles)} tiles"')
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in CODE
        if path.stem not in SEVERAL
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if COUNT.search(line)
    ]
    assert lines == []


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_says_what_it_is(path: Path) -> None:
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    assert len(first) > 10
    assert first[0].isupper() or first[0] == "`"
