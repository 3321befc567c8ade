"""The lineage of a dataset: a module a stage or an asset, each with `definitions(dataset)`: its assets and checks.

A module that is added here is loaded, planned and documented; nothing lists them.
"""
