"""The matrix against a dumb loop, every published figure, and metrics whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from landcover_orch.errors import GridError
from landcover_orch.metrics import catalogue, confusion
from landcover_orch.metrics.metric import mean

FACTS = Path(__file__).resolve().parents[3] / "shared" / "facts" / "oracles.json"
MATRICES = st.integers(1, 5).flatmap(lambda n: arrays(np.int64, (n, n), elements=st.integers(0, 40)))
VAIHINGEN = ("scratch_vaihingen_15", "scratch_vaihingen_23", "imagenet_vaihingen_15", "imagenet_vaihingen_23")


@pytest.fixture(scope="module")
def oracles() -> Any:
    if not FACTS.is_file():
        pytest.skip(f"the published matrices are not at {FACTS}")
    return json.loads(FACTS.read_text(encoding="utf-8"))


@given(st.data())
def test_it_counts_like_a_loop(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(0, 8), st.integers(0, 8)))
    actual = data.draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 255])))
    predicted = data.draw(arrays(np.uint8, shape, elements=st.integers(0, 2)))
    expected = np.zeros((3, 3), int)
    for a, p in zip(actual.flat, predicted.flat, strict=True):
        if a != 255:
            expected[a, p] += 1
    np.testing.assert_array_equal(confusion.count(actual, predicted, 3), expected)


def test_blocks_add_up() -> None:
    rng = np.random.default_rng(0)
    actual, predicted = (rng.integers(0, 4, (3, confusion.BLOCK // 2)).astype(np.uint8) for _ in range(2))
    matrix = confusion.count(actual, predicted, 4)
    assert matrix.sum() == actual.size
    parts = [confusion.count(a, p, 4) for a, p in zip(actual, predicted, strict=True)]
    np.testing.assert_array_equal(matrix, np.sum(parts, axis=0))


def test_what_a_map_says_where_nothing_is_labelled_does_not_matter() -> None:
    actual, predicted = np.array([[255, 0]], np.uint8), np.array([[77, 0]], np.uint8)
    assert confusion.count(actual, predicted, 2).tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("actual", "predicted", "words"),
    [
        ([[3]], [[0]], r"actual classes: values \[3\]"),
        ([[254]], [[0]], r"actual classes: values \[254\]"),
        ([[0]], [[7]], r"predicted classes: values \[7\]"),
        ([[0]], [[255]], r"predicted classes: values \[255\]"),
        ([[0, 1]], [[0]], "shapes"),
    ],
)
def test_strays_are_errors(actual: Any, predicted: Any, words: str) -> None:
    with pytest.raises(GridError, match=words):
        confusion.count(np.array(actual, np.uint8), np.array(predicted, np.uint8), 3)


@given(MATRICES)
def test_metrics_follow_their_definitions(matrix: np.ndarray) -> None:
    """Class by class, one against the rest, by the textbook."""
    for i in range(len(matrix)):
        hits = matrix[i, i]
        missed, false = matrix[i].sum() - hits, matrix[:, i].sum() - hits
        for value, part, total in (
            (confusion.recall(matrix)[i], hits, hits + missed),
            (confusion.precision(matrix)[i], hits, hits + false),
            (confusion.iou(matrix)[i], hits, hits + missed + false),
            (confusion.f1(matrix)[i], 2 * hits, 2 * hits + missed + false),
        ):
            assert value == (pytest.approx(part / total) if total else None)


@given(MATRICES)
def test_kappa_and_mcc_are_those_of_the_pixels(matrix: np.ndarray) -> None:
    """MCC is the correlation of the one-hot codes of both maps (Gorodkin 2004), kappa their chance-corrected match."""
    n = len(matrix)
    pairs = np.repeat([(a, p) for a in range(n) for p in range(n)], matrix.reshape(-1), axis=0)
    if not len(pairs):
        assert confusion.mcc(matrix) is None
        assert confusion.kappa(matrix) is None
        return
    actual, predicted = np.eye(n)[pairs[:, 0]], np.eye(n)[pairs[:, 1]]
    centred = actual - actual.mean(axis=0), predicted - predicted.mean(axis=0)
    spread = np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    expected = (centred[0] * centred[1]).sum() / spread if spread > 1e-9 else 0.0
    assert confusion.mcc(matrix) == pytest.approx(expected, abs=1e-6)
    expected_agreement = float(actual.mean(axis=0) @ predicted.mean(axis=0))
    agreed = float((pairs[:, 0] == pairs[:, 1]).mean())
    kappa = confusion.kappa(matrix)
    if expected_agreement < 1 - 1e-9:
        assert kappa == pytest.approx((agreed - expected_agreement) / (1 - expected_agreement))
    else:
        assert kappa is None


def test_known_answers() -> None:
    """Cohen (1960)'s kind of example: 20 + 15 of 50 agree, kappa 0.4; MCC by the two-class formula."""
    matrix = np.array([[20, 5], [10, 15]])
    assert confusion.accuracy(matrix) == 0.7
    assert confusion.kappa(matrix) == pytest.approx(0.4)
    assert confusion.mcc(matrix) == pytest.approx((20 * 15 - 5 * 10) / np.sqrt(30 * 20 * 25 * 25))
    assert confusion.f1(matrix) == [pytest.approx(40 / 55), pytest.approx(30 / 45)]
    assert confusion.iou(matrix) == [20 / 35, 15 / 30]
    assert confusion.normalised(matrix, "actual") == [[0.8, 0.2], [0.4, 0.6]]
    assert confusion.normalised(matrix, "predicted") == [[pytest.approx(2 / 3), 0.25], [pytest.approx(1 / 3), 0.75]]


