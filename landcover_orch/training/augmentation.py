"""Data augmentation: geometry on image and mask together, colour on the image alone.

Everything is drawn from (seed, epoch, step), so that no generator's state has to be saved, no two threads draw the
same, and each epoch draws anew. On a CPU, uint8 images change by look-up in a table of 256 values a band, as long as
nothing asks for values between pixels or for noise; all else is arithmetic in float32 on the device the batch is on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from landcover_orch.config.experiments import Augmentation
from landcover_orch.legend import IGNORE

VARIATION, NOISE = 1, 2
"""Separate these streams of random numbers from the others of one (seed, epoch)."""

STRIP = 128
"""Rows that are rotated at a time, so that what is read stays in the fastest cache: in half the time of all at once."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Bands:
    """Band statistics of the train pixels: colours vary in units of the standard deviation, between the extremes."""

    mean: Floats
    std: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Draw:
    """Parameters of the augmentation of a batch; all arrays begin with the length of the batch.

    In this order: `turns` by 90 degrees; mirroring of rows and of columns; rotation by `angle` radians and scaling by
    `zoom` about a `centre` (y, x) in 0 to 1; low + (high - low) ((x - low) / (high - low))^gamma;
    (x - mean) gain + mean + shift std; noise of `noise` std; `dropped` bands (n, band) become their mean.
    The patches are those from `first` on of the `batch_size` that noise is drawn for.
    """

    turns: NDArray[np.int64]
    flip_rows: NDArray[np.bool_]
    flip_cols: NDArray[np.bool_]
    angle: Floats
    zoom: Floats
    centre: Floats
    gamma: Floats
    gain: Floats
    shift: Floats
    noise: Floats
    dropped: NDArray[np.bool_]
    noise_seed: int
    first: int
    batch_size: int

    def of(self, rows: slice) -> Draw:
        """Parameters of some patches of a batch, the same as when all of it is there."""
        fields: dict[str, Any] = {
            name: value[rows] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return replace(self, **fields, first=rows.indices(self.batch_size)[0])

    @property
    def warps(self) -> bool:
        """Whether pixels move by fractions."""
        return bool(self.angle.any() or (self.zoom != 1).any())

    @property
    def colours(self) -> bool:
        """Whether values change by something other than noise."""
        return bool((self.gamma != 1).any() or (self.gain != 1).any() or self.shift.any() or self.dropped.any())


def draw(shape: tuple[int, ...], settings: Augmentation, seed: int, epoch: int, step: int) -> Draw:
    """Draws the augmentation of a batch of `shape` (n, band, ...); the same for the same numbers, on any machine."""
    random, count = np.random.default_rng([seed, epoch, step, VARIATION]), shape[0]

    def uniform(low: float, high: float, *size: int) -> Floats:
        return random.uniform(low, high, (count, *size)).astype(np.float32)

    turns = random.integers(0, 4, count) * settings.right_angles
    mirrored = random.integers(0, 2, (2, count)).astype(bool) & settings.flips
    return Draw(
        turns=turns,
        flip_rows=mirrored[0],
        flip_cols=mirrored[1],
        gain=uniform(1 - settings.contrast, 1 + settings.contrast),
        shift=uniform(-settings.brightness, settings.brightness),
        angle=np.deg2rad(uniform(-settings.rotation, settings.rotation)),
        zoom=uniform(*settings.zoom),
        centre=uniform(0, 1, 2),
        gamma=uniform(1 - settings.gamma, 1 + settings.gamma),
        noise=uniform(0, settings.noise),
        dropped=random.random((count, shape[1])) < settings.band_dropout,
        noise_seed=int(np.random.SeedSequence([seed, epoch, step, NOISE]).generate_state(1, np.uint64)[0] >> 1),
        first=0,
        batch_size=count,
    )


def on_host(
    image: NDArray[Any], label: NDArray[np.uint8], drawn: Draw, bands: Bands
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Augments a batch on the CPU: uint8 stays uint8 (rounded and clipped), other dtypes become float32.

    Args:
        image: (n, band, y, x), not normalised; y = x.
        label: (n, y, x).
        drawn: parameters of each patch.
        bands: statistics of the train pixels.
    """
    if image.dtype == np.uint8 and not drawn.warps and not drawn.noise.any():
        tables = colour_tables(drawn, bands) if drawn.colours else None
        return _rotate_patches(image, drawn, tables), _rotate_patches(label[:, None], drawn)[:, 0]
    varied, varied_label = on_device(torch.from_numpy(image), torch.from_numpy(label), drawn, bands)
    return (varied.round_().to(torch.uint8) if image.dtype == np.uint8 else varied).numpy(), varied_label.numpy()


def transform_ids_on_host(numbers: NDArray[np.int32], drawn: Draw) -> NDArray[np.int32]:
    """Ids (n, y, x) rotated and warped as `on_host` does labels; 0 outside."""
    if drawn.warps:
        return transform_ids_on_device(torch.from_numpy(numbers), drawn).numpy()
    return _rotate_patches(numbers[:, None], drawn)[:, 0]


def transform_ids_on_device(numbers: Tensor, drawn: Draw) -> Tensor:
    """Ids (n, y, x) rotated and warped as `on_device` does labels; 0 outside."""
    transformed = _rotate_tensor(numbers, drawn)
    if not drawn.warps:
        return transformed
    # float32 holds integers up to 2^24: the upper and the lower half are warped apart
    halves = torch.stack([transformed >> 16, transformed & 0xFFFF], dim=1).to(torch.float32)
    upper, lower = F.grid_sample(halves, _grid(transformed, drawn), "nearest", "zeros", align_corners=False).unbind(1)
    return (upper.to(numbers.dtype) << 16) | lower.to(numbers.dtype)


def _rotate_patches(values: NDArray[Any], drawn: Draw, tables: NDArray[np.uint8] | None = None) -> NDArray[Any]:
    """The bands of each patch, looked up in `tables` (n, band, 256) where there are any, then rotated and mirrored.

    A quarter turn is a transposition and a mirroring.
    """
    rotated = np.empty_like(values)
    for i, j in np.ndindex(values.shape[:2]):
        band = values[i, j]
        if tables is not None:
            # bytes.translate looks up 2.5 bytes a nanosecond; numpy's indexing widens every index to 64 bits first.
            looked_up = band.tobytes().translate(tables[i, j].tobytes())
            band = np.frombuffer(looked_up, np.uint8).reshape(band.shape)
        turns = drawn.turns[i]
        rows, cols = drawn.flip_rows[i] ^ (turns in (1, 2)), drawn.flip_cols[i] ^ (turns in (2, 3))
        out = rotated[i, j, :: -1 if rows else 1, :: -1 if cols else 1]
        if turns % 2 == 0:
            np.copyto(out, band)
            continue
        for start in range(0, len(band), STRIP):
            np.copyto(out[:, start : start + STRIP], band[start : start + STRIP].T)
    return rotated


def colour_tables(drawn: Draw, bands: Bands) -> NDArray[np.uint8]:
    """Look-up tables (n, band, 256): what each value of uint8 becomes."""
    shape = (*drawn.dropped.shape, 1, 256)
    values = change_colours(torch.arange(256, dtype=torch.float32).expand(shape), drawn, bands)
    tables: NDArray[np.uint8] = values.clamp(0, 255).round().to(torch.uint8).reshape(*shape[:2], 256).numpy()
    return tables


def on_device(image: Tensor, label: Tensor, drawn: Draw, bands: Bands) -> tuple[Tensor, Tensor]:
    """Augments a batch on the device its tensors are on, as float32; shapes and meaning as for `on_host`."""
    varied_image, varied_label = _rotate_tensor(image.to(torch.float32), drawn), _rotate_tensor(label, drawn)
    if drawn.warps:
        varied_image, varied_label = warp(varied_image, varied_label, drawn, bands)
    varied = add_noise(change_colours(varied_image, drawn, bands), drawn, bands)
    return varied.clamp(0, 255) if image.dtype == torch.uint8 else varied, varied_label


def _rotate_tensor(values: Tensor, drawn: Draw) -> Tensor:
    """The patches (n, ..., y, x), rotated and mirrored."""
    rotated = torch.empty_like(values)
    ways = np.stack([drawn.turns, drawn.flip_rows, drawn.flip_cols], axis=1)
    for way in np.unique(ways, axis=0):
        chosen = torch.from_numpy(np.flatnonzero((ways == way).all(axis=1))).to(values.device)
        turned = torch.rot90(values[chosen], int(way[0]), (-2, -1))
        axes = [axis for axis, flip in ((-2, way[1]), (-1, way[2])) if flip]
        rotated[chosen] = turned.flip(axes) if axes else turned
    return rotated


def warp(image: Tensor, label: Tensor, drawn: Draw, bands: Bands) -> tuple[Tensor, Tensor]:
    """Affine warp (rotation, scaling): bilinear, with the bands' means outside; the mask nearest, with 255 outside."""
    grid = _grid(image, drawn)
    mean = _per_band(bands.mean, image)
    away = label[:, None].to(torch.float32) - IGNORE
    image = F.grid_sample(image - mean, grid, "bilinear", "zeros", align_corners=False) + mean
    return image, (F.grid_sample(away, grid, "nearest", "zeros", align_corners=False) + IGNORE)[:, 0].to(label.dtype)


def _grid(values: Tensor, drawn: Draw) -> Tensor:
    """Sampling grid (n, y, x, 2): where in the source each pixel of (n, ..., y, x) lies, as (x, y) from -1 to 1."""
    cos, sin = np.cos(drawn.angle) / drawn.zoom, np.sin(drawn.angle) / drawn.zoom
    shift_x, shift_y = ((2 * drawn.centre - 1) * (1 - 1 / drawn.zoom)[:, None]).T
    matrices = np.stack([cos, -sin, shift_x, sin, cos, shift_y], axis=1).reshape(-1, 2, 3).astype(np.float32)
    size = [len(values), 1, *values.shape[-2:]]
    return F.affine_grid(torch.from_numpy(matrices).to(values.device), size, align_corners=False)


def change_colours(values: Tensor, drawn: Draw, bands: Bands) -> Tensor:
    """Colour jitter: values (n, band, y, x) after gamma, contrast, brightness and band dropout; NaN stays NaN."""
    if (drawn.gamma != 1).any():
        low = _per_band(bands.low, values)
        span = _per_band(np.where(bands.high > bands.low, bands.high - bands.low, 1).astype(np.float32), values)
        ratio = (values - low) / span
        # odd about the lowest value, so that what lies below it stays ordered
        bent = ratio.sign() * ratio.abs() ** _per_patch(drawn.gamma, values)
        values = bent * span + low
    gain = np.where(drawn.dropped, 0, drawn.gain[:, None]).astype(np.float32)
    shift = np.where(drawn.dropped, 0, drawn.shift[:, None])
    offset = (bands.mean * (1 - gain) + bands.std * shift).astype(np.float32)
    return values * _per_patch(gain, values) + _per_patch(offset, values)


def add_noise(values: Tensor, drawn: Draw, bands: Bands) -> Tensor:
    """Gaussian noise on values (n, band, y, x), drawn for the whole batch whatever part of it this is."""
    if not drawn.noise.any():
        return values
    generator = torch.Generator(values.device).manual_seed(drawn.noise_seed)
    spread = (drawn.noise[:, None] * bands.std * ~drawn.dropped).astype(np.float32)
    noise = torch.randn((drawn.batch_size, *values.shape[1:]), generator=generator, device=values.device)
    return values + noise[drawn.first : drawn.first + len(values)] * _per_patch(spread, values)


def _per_band(numbers: Floats, like: Tensor) -> Tensor:
    return torch.from_numpy(numbers).to(like.device).reshape(1, -1, 1, 1)


def _per_patch(numbers: Floats, like: Tensor) -> Tensor:
    """(n) or (n, band), to be spread over (n, band, y, x)."""
    return torch.from_numpy(numbers).to(like.device).reshape(len(numbers), -1, 1, 1)
