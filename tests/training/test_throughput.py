"""The table of every run: images a second, with the cache it read from."""

from __future__ import annotations

import numpy as np
import pytest

from landcover_orch.training import throughput
from landcover_orch.training.augmentation import Bands
from landcover_orch.training.device import Device
from landcover_orch.training.fit import Task
from tests.training.classroom import CLASSES, experiment, patches


def task() -> Task:
    """Twenty patches in batches of 8."""
    bands = Bands(*(np.full(2, value, np.float32) for value in (100, 60, 0, 200)))
    device = Device("cpu", bfloat16=False, name="the CPU")
    return Task(experiment(), patches(20), patches(4), CLASSES, bands, (5, 3, 2), device)


def test_a_step_is_an_image_of_the_epochs_time() -> None:
    measured = throughput.table(task(), [2.0, 3.0])
    assert measured["step"] == pytest.approx(2 * 20 / 5)
    assert (measured["read"] or 0) > 0 < (measured["read_augment"] or 0)
    assert throughput.table(task(), [])["step"] is None


def test_what_is_measured_is_what_training_sees() -> None:
    batches = list(throughput.augmented(task()))
    assert [len(batch.image) for batch in batches] == [8, 8, 4]
    assert len(list(throughput.augmented(task(), 7))) == 7


def test_lines_name_the_cache_and_leave_out_what_was_not_measured() -> None:
    assert throughput.lines({"read": 51234.5, "read_augment": 2800.4, "step": None}, "disk") == [
        "throughput, images/s (cache: disk)",
        "  read                        51,234",
        "  read + augment               2,800",
    ]
    assert throughput.lines({"read": None, "read_augment": None, "step": None}, "none") == []
