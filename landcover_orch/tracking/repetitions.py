"""Nested MLflow runs of an experiment that repeats: a parent run, the repetitions' runs below it, a version each."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store.products import SUMMARY
from landcover_orch.store.publish import Product
from landcover_orch.tracking.registry import ModelVersion, finish_run, register
from landcover_orch.tracking.runs import PARENT, Start, Tracker, finished_run, run_url
from landcover_orch.tracking.server import reachable


@dataclass(frozen=True)
class RegisteredRepetitions:
    """Registered versions of all repetitions by name, which of them was chosen, and the page of the parent run."""

    versions: dict[str, ModelVersion]
    chosen: str
    run_id: str
    run_url: str


def register_repetitions(
    summary: Product,
    models: Mapping[str, Product],
    experiment: str,
    figures: Mapping[str, float],
    manifest: DatasetManifest,
    home: Path,
    *,
    tags: Mapping[str, str] | None = None,
    challenger: bool = True,
) -> RegisteredRepetitions:
    """Registers each repetition's model and nests its run; what MLflow has already is left as it is.

    Each is a version, since each may be a member of an ensemble, or replace the chosen one; only the chosen one becomes
    `challenger`.

    Args:
        summary: the product of the experiment that repeats.
        models: repetition -> its model.
        experiment: name of the experiment.
        figures: metrics of the experiment's run, by name.
        manifest: that of the dataset.
        home: folder everything is written below.
        tags: of the runs, where they are made.
        challenger: whether the chosen one's version gets this alias, where it is made.

    Raises:
        TrackingError: MLflow does not answer.
    """
    chosen = str(summary.json(SUMMARY)["chosen"])
    versions = {
        name: register(model, manifest, home, tags=tags, challenger=challenger and name == chosen)
        for name, model in models.items()
    }
    run_id = finished_run(manifest.dataset.name, experiment, summary.fingerprint, home)
    if run_id is None:
        with tempfile.TemporaryDirectory() as scratch:
            start = Start.of(manifest, experiment, summary.recipe, Path(scratch) / "journal.jsonl")
            with Tracker(replace(start, afterwards=True), home, tags) as tracker:
                run_id = finish_run(tracker, summary, figures)
    with reachable(home, "nesting runs") as client:
        for version in versions.values():
            if client.get_run(version.run_id).data.tags.get(PARENT) != run_id:
                client.set_tag(version.run_id, PARENT, run_id)
    return RegisteredRepetitions(versions, chosen, run_id, run_url(run_id, home))
