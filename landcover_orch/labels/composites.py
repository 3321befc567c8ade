"""Composite labels: what becomes of a polygon with several covers, as the legend's `composites` says. No IO.

| decision | polygons with | class |
|---|---|---|
| simple | one cover | its entry in `codes` |
| largest | several, of which the file names the largest alone | its entry in `codes` |
| predefined | one composite with a name, as DHS, that counts as a unit | that of `predefined`, else of `codes` |
| dominant | one cover with `min_fraction` of the polygon (rules dominant, dissolve) | its entry in `codes` |
| dissolved | covers of one class with `min_fraction` together (rule dissolve), or no other (rule soft) | that class |
| mixed | several, none with enough (rules dominant, dissolve) | ignore |
| ignored | several (rule ignore) | ignore |
| soft | several, of several classes, whose fractions are kept (rule soft) | ignore |
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from landcover_orch.config import file_label
from landcover_orch.errors import LabelError, Problem
from landcover_orch.labels.codes import Coding, Decision, How, Parts, entry
from landcover_orch.labels.siose import Composite, Tree
from landcover_orch.labels.siose_covers import ARRANGEMENTS, PREDEFINED, names_of
from landcover_orch.legend import IGNORE_NAME, MEMBERS, Legend

HOW: tuple[How, ...] = ("simple", "largest", "predefined", "dominant", "dissolved", "mixed", "ignored", "soft")

UNDECIDED = ("mixed", "ignored", "soft")
"""Decisions that give a pixel no class, whatever its covers are."""

ROUNDING = 1e-9


def coding(legend: Legend, unlabelled: str) -> Coding:
    """Numbers for every decision there can be; `unlabelled` is the class, or 'ignore', of pixels without a label."""
    names = (*legend.names, IGNORE_NAME)
    decisions = tuple(Decision(how, name) for how in HOW for name in names)
    classes = [*[legend.id_of(name) for name in names] * len(HOW), legend.id_of(unlabelled)]
    return Coding(tuple(decision.code for decision in decisions), np.array(classes, np.uint16), decisions)


def meaning(cover: str, legend: Legend) -> str | None:
    """The class of a cover, or 'ignore'; None where the legend knows neither its label nor its number.

    What the legend says of the cover as it is called counts before what it says of its other names.
    """
    names = (cover, *names_of(cover))
    predefined = (legend.composites.predefined.get(name) for name in names)
    unit = next((cls for cls in predefined if cls not in (None, MEMBERS)), None)
    if unit is not None:
        return unit
    code = next((name for name in names if name in legend.codes), None) or entry(names[-1], legend.codes)
    return None if code is None else legend.codes[code]


def counts_whole(cover: str, legend: Legend) -> bool:
    """Whether the legend gives a composite a meaning of its own, whatever its members are."""
    return any(legend.composites.predefined.get(name, MEMBERS) != MEMBERS for name in names_of(cover))


def parts(tree: Tree, legend: Legend) -> Parts:
    """The covers that count in a label: members rather than their composite, unless the legend says otherwise."""
    fractions: dict[str, float] = {}

    def collect(tree: Tree, fraction: float) -> None:
        name = tree.head if isinstance(tree, Composite) else tree.label
        if not isinstance(tree, Composite) or counts_whole(name, legend):
            fractions[name] = fractions.get(name, 0.0) + fraction
            return
        for percent, part in tree.members:
            collect(part, fraction * percent / 100)

    collect(tree, 1.0)
    return tuple(fractions.items())


def require_predefined(legend: Legend) -> None:
    """Raises LabelError where the legend gives a meaning to composites that SIOSE does not have."""
    known = {*ARRANGEMENTS, *(name for label in PREDEFINED for name in names_of(label))}
    unknown_names = [name for name in legend.composites.predefined if name not in known]
    if unknown_names:
        where = f"{file_label('legends', legend.name)}: composites.predefined"
        expected = "composites of SIOSE by label or number, as DHS or 701"
        raise LabelError(Problem(where, str(unknown_names), expected, "correct the names; covers stand in `codes`"))


def decide(covers: Parts, legend: Legend) -> Decision:
    """The decision on a polygon; every cover must have a `meaning`.

    Raises:
        KeyError: a cover has none.
    """
    fractions = by_class(covers, legend)
    largest_class, largest = fractions[0]
    if len(covers) == 1:
        cover = covers[0][0]
        named = cover in PREDEFINED or counts_whole(cover, legend)
        return Decision("predefined" if named else "simple", largest_class, fractions)
    rule, enough = legend.composites.rule, legend.composites.min_fraction - ROUNDING
    if rule == "ignore":
        return Decision("ignored", IGNORE_NAME, fractions)
    if rule == "soft" and len(fractions) == 1:
        return Decision("dissolved", largest_class, fractions)
    if rule == "soft":
        return Decision("soft", IGNORE_NAME, fractions)
    cover, fraction = max(covers, key=lambda item: item[1])
    if fraction >= enough:
        return Decision("dominant", str(meaning(cover, legend)), fractions)
    if rule == "dissolve" and largest >= enough:
        return Decision("dissolved", largest_class, fractions)
    return Decision("mixed", IGNORE_NAME, fractions)


def by_class(covers: Parts, legend: Legend) -> Parts:
    """Fractions by class, the ignored together, largest first (classes of one fraction in the legend's order)."""
    fractions: dict[str, float] = {}
    for cover, fraction in covers:
        name = meaning(cover, legend)
        if name is None:
            raise KeyError(cover)
        fractions[name] = fractions.get(name, 0.0) + fraction
    order = (*legend.names, IGNORE_NAME)
    return tuple(sorted(fractions.items(), key=lambda item: (-item[1], order.index(item[0]))))


def unknown(covers: Iterable[str], legend: Legend) -> list[str]:
    """The covers that the legend gives no meaning."""
    return [cover for cover in covers if meaning(cover, legend) is None]
