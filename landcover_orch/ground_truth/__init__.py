"""Class rasters on the orthophoto's grid, made from polygons, code rasters or colour-coded rasters."""

VERSION = 3
"""Raised when the same inputs and configuration would give other bytes."""
