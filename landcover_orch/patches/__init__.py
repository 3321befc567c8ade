"""Training arrays: windows, the Zarr store, statistics, splits and the dataset's manifest."""

VERSION = 1
"""Raised when the same inputs and configuration would give other bytes of a patch store."""

MANIFEST_VERSION = 2
"""Likewise of the dataset's manifest."""
