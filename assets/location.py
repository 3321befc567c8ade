"""Code location: its names, apart from what loads Dagster."""

LOCATION, MODULE = "landcover_orch", "assets.definitions"
"""Code location, as workspace.yaml names it, and the module that it loads."""

REPOSITORY = "__repository__"
"""Dagster's name of the repository that a module of `Definitions` is."""
