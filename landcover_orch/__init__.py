"""Land-cover mapping from aerial orthophotos: the library, which knows nothing of Dagster."""
