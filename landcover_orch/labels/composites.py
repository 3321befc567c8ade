"""What becomes of a polygon with several covers, as the legend's `composites` says. No IO.

| decision | polygons with | class |
|---|---|---|
| simple | one cover | its entry in `codes` |
| largest | several, of which the file tells the largest alone | its entry in `codes` |
| predefined | one composite with a name, as DHS, that counts as a whole | that of `predefined`, else of `codes` |
| dominant | one cover with `min_fraction` of the polygon (rules dominant, dissolve) | its entry in `codes` |
| dissolved | covers of one class with `min_fraction` together (rule dissolve), or no other (rule soft) | that class |
| mixed | several, none with enough (rules dominant, dissolve) | ignore |
| ignored | several (rule ignore) | ignore |
| soft | several, of several classes, whose shares are kept (rule soft) | ignore |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from landcover_orch.errors import LabelError, Problem
from landcover_orch.labels.codes import Coding
from landcover_orch.labels.siose import Composite, Tree
from landcover_orch.labels.siose_covers import ARRANGEMENTS, PREDEFINED, names_of
from landcover_orch.legend import IGNORE_NAME, MEMBERS, Legend, entry

How = Literal["simple", "largest", "predefined", "dominant", "dissolved", "mixed", "ignored", "soft"]
HOW: tuple[How, ...] = ("simple", "largest", "predefined", "dominant", "dissolved", "mixed", "ignored", "soft")

UNDECIDED = ("mixed", "ignored", "soft")
"""Decisions that give a pixel no class, whatever its covers are."""

Parts = tuple[tuple[str, float], ...]
"""Covers of a polygon and the share of each; they sum to 1."""

ROUNDING = 1e-9


@dataclass(frozen=True)
class Decision:
    """How a polygon was decided, its class (or 'ignore'), and the shares by class; no shares where nobody told them."""

    how: How
    name: str
    shares: Parts = ()

    @property
    def code(self) -> str:
        """The decision in one word, as tables and the coding name it."""
        return f"{self.how}: {self.name}"


def coding(legend: Legend, unlabelled: str) -> Coding:
    """Numbers for every decision there can be; `unlabelled` is the class, or 'ignore', of pixels without a label."""
    names = (*legend.names, IGNORE_NAME)
    codes = tuple(Decision(how, name).code for how in HOW for name in names)
    classes = [*[legend.id_of(name) for name in names] * len(HOW), legend.id_of(unlabelled)]
    return Coding(codes, np.array(classes, np.uint16))


def meaning(cover: str, legend: Legend) -> str | None:
    """The class of a cover, or 'ignore'; None where the legend knows neither its label nor its number.

    What the legend says of the cover as it is called counts before what it says of its other names.
    """
    names = (cover, *names_of(cover))
    whole = next(
        (told for name in names if (told := legend.composites.predefined.get(name)) not in (None, MEMBERS)), None
    )
    if whole is not None:
        return whole
    found = next((name for name in names if name in legend.codes), None) or entry(names[-1], legend.codes)
    return None if found is None else legend.codes[found]


def counts_whole(cover: str, legend: Legend) -> bool:
    """Whether the legend gives a composite a meaning of its own, whatever its members are."""
    return any(legend.composites.predefined.get(name, MEMBERS) != MEMBERS for name in names_of(cover))


def parts(tree: Tree, legend: Legend) -> Parts:
    """The covers that count in a label: members rather than their composite, unless the legend says otherwise."""
    found: dict[str, float] = {}
    _collect(tree, 1.0, legend, found)
    return tuple(found.items())


def _collect(tree: Tree, share: float, legend: Legend, found: dict[str, float]) -> None:
    name = tree.head if isinstance(tree, Composite) else tree.label
    if not isinstance(tree, Composite) or counts_whole(name, legend):
        found[name] = found.get(name, 0.0) + share
        return
    for percent, part in tree.members:
        _collect(part, share * percent / 100, legend, found)


def require_predefined(legend: Legend) -> None:
    """Raises LabelError where the legend gives a meaning to composites that SIOSE does not have."""
    known = {*ARRANGEMENTS, *(name for label in PREDEFINED for name in names_of(label))}
    wrong = [name for name in legend.composites.predefined if name not in known]
    if wrong:
        where = f"configs/legends/{legend.name}.yaml: composites.predefined"
        expected = "composites of SIOSE by label or number, as DHS or 701"
        raise LabelError(Problem(where, str(wrong), expected, "correct the names; covers stand in `codes`"))


def decide(covers: Parts, legend: Legend) -> Decision:
    """The decision on a polygon; every cover must have a `meaning`.

    Raises:
        KeyError: a cover has none.
    """
    shares = by_class(covers, legend)
    if len(covers) == 1:
        alone = covers[0][0]
        named = alone in PREDEFINED or counts_whole(alone, legend)
        return Decision("predefined" if named else "simple", shares[0][0], shares)
    how, name = _RULES[legend.composites.rule](covers, shares, legend)
    return Decision(how, name, shares)


def by_class(covers: Parts, legend: Legend) -> Parts:
    """Shares by class, the ignored together, largest first (classes of one share in the legend's order)."""
    found: dict[str, float] = {}
    for cover, share in covers:
        name = meaning(cover, legend)
        if name is None:
            raise KeyError(cover)
        found[name] = found.get(name, 0.0) + share
    order = (*legend.names, IGNORE_NAME)
    return tuple(sorted(found.items(), key=lambda item: (-item[1], order.index(item[0]))))


def _dominant(covers: Parts, shares: Parts, legend: Legend) -> tuple[How, str]:
    cover, share = max(covers, key=lambda item: item[1])
    if share >= legend.composites.min_fraction - ROUNDING:
        return "dominant", str(meaning(cover, legend))
    return "mixed", IGNORE_NAME


def _dissolved(covers: Parts, shares: Parts, legend: Legend) -> tuple[How, str]:
    how, name = _dominant(covers, shares, legend)
    if how == "mixed" and shares[0][1] >= legend.composites.min_fraction - ROUNDING:
        return "dissolved", shares[0][0]
    return how, name


def _ignored(covers: Parts, shares: Parts, legend: Legend) -> tuple[How, str]:
    return "ignored", IGNORE_NAME


def _soft(covers: Parts, shares: Parts, legend: Legend) -> tuple[How, str]:
    return ("dissolved", shares[0][0]) if len(shares) == 1 else ("soft", IGNORE_NAME)


_RULES: dict[str, Callable[[Parts, Parts, Legend], tuple[How, str]]] = {
    "dominant": _dominant,
    "dissolve": _dissolved,
    "ignore": _ignored,
    "soft": _soft,
}


def unknown(covers: Iterable[str], legend: Legend) -> list[str]:
    """The covers that the legend gives no meaning."""
    return [cover for cover in covers if meaning(cover, legend) is None]
