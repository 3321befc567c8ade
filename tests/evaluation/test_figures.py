"""Figures: pictures of the right content, also for absent classes, many classes and odd names."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from landcover_orch.evaluation import figures
from landcover_orch.evaluation.figures import View, short_count
from landcover_orch.legend import IGNORE
from tests.evaluation.scored import legend

NAMES = ("$field_$", "forest <b>", "water")
MATRIX = np.array([[60, 2, 0], [1, 10, 0], [0, 0, 0]], np.int64)


def _pixels(data: bytes) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _fraction(data: bytes, colour: tuple[int, int, int]) -> float:
    return float((np.abs(_pixels(data).astype(int) - colour).max(axis=2) <= 3).mean())


@pytest.mark.parametrize("count", [1, 3, 30])
def test_matrices_of_any_number_of_classes_are_drawn(count: int) -> None:
    matrix = np.diag(np.arange(1, count + 1)).astype(np.int64)
    picture = _pixels(figures.matrices(matrix, [f"class {i}" for i in range(count)]))
    assert picture.shape[1] > 2 * picture.shape[0]
    assert 0.1 < (picture.min(axis=2) < 250).mean() < 0.9


def test_an_empty_matrix_and_absent_classes_are_drawn() -> None:
    assert figures.matrices(np.zeros((3, 3), np.int64), NAMES) != figures.matrices(MATRIX, NAMES)
    assert figures.class_bars(np.zeros((3, 3), np.int64), legend(NAMES)) != figures.class_bars(MATRIX, legend(NAMES))


def test_bars_are_as_long_as_their_measures() -> None:
    perfect = np.diag([5, 5, 5]).astype(np.int64)
    half = np.array([[5, 5, 0], [5, 5, 0], [0, 0, 0]], np.int64)
    blue = (0x2B, 0x6C, 0xA3)
    full, less = (_fraction(figures.class_bars(m, legend(NAMES)), blue) for m in (perfect, half))
    assert 0.2 < less / full < 0.5


def _view(predicted: int) -> View:
    labels = np.zeros((60, 80), np.uint8)
    labels[:, 40:] = IGNORE
    return View(
        name="a",
        image=np.full((60, 80, 3), (10, 200, 90), np.uint8),
        labels=labels,
        scored=labels,
        predicted=np.full((60, 80), predicted, np.uint8),
        confidence=np.full((60, 80), 200, np.uint8),
    )


def test_maps_show_photo_labels_errors_and_interpreted_pixels() -> None:
    incorrect, correct = (figures.maps(_view(predicted), legend(NAMES)) for predicted in (1, 0))
    red = (215, 25, 28)
    assert _fraction(incorrect, red) > 0.05 > 10 * _fraction(correct, red)
    photo = _fraction(incorrect, (10, 200, 90))
    black = _fraction(incorrect, (0, 0, 0))
    assert photo == pytest.approx(black, rel=0.1)  # photo: one panel whole, one half; black: half of three


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (9999, "9999"), (12_345, "12.3k"), (999_999, "1e+03k"), (4_560_000, "4.56M"), (2_052_000_000, "2.05G")],
)
def test_counts_stayshort_count(count: int, text: str) -> None:
    assert short_count(count) == text
