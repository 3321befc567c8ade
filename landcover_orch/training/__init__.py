"""Training: losses, augmentation, loader, the learning loop, and the product it ends in. Runs on torch alone.

`run` loads torch and Lightning when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landcover_orch.training.product import recipe, run

__all__ = ["VERSION", "recipe", "run"]

VERSION = 3
"""Raised when the same inputs and configuration would give other bytes."""


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(importlib.import_module("landcover_orch.training.product"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
