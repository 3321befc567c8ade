"""MLflow leaderboard: one run of the dataset's experiment that always shows the present table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from landcover_orch.store.products import LEADERBOARD as PRODUCT
from landcover_orch.store.products import SUMMARY
from landcover_orch.store.publish import Product
from landcover_orch.tracking import notes
from landcover_orch.tracking.describe import describe_scored
from landcover_orch.tracking.runs import DATASET, NOTE, experiment_of, provenance, run_url
from landcover_orch.tracking.server import reachable

RUN = "leaderboard"
LEADERBOARD = "landcover.leaderboard"
TABLES = {"leaderboard": "leaderboard.json", "competition": "competition.json"}
"""Key of the product's summary -> the artifact that MLflow's evaluation view and `load_table` read."""


def log_leaderboard(dataset: str, product: Product, home: Path) -> str:
    """Address of the run named `leaderboard`, which shows this leaderboard: its tables, its page and its other files.

    The same leaderboard is logged once; another takes its place.

    Raises:
        TrackingError: MLflow does not answer.
    """
    with reachable(home, "logging the leaderboard") as client:
        run_id = leaderboard_run(client, dataset, home)
        if client.get_run(run_id).data.tags.get(LEADERBOARD) != product.fingerprint:
            log_tables(client, run_id, product)
            client.set_tag(run_id, NOTE, note(dataset, home))
            describe_scored(client, dataset, home)  # each beside all others, whose reports are there now
    return run_url(run_id, home)


def note(dataset: str, home: Path) -> str:
    """Description of the run."""
    heading = (
        f"Every experiment of the dataset **{notes.escaped(dataset)}** and its baselines, on the same test pixels."
    )
    return notes.cut(
        [notes.dataset_verdict(dataset, home), heading, notes.pages(dataset, {"the leaderboard": (PRODUCT, PRODUCT)})]
    )


def leaderboard_run(client: Any, dataset: str, home: Path) -> str:
    """Id of the dataset's run named `leaderboard`, created if there is none."""
    experiment = experiment_of(client, dataset, home)
    runs = client.search_runs([experiment], filter_string=f"attributes.run_name = '{RUN}'", order_by=["start_time"])
    run = next((run for run in runs if LEADERBOARD in run.data.tags), None)
    return str(
        (
            run or client.create_run(experiment, tags={LEADERBOARD: "", DATASET: dataset, **provenance()}, run_name=RUN)
        ).info.run_id
    )


def log_tables(client: Any, run_id: str, product: Product) -> None:
    """Replaces the run's tables (columns, then a list a row, as `log_table` writes them) and files, and ends it."""
    from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

    summary = product.json(SUMMARY)
    tables = {key: artifact for key, artifact in TABLES.items() if key in summary}
    for key, artifact in tables.items():  # not log_table, which adds its rows to those of the last leaderboard
        rows = summary[key]
        columns = list(rows[0]) if rows else []
        data = [[row[name] for name in columns] for row in rows]
        client.log_text(run_id, json.dumps({"columns": columns, "data": data}), artifact)
    for name in product.files:
        client.log_artifact(run_id, str(product.file(name)))
    shown = [{"path": artifact, "type": "table"} for artifact in tables.values()]
    client.set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps(shown))
    client.set_tag(run_id, LEADERBOARD, product.fingerprint)
    client.set_terminated(run_id, "FINISHED")
