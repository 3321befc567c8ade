"""Geometry on image and mask alike, colour on the image alone, drawn from (seed, epoch, step)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.config.experiments import Augmentation
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
    varied, varied_label = on_host(image, label, draw((6, 2), GEOMETRY, seed, epoch, step), BANDS)
    np.testing.assert_array_equal(varied[:, 0], varied_label)


def test_all_eight_positions_occur() -> None:
    image, label = _batch(200)
    image[:], label[:] = image[0], label[0]
    _, varied_label = on_host(image, label, draw((200, 2), GEOMETRY, 0, 0, 0), BANDS)
    assert len(np.unique(varied_label.reshape(200, -1), axis=0)) == 8


@pytest.mark.parametrize(("flips", "right_angles", "ways"), [(True, False, 4), (False, True, 4), (False, False, 1)])
def test_only_what_is_asked_for(flips: bool, right_angles: bool, ways: int) -> None:
    image, label = _batch(100)
    image[:], label[:] = image[0], label[0]
    asked = Augmentation(flips=flips, right_angles=right_angles, brightness=0, contrast=0)
    _, varied_label = on_host(image, label, draw((100, 2), asked, 0, 0, 0), BANDS)
    assert len(np.unique(varied_label.reshape(100, -1), axis=0)) == ways


def test_colour_leaves_the_mask_alone_and_stays_uint8() -> None:
    image, label = _batch()
    varied, varied_label = on_host(image, label, draw((6, 2), COLOUR, 0, 0, 0), BANDS)
    np.testing.assert_array_equal(varied_label, label)
    assert varied.dtype == np.uint8
    assert not np.array_equal(varied, image)


def test_the_table_gives_what_the_formula_gives() -> None:
    image, label = _batch()
    drawn = draw((6, 2), COLOUR, 5, 6, 7)
    varied, _ = on_host(image, label, drawn, BANDS)
    mean, std = MEAN[None, :, None, None], STD[None, :, None, None]
    gain, shift = drawn.gain[:, None, None, None], drawn.shift[:, None, None, None]
    expected = (image.astype(np.float32) - mean) * gain + mean + shift * std
    assert np.abs(varied - expected.clip(0, 255)).max() <= 0.501


EVERYTHING = Augmentation(
    rotation=180, zoom=(0.5, 2), brightness=0.2, contrast=0.1, gamma=0.3, noise=0.0, band_dropout=0.3
)


@pytest.mark.parametrize("asked", [Augmentation(gamma=0.4, band_dropout=0.2), EVERYTHING], ids=["tables", "warped"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_host_and_device_agree(dtype: str, asked: Augmentation) -> None:
    image, label = _batch(dtype=dtype)
    drawn = draw(image.shape, asked, 1, 2, 3)
    varied, varied_label = on_host(image, label, drawn, BANDS)
    there, there_label = on_device(torch.from_numpy(image), torch.from_numpy(label), drawn, BANDS)
    np.testing.assert_array_equal(varied_label, there_label.numpy())
    assert varied.dtype == (np.uint8 if dtype == "uint8" else np.float32)
    np.testing.assert_allclose(varied, there.numpy(), atol=0.501 if dtype == "uint8" else 1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_what_the_cpu_gives() -> None:
    image, label = _batch()
    drawn = draw(image.shape, EVERYTHING, 1, 2, 3)
    here = on_device(torch.from_numpy(image), torch.from_numpy(label), drawn, BANDS)
    there = on_device(torch.from_numpy(image).cuda(), torch.from_numpy(label).cuda(), drawn, BANDS)
    torch.testing.assert_close(there[0].cpu(), here[0], atol=0.01, rtol=0)
    assert (there[1].cpu() == here[1]).float().mean() > 0.99  # a pixel that lies between two may go to either


NOTHING = Augmentation(flips=False, right_angles=False, brightness=0, contrast=0)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_ranges_of_nothing_change_nothing(dtype: str) -> None:
    image, label = _batch(dtype=dtype)
    drawn = draw(image.shape, NOTHING, 4, 5, 6)
    for varied, varied_label in (
        on_host(image, label, drawn, BANDS),
        on_device(torch.from_numpy(image), torch.from_numpy(label), drawn, BANDS),
    ):
        np.testing.assert_array_equal(np.asarray(varied), image)
        np.testing.assert_array_equal(np.asarray(varied_label), label)


WARPS = {
    "rotation": Augmentation(rotation=180),
    "in": Augmentation(zoom=(1.5, 3)),
    "out": Augmentation(zoom=(0.4, 0.8)),
}


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(list(WARPS)), st.integers(0, 2**31), st.booleans())
def test_an_image_of_its_own_label_stays_one(warp: str, seed: int, floats: bool) -> None:
    blobs = np.random.default_rng(seed).integers(0, 5, (4, 4, 4), np.uint8).repeat(12, 1).repeat(12, 2)
    image = np.stack([blobs * 50] * 2, axis=1).astype("float32" if floats else "uint8")
    bands = Bands(*(np.full(2, value, np.float32) for value in (100, 30, 0, 200)))
    asked = WARPS[warp].model_copy(update={"brightness": 0, "contrast": 0})
    varied, varied_label = on_host(image, blobs, draw(image.shape, asked, seed, 0, 0), bands)
    assert set(np.unique(varied_label)) <= {*np.unique(blobs), 255}
    inside = (varied_label != 255) & ~_near_a_border(varied_label)
    assert inside.any()
    np.testing.assert_allclose(varied[:, 0][inside], varied_label[inside] * 50.0, atol=0.01)
    outside = (varied_label == 255) & ~_near_a_border(varied_label)
    np.testing.assert_allclose(varied[:, 1][outside], 100, atol=0.01)


def _near_a_border(label: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Pixels that differ from one of those up to two pixels away, or lie that near the edge."""
    wide = np.pad(label.astype(int), ((0, 0), (2, 2), (2, 2)), constant_values=-1)
    around = np.lib.stride_tricks.sliding_window_view(wide, (5, 5), axis=(1, 2))
    edges: np.ndarray = around.min(axis=(3, 4)) != around.max(axis=(3, 4))  # type: ignore[type-arg]
    return edges


