"""Fitting a network to a dataset's patches, in a process of its own."""
