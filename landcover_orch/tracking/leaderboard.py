"""The leaderboard in MLflow: one run of the dataset's experiment, always showing the present table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from landcover_orch.store.publish import Product
from landcover_orch.tracking.runs import experiment_of, run_url
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
    with reachable(home, "logging the leaderboard") as speaker:
        run_id = _run(speaker, dataset, home)
        if speaker.get_run(run_id).data.tags.get(LEADERBOARD) != product.fingerprint:
            _log(speaker, run_id, product)
    return run_url(run_id, home)


def _run(speaker: Any, dataset: str, home: Path) -> str:
    experiment = experiment_of(speaker, dataset, home)
    found = speaker.search_runs([experiment], filter_string=f"attributes.run_name = '{RUN}'", order_by=["start_time"])
    run = next((run for run in found if LEADERBOARD in run.data.tags), None)
    return str((run or speaker.create_run(experiment, tags={LEADERBOARD: ""}, run_name=RUN)).info.run_id)


def _log(speaker: Any, run_id: str, product: Product) -> None:
    from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

    summary = product.json("summary.json")
    for key, artifact in TABLES.items():  # not log_table, which adds its rows to those of the last leaderboard
        speaker.log_text(run_id, _table(summary[key]), artifact)
    for name in product.files:
        speaker.log_artifact(run_id, str(product.file(name)))
    shown = [{"path": artifact, "type": "table"} for artifact in TABLES.values()]
    speaker.set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps(shown))
    speaker.set_tag(run_id, LEADERBOARD, product.fingerprint)
    speaker.set_terminated(run_id, "FINISHED")


def _table(rows: list[dict[str, Any]]) -> str:
    """Rows of one shape as `log_table` writes them: columns, then a list a row."""
    columns = list(rows[0]) if rows else []
    return json.dumps({"columns": columns, "data": [[row[name] for name in columns] for row in rows]})
