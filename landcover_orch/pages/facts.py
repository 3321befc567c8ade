"""Facts of products for people: numbers in four digits, scores named by the split that they are measured on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SCORE = re.compile(
    r"accuracy|kappa|mcc|majority_share|mean_\w+|weighted_\w+|kl_\w+|(mean )?(iou|f1|precision|recall) .+"
)
NAMES = {"loss": "train loss", "validation_loss": "validation loss"}


def name_scores(summary: Mapping[str, Any], split: str) -> dict[str, Any]:
    """A summary whose scores are named by their split: 'validation accuracy', 'test mean_iou'."""
    return {f"{split} {name}" if SCORE.fullmatch(name) else NAMES.get(name, name): v for name, v in summary.items()}


def rounded(value: float) -> float:
    """A number in four digits; of one from a thousand on, all digits before the point."""
    return float(round(value)) if abs(value) >= 1000 else float(f"{value:.4g}")
