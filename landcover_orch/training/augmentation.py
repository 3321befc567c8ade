"""How training patches vary: flips and right angles on image and mask together, brightness and contrast on the image.

Everything is drawn from (seed, epoch, step), so that no generator's state has to be saved, and no two threads draw
the same. On a CPU, uint8 images change by look-up in a table of 256 values; on a GPU the device does it in float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landcover_orch.experiment import Augmentation

VARIATION = 1
"""Tells this stream of random numbers from the others of one (seed, epoch)."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Bands:
    """What the train pixels are like, a band each: colours vary in units of the spread, between the extremes."""

    mean: Floats
    std: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Draw:
    """What happens to each patch of a batch; all arrays have the length of the batch.

    `turns` by 90 degrees, then mirroring of rows and of columns; x -> (x - mean) * gain + mean + shift * std.
    """

    turns: NDArray[np.int64]
    flip_rows: NDArray[np.bool_]
    flip_cols: NDArray[np.bool_]
    gain: Floats
    shift: Floats


def draw(count: int, settings: Augmentation, seed: int, epoch: int, step: int) -> Draw:
    """What happens to the `count` patches of one batch; the same for the same numbers, on any machine."""
    random = np.random.default_rng([seed, epoch, step, VARIATION])
    turns = random.integers(0, 4, count) * settings.right_angles
    mirrored = random.integers(0, 2, (2, count)).astype(bool) & settings.flips
    gain = random.uniform(1 - settings.contrast, 1 + settings.contrast, count).astype(np.float32)
    shift = random.uniform(-settings.brightness, settings.brightness, count).astype(np.float32)
    return Draw(turns, mirrored[0], mirrored[1], gain, shift)


def on_host(
    image: NDArray[Any], label: NDArray[np.uint8], drawn: Draw, bands: Bands
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """A varied batch on the CPU: uint8 stays uint8 (rounded and clipped), other dtypes become float32.

    Args:
        image: (n, band, y, x), not normalised; y = x.
        label: (n, y, x).
        drawn: what happens to each.
        bands: what the train pixels are like.
    """
    dtype = np.uint8 if image.dtype == np.uint8 else np.float32
    varied, moved = np.empty(image.shape, dtype), np.empty_like(label)
    offset = (bands.mean * (1 - drawn.gain[:, None]) + bands.std * drawn.shift[:, None]).astype(np.float32)
    for i in range(len(image)):
        turned = _turned(image[i], drawn, i)
        varied[i] = _table(turned, drawn.gain[i], offset[i]) if dtype == np.uint8 else _line(turned, drawn, i, offset)
        moved[i] = _turned(label[i], drawn, i)
    return varied, moved


def _turned(values: NDArray[Any], drawn: Draw, i: int) -> NDArray[Any]:
    turned = np.rot90(values, drawn.turns[i], (-2, -1))
    rows, cols = (-1 if flip else 1 for flip in (drawn.flip_rows[i], drawn.flip_cols[i]))
    return turned[..., ::rows, ::cols]


def _table(image: NDArray[np.uint8], gain: np.float32, offset: Floats) -> NDArray[np.uint8]:
    values = np.arange(256, dtype=np.float32) * gain + offset[:, None]
    tables = np.rint(values).clip(0, 255).astype(np.uint8)
    # bytes.translate looks up a byte a nanosecond; numpy's indexing widens every index to 64 bits first.
    bands = [band.tobytes().translate(table.tobytes()) for band, table in zip(image, tables, strict=True)]
    return np.frombuffer(b"".join(bands), np.uint8).reshape(image.shape)


def _line(image: NDArray[Any], drawn: Draw, i: int, offset: Floats) -> Floats:
    varied: Floats = image.astype(np.float32) * drawn.gain[i] + offset[i][:, None, None]
    return varied


def on_device(image: Tensor, label: Tensor, drawn: Draw, bands: Bands) -> tuple[Tensor, Tensor]:
    """A varied batch on the device its tensors are on, as float32; shapes and meaning as for `on_host`."""
    device = image.device
    gain, shift = (torch.from_numpy(part).to(device).reshape(-1, 1, 1, 1) for part in (drawn.gain, drawn.shift))
    centre, spread = (torch.from_numpy(part).to(device).reshape(1, -1, 1, 1) for part in (bands.mean, bands.std))
    coloured = (image.to(torch.float32) - centre) * gain + centre + shift * spread
    varied, moved = torch.empty_like(coloured), torch.empty_like(label)
    ways = np.stack([drawn.turns, drawn.flip_rows, drawn.flip_cols], axis=1)
    for way in np.unique(ways, axis=0):
        chosen = torch.from_numpy(np.flatnonzero((ways == way).all(axis=1))).to(device)
        varied[chosen] = _turned_tensor(coloured[chosen], way)
        moved[chosen] = _turned_tensor(label[chosen], way)
    return varied, moved


def _turned_tensor(values: Tensor, way: NDArray[np.int64]) -> Tensor:
    turned = torch.rot90(values, int(way[0]), (-2, -1))
    axes = [axis for axis, flip in ((-2, way[1]), (-1, way[2])) if flip]
    return turned.flip(axes) if axes else turned