def test_zooming_out_keeps_the_whole_patch_and_zooming_in_none_of_the_margin() -> None:
    image, label = _batch(40)
    label[:] = 1
    for zoom, share in ((0.5, 0.25), (2.0, 1.0)):
        asked = NOTHING.model_copy(update={"zoom": (zoom, zoom)})
        _, varied_label = on_host(image, label, draw(image.shape, asked, 0, 0, 0), BANDS)
        ratio = (varied_label == 1).mean(axis=(1, 2))
        assert ratio.mean() == pytest.approx(share, abs=0.03)
        assert len(np.unique(varied_label.reshape(40, -1), axis=0)) > 1 or zoom > 1


def test_crops_lie_at_random_places() -> None:
    rows = np.arange(64, dtype=np.float32).reshape(-1, 1).repeat(64, 1)
    image, asked = np.stack([[rows, rows]] * 50), NOTHING.model_copy(update={"zoom": (4, 4)})
    varied, _ = on_host(image, rows[None].repeat(50, 0).astype(np.uint8), draw(image.shape, asked, 0, 0, 0), BANDS)
    tops, heights = varied[:, 0, 0, 0], np.ptp(varied[:, 0, :, 0], axis=1)
    assert tops.min() < 10 < 40 < tops.max() < 49
    np.testing.assert_allclose(heights, 63 / 4, atol=1e-3)


def test_gamma_keeps_the_extremes_and_the_order() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(2, 1)
    asked = NOTHING.model_copy(update={"gamma": 0.5})
    varied, _ = on_host(image, image[:, 0], draw(image.shape, asked, 3, 0, 0), BANDS)
    flat = varied[0, 0].reshape(-1).astype(int)
    assert (flat[0], flat[250]) == (0, 250)
    assert (np.diff(flat) >= 0).all()
    assert np.abs(flat - np.arange(256)).max() > 5


def test_a_dropped_band_is_its_mean_without_noise_in_it() -> None:
    image, label = _batch(60)
    asked = NOTHING.model_copy(update={"band_dropout": 0.5, "noise": 1.0, "contrast": 0.3, "gamma": 0.2})
    drawn = draw(image.shape, asked, 0, 0, 0)
    varied, _ = on_host(image, label, drawn, BANDS)
    assert 0.3 < drawn.dropped.mean() < 0.7
    assert all((varied[i, j] == MEAN[j]).all() == drawn.dropped[i, j] for i, j in np.ndindex(60, 2))


def test_noise_has_the_spread_that_was_drawn_and_is_drawn_anew() -> None:
    image, label = np.full((8, 2, 64, 64), 128, np.float32), np.zeros((8, 64, 64), np.uint8)
    asked = NOTHING.model_copy(update={"noise": 0.5})
    drawn, other = (draw(image.shape, asked, 0, epoch, 0) for epoch in (0, 1))
    noise = on_host(image, label, drawn, BANDS)[0] - 128
    np.testing.assert_allclose(noise.std(axis=(2, 3)), drawn.noise[:, None] * STD, rtol=0.06)
    assert np.abs(np.corrcoef(noise.reshape(16, -1)) - np.eye(16)).max() < 0.08
    again, otherwise = (on_host(image, label, d, BANDS)[0] - 128 for d in (drawn, other))
    np.testing.assert_array_equal(again, noise)
    assert abs(np.corrcoef(noise.ravel(), otherwise.ravel())[0, 1]) < 0.05


def test_what_is_not_a_number_stays_so() -> None:
    image, label = _batch(dtype="float32")
    image[:, :, 2, 3] = np.nan
    asked = EVERYTHING.model_copy(update={"rotation": 0, "zoom": (1, 1), "noise": 0.2})
    varied, _ = on_host(image, label, draw(image.shape, asked, 0, 0, 0), BANDS)
    assert np.isnan(varied).sum() == 12
    np.testing.assert_array_equal(np.isnan(varied[:, 0]), np.isnan(varied[:, 1]))


def test_draws_follow_from_their_numbers_alone() -> None:
    first, same = (draw((32, 2), EVERYTHING, 1, 2, 3) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(vars(first).values(), vars(same).values(), strict=True))
    for other in ((9, 2, 3), (1, 9, 3), (1, 2, 9)):
        another = draw((32, 2), EVERYTHING, *other)
        for name in ("turns", "gain", "angle", "zoom", "centre", "dropped", "noise_seed"):
            assert not np.array_equal(getattr(first, name), getattr(another, name))
