"""Class rasters on the orthophoto's grid, made from polygons, code rasters or colour-coded rasters."""
