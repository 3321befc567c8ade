"""Flips and right angles on both, brightness and contrast on the image, drawn from (seed, epoch, step)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.experiment import Augmentation
from landcover_orch.training.augmentation import Bands, draw, on_device, on_host

GEOMETRY = Augmentation(brightness=0, contrast=0)
COLOUR = Augmentation(flips=False, right_angles=False, brightness=0.5, contrast=0.4)
MEAN, STD = np.array([100, 120], np.float32), np.array([30, 20], np.float32)
BANDS = Bands(MEAN, STD, low=np.zeros(2, np.float32), high=np.full(2, 250, np.float32))


def _batch(count: int = 6, dtype: str = "uint8") -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    image = np.random.default_rng(3).integers(0, 250, (count, 2, 8, 8)).astype(dtype)
    return image, image[:, 0].astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 500), st.integers(0, 5000))
def test_image_and_mask_move_together(seed: int, epoch: int, step: int) -> None:
    image, label = _batch()
    varied, moved = on_host(image, label, draw(6, GEOMETRY, seed, epoch, step), BANDS)
    np.testing.assert_array_equal(varied[:, 0], moved)


def test_all_eight_positions_occur() -> None:
    image, label = _batch(200)
    image[:], label[:] = image[0], label[0]
    _, moved = on_host(image, label, draw(200, GEOMETRY, 0, 0, 0), BANDS)
    assert len(np.unique(moved.reshape(200, -1), axis=0)) == 8


@pytest.mark.parametrize(("flips", "right_angles", "ways"), [(True, False, 4), (False, True, 4), (False, False, 1)])
def test_only_what_is_asked_for(flips: bool, right_angles: bool, ways: int) -> None:
    image, label = _batch(100)
    image[:], label[:] = image[0], label[0]
    asked = Augmentation(flips=flips, right_angles=right_angles, brightness=0, contrast=0)
    _, moved = on_host(image, label, draw(100, asked, 0, 0, 0), BANDS)
    assert len(np.unique(moved.reshape(100, -1), axis=0)) == ways


def test_colour_leaves_the_mask_alone_and_stays_uint8() -> None:
    image, label = _batch()
    varied, moved = on_host(image, label, draw(6, COLOUR, 0, 0, 0), BANDS)
    np.testing.assert_array_equal(moved, label)
    assert varied.dtype == np.uint8
    assert not np.array_equal(varied, image)


def test_the_table_gives_what_the_formula_gives() -> None:
    image, label = _batch()
    drawn = draw(6, COLOUR, 5, 6, 7)
    varied, _ = on_host(image, label, drawn, BANDS)
    mean, std = MEAN[None, :, None, None], STD[None, :, None, None]
    gain, shift = drawn.gain[:, None, None, None], drawn.shift[:, None, None, None]
    expected = (image.astype(np.float32) - mean) * gain + mean + shift * std
    assert np.abs(varied - expected.clip(0, 255)).max() <= 0.501


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_host_and_device_agree(dtype: str) -> None:
    image, label = _batch(dtype=dtype)
    drawn = draw(6, Augmentation(brightness=0.2, contrast=0.1), 1, 2, 3)
    varied, moved = on_host(image, label, drawn, BANDS)
    image_tensor, label_tensor = (torch.from_numpy(part) for part in (image, label))
    there, there_label = on_device(image_tensor, label_tensor, drawn, BANDS)
    np.testing.assert_array_equal(moved, there_label.numpy())
    expected = there.clamp(0, 255) if dtype == "uint8" else there
    np.testing.assert_allclose(varied, expected.numpy(), atol=0.51 if dtype == "uint8" else 1e-3)


def test_draws_follow_from_their_numbers_alone() -> None:
    one, same = (draw(32, Augmentation(), 1, 2, 3) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(same).values(), strict=True))
    for other in ((9, 2, 3), (1, 9, 3), (1, 2, 9)):
        assert not np.array_equal(one.gain, draw(32, Augmentation(), *other).gain)
