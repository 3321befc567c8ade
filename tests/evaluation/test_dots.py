"""Dot plots: any number of repetitions, values below zero, nothing at all, and baselines that lie close."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from landcover_orch.evaluation.dots import BASELINE, DOT, dots


def _fraction(png: bytes, colour: str) -> float:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    expected = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return float((np.abs(pixels - expected).max(axis=2) <= 60).mean())


def test_each_repetition_is_a_dot() -> None:
    spread = dots({"a": [0.2, 0.5, 0.8], "b": [0.3, 0.9]})
    lone = dots({"a": [0.5], "b": [0.3]})
    assert _fraction(spread, DOT) > 1.5 * _fraction(lone, DOT) > 0


def test_what_is_undefined_or_negative_is_drawn_too() -> None:
    assert _fraction(dots({"$none_$": [None, None], "worse than chance": [-0.4, None]}), DOT) > 0
    assert dots({"none": []}) != dots({"none": [0.0]})


def test_baselines_are_lines_with_names() -> None:
    baselines = {"constant": 0.21, "drawn": 0.22, "forest <b>": 0.8}
    with_baselines = _fraction(dots({"a": [0.5, 0.6]}, baselines=baselines), BASELINE)
    assert with_baselines > 3 * _fraction(dots({"a": [0.5, 0.6]}), BASELINE)
    assert with_baselines > _fraction(dots({"a": [0.5, 0.6]}, baselines={"constant": 0.21}), BASELINE)
