"""Legend draft: classes with colours of the source codes, and what polygons leave uncovered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from landcover_orch.config.yamlfile import flow_text
from landcover_orch.drafts.labels import Code, LabelGuess
from landcover_orch.drafts.text import comment
from landcover_orch.errors import pluralise
from landcover_orch.legend import IGNORE_NAME

REST = "rest"
"""Class of all that polygons of a single class leave uncovered."""

KNOWN = {
    ("forest", "wood", "tree", "bosque", "wald"): "#1b7837",
    ("water", "hydro", "lake", "river", "agua", "wasser", "sea"): "#2166ac",
    ("road", "street", "rail", "transport", "carretera", "strasse"): "#999999",
    ("building", "house", "edific", "urban", "artificial", "settlement"): "#b2182b",
    ("grass", "meadow", "pasture", "prado", "lawn"): "#a6d96a",
    ("crop", "arable", "cultiv", "agricult", "field", "farm"): "#e6c229",
    ("shrub", "schrub", "scrub", "bush", "matorral"): "#8c6d31",
    ("bare", "rock", "sand", "soil", "suelo"): "#d8b365",
    (REST,): "#d9d2c0",
}
"""Parts of class names -> the colour that people expect."""

OTHERS = (
    *("#762a83", "#e08214", "#35978f", "#c51b7d", "#5e4fa2", "#f46d43", "#66c2a5", "#9e0142", "#4d9221", "#dfc27d"),
    *("#80cdc1", "#b35806", "#542788", "#fdb863", "#01665e", "#de77ae", "#7fbc41", "#4393c3", "#d6604d", "#bababa"),
)


def classes(guess: LabelGuess) -> list[dict[str, Any]]:
    """Classes of a legend in order of their codes, one a name; before them `rest` where polygons are of one class."""
    names: dict[str, str | None] = {REST: None} if one_class(guess) else {}
    for code in guess.codes:
        if code.name is not None:
            names.setdefault(code.name, code.colour)
    taken = {colour for colour in names.values() if colour}
    result: list[dict[str, Any]] = []
    for name, own in names.items():
        colour = own or colour_of(name, taken, len(result))
        taken.add(colour)
        result.append({"id": len(result), "name": name, "colour": colour})
    return result


def one_class(guess: LabelGuess) -> bool:
    """Whether the labels are polygons, or pixels, of a single class."""
    return len({code.name for code in guess.codes if code.name is not None}) == 1


def colour_of(name: str, taken: set[str], number: int) -> str:
    """A colour that no other class has: the one that people expect, else the next of a list, else one by number."""
    expected = [colour for parts, colour in KNOWN.items() if any(part in name.casefold() for part in parts)]
    left = [colour for colour in (*expected, *OTHERS) if colour not in taken]
    return left[0] if left else f"#{(number * 2654435761) % 0xFFFFFF:06x}"


def lines(name: str, guess: LabelGuess, source: str) -> Iterator[str]:
    """The YAML of a legend."""
    yield from comment(f"Draft of `landcover init {name}`: a class for each code of {source}.")
    yield from comment("Codes may share a class: write its name twice. `ignore`: neither trained on nor scored.")
    if not guess.complete:
        yield from comment(
            "Counts are of a sample: codes may be missing, which `landcover check` says where it reads them."
        )
    yield f"name: {flow_text(name)}"
    yield "classes:"
    yield from (f"  - {flow_text(of_class)}" for of_class in classes(guess))
    yield "codes:"
    yield from (code_line(code, guess.unit) for code in guess.codes)


def code_line(code: Code, unit: str) -> str:
    """The line of a code, with its counts."""
    area = "" if code.hectares is None else f", {code.hectares:,.2f} ha"
    entry = flow_text({code.code: code.name or IGNORE_NAME}).removeprefix("{").removesuffix("}")
    return f"  {entry}   # {pluralise(code.count, unit)}{area}"
