"""Sliding-window prediction of whole tiles: streamed windows, blended so that the map does not depend on its order."""

VERSION = 1
"""Raised when the same inputs and configuration would give other bytes."""
