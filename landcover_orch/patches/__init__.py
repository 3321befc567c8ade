"""Training arrays: windows, the Zarr store, statistics, splits and the dataset's manifest."""
