"""What assets are given: the client that starts the training process."""

from __future__ import annotations

import dagster as dg


def resources() -> dict[str, object]:
    """Resources of the code location by name."""
    return {"pipes": dg.PipesSubprocessClient()}
