"""Training arrays: windows, the Zarr store, statistics, splits and the dataset's manifest."""

VERSION = 1
"""Raised when the same inputs and configuration would give other bytes."""
