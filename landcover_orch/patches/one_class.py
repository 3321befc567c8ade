"""One-class labels: polygons of a single class while all else is ignored, of which nothing can be learnt."""

from __future__ import annotations

from landcover_orch.config import Dataset, file_label
from landcover_orch.errors import Problem
from landcover_orch.legend import IGNORE_NAME, Legend


def one_class_problem(
    dataset: Dataset, legend: Legend, held: set[str], labelled: float, pixels: float
) -> Problem | None:
    """The problem of labels that all are of one class while the rest is ignored; None where there is another class.

    A model trained on them scores an accuracy of 1.000 with a map of one colour.

    Args:
        dataset: whose labels they are.
        legend: its classes.
        held: the classes that the labels hold.
        labelled: pixels that have a class.
        pixels: all pixels, those that are ignored among them.
    """
    if dataset.labels.unlabelled != IGNORE_NAME or len(held) != 1 or labelled == pixels:
        return None
    (name,) = held
    other = next((known for known in legend.names if known != name), None)
    fix = f"set `labels.unlabelled: {other}` where all else is {other!r}"
    if other is None:
        file = file_label("legends", legend.name)
        fix = f"add a class for all else to {file} and name it as `labels.unlabelled`"
    found = f"'ignore', while all labels are {name!r} ({labelled:,.0f} of {pixels:,.0f} pixels)"
    expected = "two classes at least: of one alone a model learns nothing, and scores an accuracy of 1.000 with it"
    return Problem(f"{file_label('datasets', dataset.name)}: labels.unlabelled", found, expected, fix)
