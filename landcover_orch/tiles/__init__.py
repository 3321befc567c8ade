"""Tiles: catalogue, imagery, radiometry and previews of the input rasters."""
