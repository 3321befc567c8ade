"""Training arrays: windows, the Zarr store, statistics, splits and the dataset's manifest."""

VERSION = 1
"""Raised when the same inputs and configuration would give other bytes of a patch store."""

MANIFEST_VERSION = 5
"""Likewise of the dataset's manifest."""

WATCH_VERSION = 1
"""Likewise of the distance of a tile from what was trained on."""
