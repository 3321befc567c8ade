"""A person's own package for tests: a network, a loss and a sampler that train in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PACKAGE = "field_maps"
"""Name of the package; no other module is called so."""

BLOCKS = """
from torch import nn

GAIN = 1.0


def block(channels, out):
    return nn.Sequential(nn.Conv2d(channels, out, 3, padding=1), nn.ReLU())
"""
NETWORK = """
from torch import nn

from field_maps.blocks import GAIN, block


class Plain(nn.Module):
    def __init__(self, bands, classes, width=4):
        super().__init__()
        self.layers = nn.Sequential(block(bands, width), nn.Conv2d(width, classes, 1))

    def forward(self, x):
        return GAIN * self.layers(x)
"""
LOSS = """
import torch


class SquaredError:
    def __init__(self, factor=1.0):
        self.factor = factor

    def __call__(self, logits, label, class_weights):
        counts = label != 255
        truth = torch.nn.functional.one_hot(label.where(counts, 0), logits.shape[1]).movedim(-1, 1)
        error = (logits.softmax(1) - truth).square().sum(1)
        return self.factor * error[counts].mean()
"""
SAMPLER = """
import numpy as np


class Fullest:
    def __init__(self, label=0):
        self.label = label

    def __call__(self, count, draws, epoch, random):
        return np.resize(np.argsort(-count[:, self.label], kind="stable"), draws)
"""
FILES = {"__init__.py": "", "blocks.py": BLOCKS, "networks.py": NETWORK, "losses.py": LOSS, "sampling.py": SAMPLER}
MODEL = {"name": "custom", "build": f"{PACKAGE}.networks:Plain", "arguments": {"width": 6}}
PARTS: dict[str, Any] = {
    "model": MODEL,
    "loss": [{"name": "custom", "build": f"{PACKAGE}.losses:SquaredError"}, "cross_entropy"],
    "sampling": {"name": "custom", "build": f"{PACKAGE}.sampling:Fullest"},
}
"""An experiment's parts that the package has."""


def write(folder: Path, package: str = PACKAGE, **changed: str) -> None:
    """Writes the package below a folder, some of its files with another text: `networks="..."`."""
    for file, text in {**FILES, **{f"{name}.py": text for name, text in changed.items()}}.items():
        (folder / package).mkdir(parents=True, exist_ok=True)
        (folder / package / file).write_text(text)
