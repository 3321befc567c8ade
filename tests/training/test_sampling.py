"""Patches by the classes they hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch.training.loader import shuffled
from landcover_orch.training.sampling import by_class, order
from tests.training.classroom import experiment, patches

COUNT = np.array([[100, 0, 0, 0], [60, 0, 40, 0], [0, 0, 10, 0], [0, 0, 0, 0], [99, 0, 0, 1]])
"""Five patches; nobody holds the second class, and one patch holds nothing."""


@given(st.integers(1, 40), st.integers(1, 12) | st.none(), st.integers(0, 99), st.integers(0, 99))
def test_an_epoch_is_as_long_as_without(size: int, steps: int | None, seed: int, epoch: int) -> None:
    steps_drawn = by_class(COUNT, size, steps, seed, epoch)
    assert [len(step) for step in steps_drawn] == [len(step) for step in shuffled(len(COUNT), size, steps, seed, epoch)]
    assert not (np.concatenate(steps_drawn) == 3).any()


def test_classes_come_alike_and_patches_by_their_pixels() -> None:
    drawn = np.concatenate(by_class(COUNT, 100, 600, 0, 0))
    share = np.bincount(drawn, minlength=5) / drawn.size
    first, third, fourth = COUNT[:, 0] / 259, COUNT[:, 2] / 50, COUNT[:, 3] / 1
    np.testing.assert_allclose(share, (first + third + fourth) / 3, atol=0.006)


def test_draws_follow_from_seed_and_epoch_alone() -> None:
    def drawn(seed: int, epoch: int) -> list[int]:
        return [int(i) for step in by_class(COUNT, 8, 20, seed, epoch) for i in step]

    assert drawn(1, 2) == drawn(1, 2)
    assert len({tuple(drawn(seed, epoch)) for seed in (1, 2, 3) for epoch in (0, 1, 2)}) == 9


@pytest.mark.parametrize("steps", [None, 3])
def test_the_experiment_says_which(steps: int | None) -> None:
    source, plain = patches(20), experiment(seed=4)
    for steps_drawn, expected in (
        (order(source, plain, 7, steps), shuffled(20, 8, steps, 4, 7)),
        (
            order(source, plain.model_copy(update={"sampling": "by_class"}), 7, steps),
            by_class(source.class_count(), 8, steps, 4, 7),
        ),
    ):
        assert [step.tolist() for step in steps_drawn] == [step.tolist() for step in expected]
