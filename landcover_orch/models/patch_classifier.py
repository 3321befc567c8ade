"""Sliding-window patch classification: a small network classifies the central pixel of a window.

The window slides over the image by `step` pixels, as in Ciresan et al. 2012 (NIPS, neuronal membranes); between
windows the logits are enlarged. The network: 3x3 convolution, ReLU and 2x2 max-pool until less than 4 pixels are left,
one convolution over these, and a 1x1 to the classes. A window of 33 pixels costs 5.2 M multiplications a pixel at
step 1 (width 32, 3 bands), most of them on pixels that other windows have seen too.

The same weights, evaluated densely, cost 0.23 M: pools keep every offset (stride 1), and what follows them is dilated
(Li et al. 2014, arXiv:1412.4526). The logits are the same, so step 1 is evaluated that way. There is no batch-norm,
whose statistics would differ between the two.

Where it differs from the original: every labelled pixel trains, through the enlargement, not one pixel a window; edges
are repeated, so that pixels at the border have windows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from landcover_orch.config.experiments import models
from landcover_orch.models.padding import pad_to_multiple

CHUNK = 2**17
"""Pixels of windows that are classified at once, or one row of windows; at width 32 the first convolution then holds
16 MB. Twice as fast as eight times as many, which leave the cache."""


def build(settings: models.PatchClassifier, bands: int, classes: int) -> PatchClassifier:
    """The network that settings describe."""
    return PatchClassifier(bands, classes, settings.window, settings.width, settings.step)


class PatchClassifier(nn.Module):
    """Logits (n, class, y, x) of normalised images (n, band, y, x) of any size."""

    def __init__(self, bands: int, classes: int, window: int = 33, width: int = 32, step: int = 4) -> None:
        super().__init__()
        self.window, self.step = window, step
        self.convolutions = nn.ModuleList()
        channels, side = bands, window
        while side >= 4:
            after = width * min(2 ** len(self.convolutions), 8)
            self.convolutions.append(nn.Conv2d(channels, after, 3))
            channels, side = after, (side - 2) // 2
        self.whole = nn.Conv2d(channels, channels * 2, side)
        self.head = nn.Conv2d(channels * 2, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x): by sliding windows, or the same ones densely where there is one a pixel."""
        if self.step == 1:
            return self.dense(x)
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.step)
        logits = F.interpolate(self.sliding(x, self.step), x.shape[-2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]

    def sliding(self, x: Tensor, step: int) -> Tensor:
        """Logits (n, class, y / step, x / step), one window at a time: the central pixels of cells of `step` pixels."""
        windows = self._padded(x, step).unfold(2, self.window, step).unfold(3, self.window, step)
        rows = max(1, CHUNK // (windows.shape[3] * self.window**2))
        return torch.cat([self.in_chunks(image, rows) for image in torch.split(windows, 1)])

    def dense(self, x: Tensor) -> Tensor:
        """Logits (n, class, y, x) as of a window around each pixel, in one fully convolutional pass."""
        height, width = x.shape[-2:]
        x, dilation = self._padded(x, 1), 1
        for layer in self.convolutions:
            x = F.max_pool2d(_dilated_convolution(layer, x, dilation).relu(), 2, stride=1, dilation=dilation)
            dilation *= 2
        x = _dilated_convolution(self.whole, x, dilation).relu()
        logits: Tensor = self.head(x[..., :height, :width])
        return logits

    def in_chunks(self, windows: Tensor, rows: int) -> Tensor:
        """Logits of windows, so many rows of them at a time (gradient checkpointing in training)."""
        parts = torch.split(windows, rows, dim=2)
        if torch.is_grad_enabled():
            # Activations of all windows do not fit memory: those of a chunk are computed again for its gradient.
            return torch.cat([checkpoint(self._classes, part, use_reentrant=False) for part in parts], dim=2)
        return torch.cat([self._classes(part) for part in parts], dim=2)

    def _classes(self, windows: Tensor) -> Tensor:
        """Logits (n, class, row, column) of windows (n, band, row, column, y, x)."""
        n, bands, rows, columns = windows.shape[:4]
        x = windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, bands, self.window, self.window)
        for layer in self.convolutions:
            x = F.max_pool2d(layer(x).relu(), 2)
        logits: Tensor = self.head(self.whole(x).relu())
        return logits.reshape(n, rows, columns, -1).permute(0, 3, 1, 2)

    def _padded(self, x: Tensor, step: int) -> Tensor:
        """`x` with its edges repeated, so that windows every `step` pixels have cells of `step` around their centre."""
        before = self.window // 2 - step // 2
        after = self.window - step - before
        return F.pad(x, (before, after, before, after), mode="replicate")


def _dilated_convolution(layer: nn.Module, x: Tensor, dilation: int) -> Tensor:
    """A convolution whose weights stand `dilation` pixels apart."""
    return F.conv2d(x, layer.get_parameter("weight"), layer.get_parameter("bias"), dilation=dilation)
