"""The lineage as Dagster assets: thin, and the only importer of dagster."""
