"""Label quality: topology, conservation of area, and the shift of labels against their image."""

VERSION = 5
"""Raised when the same inputs and configuration would give other bytes."""
