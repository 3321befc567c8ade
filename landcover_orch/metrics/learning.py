"""Whether a model has learnt: its agreement with the labels, beside that of the most frequent class alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FAIR_KAPPA = 0.2
"""Cohen's kappa from which an agreement is 'fair' (Landis and Koch 1977); always the most frequent class has 0."""


def has_learnt(summary: Mapping[str, Any]) -> bool:
    """Whether a model has learnt: it beats the most frequent class in accuracy, or agrees fairly by Cohen's kappa.

    Accuracy alone would refuse models whose loss weighs rare classes up: they find those, and lose accuracy by it.

    Args:
        summary: `accuracy` and `majority_share` (the accuracy of always the most frequent class), and `kappa`.
    """
    kappa = summary.get("kappa")
    return summary["accuracy"] > summary["majority_share"] or (kappa is not None and kappa >= FAIR_KAPPA)


def not_learnt(summary: Mapping[str, Any]) -> str:
    """What a model that has not learnt scored, in words."""
    kappa = summary.get("kappa")
    agreement = "" if kappa is None else f", Cohen's kappa {kappa:.2f}"
    return (
        f"validation accuracy {summary['accuracy']:.3f}{agreement}; always the most frequent class: "
        f"{summary['majority_share']:.3f}"
    )
