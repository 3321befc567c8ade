"""Whole-tile maps: streamed windows, blended so that the map does not depend on how it was computed."""
