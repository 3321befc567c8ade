"""Verdicts in a sentence: scores, lead over a baseline, ground, version."""

from __future__ import annotations

import pytest

from landcover_orch.pages.verdict import CONSTANT, Scored, software, verdict

GROUND = "100 test pixels of tile a"


@pytest.mark.parametrize(
    ("best", "baseline", "models", "expected"),
    [
        (
            Scored("net", 0.5, 0.75),
            Scored(CONSTANT, 0.125, 0.5),
            1,
            "net: mean IoU 0.500, accuracy 0.750, 0.375 above the most frequent class alone (0.125), on",
        ),
        (
            Scored("net", 0.25, 0.5),
            Scored("forest", 0.5, 0.75, is_baseline=True),
            3,
            "net is the best of 3 models: mean IoU 0.250, accuracy 0.500, 0.250 below forest (0.500), on",
        ),
        (
            Scored("forest", 0.5, 0.75, is_baseline=True),
            None,
            2,
            "forest, a baseline, is the best of 2 models: mean IoU 0.500, accuracy 0.750, on",
        ),
        (Scored("net", None, None), Scored(CONSTANT, 0.1, 0.5), 1, "net: mean IoU \u2013, accuracy \u2013, on"),
    ],
)
def test_a_verdict_is_one_sentence(best: Scored, baseline: Scored | None, models: int, expected: str) -> None:
    text = verdict(best, baseline, GROUND, models=models)
    assert text == f"{expected} {GROUND}; by landcover_orch {software()}."


def test_a_decision_follows() -> None:
    text = verdict(Scored("net", 0.5, 0.75), None, GROUND, decision="Champion, by the rule on 2026-11-29: net.")
    assert text.endswith(f"{software()}. Champion, by the rule on 2026-11-29: net.")


def test_where_a_map_of_one_class_has_a_higher_accuracy_it_is_said() -> None:
    best = Scored("net", 0.5, 0.75)
    text = verdict(best, None, GROUND, constant=Scored(CONSTANT, 0.2, 0.9))
    assert "accuracy 0.750 (the most frequent class alone has accuracy 0.900), on" in text
    assert "(the most" not in verdict(best, None, GROUND, constant=Scored(CONSTANT, 0.2, 0.7))
