"""The lineage as Dagster assets: thin, and the only importer of dagster."""

import warnings

# Backfill policies, data versions on results and partitioned checks are used knowingly; Dagster is pinned. Filtered by
# text: BetaWarning and PreviewWarning as classes would load Dagster with every command of the command line.
warnings.filterwarnings("ignore", message=".* is currently in (beta|preview)")