def test_an_absent_class_is_none_and_left_out_of_means() -> None:
    matrix = np.array([[8, 2, 0], [0, 0, 0], [0, 0, 0]])
    assert confusion.recall(matrix) == [0.8, None, None]
    assert confusion.precision(matrix) == [1.0, 0.0, None]
    assert confusion.iou(matrix) == [0.8, 0.0, None]
    assert mean(confusion.iou(matrix)) == pytest.approx(0.4)
    assert confusion.mcc(matrix) == 0.0  # a margin is empty
    assert set(catalogue.summary(np.zeros((2, 2), np.int64)).values()) == {None}


def test_r1_printed_precision_and_its_recall(oracles: Any) -> None:
    """The matrix was printed rows = predicted and normalised by rows: precision; forest recall is 0.7405."""
    facts = oracles["R1_pnoa_siose"]
    matrix = np.array(facts["matrix"], np.int64).T
    assert matrix.sum() == facts["total_pixels"]
    by_predicted = np.array(confusion.normalised(matrix, "predicted"), float).T
    np.testing.assert_allclose(by_predicted.round(2), facts["printed_normalised"])
    forest = confusion.recall(matrix)[0]
    assert forest is not None
    assert round(forest, 4) == 0.7405


@pytest.mark.parametrize("name", VAIHINGEN)
def test_r2_every_printed_accuracy(oracles: Any, name: str) -> None:
    facts = oracles["R2_resnet50_fcn_vaihingen"]["evaluations"][name]
    matrix = np.array(facts["confusion_rows_actual_cols_predicted"], np.int64)
    assert matrix.sum(axis=1).tolist() == facts["pixels_printed"]
    recalls = [None if value is None else round(100 * value, 1) for value in confusion.recall(matrix)]
    assert recalls == pytest.approx(facts["class_accuracy_percent_printed"], abs=0.051)
    accuracy = confusion.accuracy(matrix)
    assert accuracy is not None
    assert round(100 * accuracy, 2) == facts["oa_percent_printed"]


def test_r3_printed_mean_iou(oracles: Any) -> None:
    facts = oracles["R3_unet_potsdam_inria"]["inria"]
    assert mean(facts["iou"]) == pytest.approx(facts["miou"], abs=5e-5)
