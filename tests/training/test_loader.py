"""Order and prefetching of batches."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from landcover_orch.training.loader import Batches, in_order, shuffled


class Numbered:
    """Patches whose pixels are their number; remembers who read."""

    def __init__(self, count: int, dtype: str = "uint8") -> None:
        self.count, self.dtype = count, dtype
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return self.count

    def take(self, indices: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Images and labels full of their number."""
        self.threads.add(threading.current_thread().name)
        image = np.broadcast_to(indices[:, None, None, None], (len(indices), 1, 2, 2)).astype(self.dtype)
        return image, image[:, 0].astype(np.uint8)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 99), st.integers(0, 99))
def test_every_patch_comes_once_an_epoch(count: int, size: int, seed: int, epoch: int) -> None:
    steps = shuffled(count, size, None, seed, epoch)
    assert sorted(np.concatenate(steps)) == list(range(count))
    assert all(len(step) == size for step in steps[:-1])


@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 12))
def test_a_given_number_of_steps_draws_evenly(count: int, size: int, steps: int) -> None:
    drawn = shuffled(count, size, steps, 0, 0)
    times = np.bincount(np.concatenate(drawn), minlength=count)
    assert [len(step) for step in drawn] == [size] * steps
    assert times.max() - times.min() <= 1


def test_epochs_and_seeds_differ_and_repeat() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [int(i) for i in np.concatenate(shuffled(50, 7, None, seed, epoch))]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_batches_come_in_order_in_the_stored_dtype_from_other_threads(dtype: str) -> None:
    source = Numbered(23, dtype)
    batches = list(Batches(source, in_order(np.arange(23), 4)))
    assert [batch.step for batch in batches] == list(range(6))
    assert torch.cat([batch.label[:, 0, 0] for batch in batches]).tolist() == list(range(23))
    assert {batch.image.dtype for batch in batches} == {getattr(torch, dtype)}
    assert threading.current_thread().name not in source.threads


def test_variation_hears_of_its_step() -> None:
    steps_read = []

    def vary(step: int, arrays: Any) -> Any:
        steps_read.append((step, int(arrays[1][0, 0, 0])))
        return arrays

    list(Batches(Numbered(8), in_order(np.arange(8), 2), vary))
    assert sorted(steps_read) == [(0, 0), (1, 2), (2, 4), (3, 6)]


def test_an_error_of_a_reading_thread_is_raised_here() -> None:
    class Broken(Numbered):
        def take(self, indices: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
            raise OSError("shard 3 is damaged")

    with pytest.raises(OSError, match="shard 3 is damaged"):
        list(Batches(Broken(9), in_order(np.arange(9), 3)))


def test_a_pass_that_is_left_early_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    passing = iter(Batches(Numbered(1000), in_order(np.arange(1000), 1)))
    next(passing)
    passing.close()  # type: ignore[attr-defined]
    assert not [thread for thread in {*threading.enumerate()} - before if thread.name.startswith("patches")]
