"""Label files: polygons, rasters and components as source codes on the grid of an orthophoto."""
