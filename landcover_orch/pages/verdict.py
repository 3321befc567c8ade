"""Verdict on a model in a sentence: its scores against a baseline, the ground they are measured on, date, version."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from landcover_orch.pages.page import format_ratio

CONSTANT = "the most frequent class alone"
"""Name of the dummy classifier that maps all ground as the class with most train pixels."""

NOT_SCORED = "No model has been scored yet."
"""Verdict on a dataset whose models no report has scored."""


@dataclass(frozen=True)
class Scored:
    """A model, or a baseline, with its scores; None where they are undefined."""

    name: str
    mean_iou: float | None
    accuracy: float | None
    is_baseline: bool = False


def verdict(
    best: Scored,
    baseline: Scored | None,
    ground: str,
    *,
    models: int = 1,
    decision: str = "",
    constant: Scored | None = None,
) -> str:
    """Verdict for people, the same on the index page, the report and the leaderboard.

    Args:
        best: the model, or the best of several.
        baseline: what it is compared with; None: there is none.
        ground: what the scores are measured on, as "4 096 test pixels (0.41 ha) of tile r1c1".
        models: how many it is the best of.
        decision: a further sentence: since when it is the champion.
        constant: the most frequent class alone, which is named where its accuracy is higher.
    """
    rank = f" is the best of {models} models" if models > 1 else ""
    kind = ", a baseline," if best.is_baseline and rank else ""
    scores = f"mean IoU {format_ratio(best.mean_iou)}, accuracy {format_ratio(best.accuracy)}"
    against = comparison(best, baseline) + higher_accuracy(best, constant)
    text = f"{best.name}{kind}{rank}: {scores}{against}, on {ground}; by landcover_orch {software()}."
    return f"{text} {decision}".rstrip()


def comparison(best: Scored, baseline: Scored | None) -> str:
    """How far a mean IoU lies above or below a baseline's; nothing where one of them has none."""
    if baseline is None or best.mean_iou is None or baseline.mean_iou is None:
        return ""
    lead = best.mean_iou - baseline.mean_iou
    side = "below" if lead < 0 else "above"
    return f", {format_ratio(abs(lead))} {side} {baseline.name} ({format_ratio(baseline.mean_iou)})"


def higher_accuracy(best: Scored, constant: Scored | None) -> str:
    """Says where a map of one class has a higher accuracy; nothing elsewhere."""
    if constant is None or constant.accuracy is None or best.accuracy is None or constant.accuracy <= best.accuracy:
        return ""
    return f" ({CONSTANT} has accuracy {format_ratio(constant.accuracy)})"


@cache
def software() -> str:
    """Version of the installed package."""
    try:
        return version("landcover_orch")
    except PackageNotFoundError:  # a registered model brings the library without its metadata
        return "of a model"
