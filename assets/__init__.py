"""The lineage as Dagster assets: thin, and the only importer of dagster."""

import warnings

import dagster as dg

# backfill policies, data versions on results and partitioned checks are used knowingly; Dagster is pinned
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
