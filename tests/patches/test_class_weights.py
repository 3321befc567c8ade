"""Class weights: three formulas, the clip, classes left out, and the published vector of the Sentinel-2 challenge."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch.config.experiments import ClassWeights
from landcover_orch.errors import TrainingError
from landcover_orch.patches.class_weights import class_weights
from tests.unions import names

CHALLENGE = {
    "no_data": (0, 0.0),
    "clouds": (20_643, 0.0),
    "artificial": (60_971_025, 2.48438814),
    "cultivated": (404_760_981, 0.374234916),
    "broadleaf": (277_012_377, 0.546819219),
    "coniferous": (96_473_046, 1.57013485),
    "herbaceous": (333_407_133, 0.454326487),
    "natural material": (9_775_295, 15.4957668),
    "permanent snow": (1_071, 141_433.886),
    "water": (29_404_605, 5.15142753),
}
"""Class -> train pixels, and the weight that the study prints: rounded to float32, nine digits."""


def _weights(pixels: list[int], **settings: Any) -> tuple[float, ...]:
    names = [f"c{i}" for i in range(len(pixels))]
    return class_weights(ClassWeights.model_validate(settings), pixels, names)


def test_the_published_vector_of_the_sentinel_2_challenge() -> None:
    pixels, printed = zip(*CHALLENGE.values(), strict=True)
    settings = ClassWeights(name="balanced", clip=None, exclude_classes=("no_data", "clouds"))
    result = class_weights(settings, pixels, list(CHALLENGE))
    exact = [0.0, 0.0, *(float(Fraction(sum(pixels[2:]), n * 8)) for n in pixels[2:])]
    np.testing.assert_allclose(result, exact, rtol=1e-12)
    # One unit in the last place of the float32 that was printed.
    np.testing.assert_allclose(result, printed, rtol=2.0**-23)


def test_inverse_frequency_has_mean_one() -> None:
    np.testing.assert_allclose(_weights([100, 50, 25], name="inverse"), np.array([1, 2, 4]) * 3 / 7)


def test_median_frequency_gives_one_to_the_class_in_the_middle() -> None:
    assert _weights([100, 50, 25], name="median") == (0.5, 1.0, 2.0)


def test_weights_are_clipped_unless_told_otherwise_and_absent_classes_do_not_count() -> None:
    np.testing.assert_allclose(_weights([10_000, 0, 1], name="inverse"), [2 / 11, 1, 20 / 11])
    np.testing.assert_allclose(_weights([10_000, 0, 1], name="balanced", clip=None), [10_001 / 30_000, 1, 10_001 / 3])
    assert _weights([0, 0], name="median") == (1.0, 1.0)


@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=12),
    st.sampled_from(names(ClassWeights.model_fields["name"].annotation)),
    st.floats(1, 1000),
)
def test_rarer_classes_never_weigh_less_and_none_exceeds_the_clip(pixels: list[int], name: str, clip: float) -> None:
    result = [(n, w) for n, w in zip(pixels, _weights(pixels, name=name, clip=clip), strict=True) if n]
    assert all(one[1] >= other[1] for one in result for other in result if one[0] <= other[0])
    if result:
        assert max(w for _, w in result) <= clip * min(w for _, w in result) * (1 + 1e-12)
        assert min(w for _, w in result) > 0


def test_classes_without_that_the_legend_does_not_know_are_named_all_at_once() -> None:
    settings = ClassWeights(name="balanced", exclude_classes=("watr", "road"))
    with pytest.raises(TrainingError) as caught:
        class_weights(settings, [1, 2], ["water", "forest"], "quick.yaml: loss.class_weights")
    assert [problem.fix for problem in caught.value.problems] == ["did you mean 'water'?", "take it out"]
    assert "quick.yaml: loss.class_weights.exclude_classes: 'watr'" in str(caught.value)


def test_leaving_every_class_out_is_refused() -> None:
    with pytest.raises(TrainingError, match="every class of the legend"):
        _weights([1, 2], name="inverse", exclude_classes=["c0", "c1"])
