"""Networks, one file a family, and the contract a trained one travels with.

The names below load torch when they are first used: the contract alone must stay cheap to import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landcover_orch.model.networks import Normalised, build, load, parameters, save

__all__ = ["Normalised", "build", "load", "parameters", "save"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(importlib.import_module("landcover_orch.model.networks"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
