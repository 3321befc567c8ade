"""A recipe that repeats, in MLflow: one run for all of it, the repetitions' runs below, a version each."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store.publish import Product
from landcover_orch.tracking.registry import ModelVersion, register, told_whole
from landcover_orch.tracking.runs import PARENT, Start, Tracker, finished_run, run_url
from landcover_orch.tracking.server import reachable


@dataclass(frozen=True)
class Repeated:
    """The versions of all repetitions by name, which of them was chosen, and the page of the run they belong to."""

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
) -> Repeated:
    """Registers each repetition's model and nests its run; what MLflow has already is left as it is.

    Each is a version, since each may be a member of an ensemble, or answer in the chosen one's stead; only the chosen
    one becomes `challenger`.

    Args:
        summary: the product of the recipe that repeats.
        models: repetition -> its model.
        experiment: name of the recipe.
        figures: of the recipe's run, by name.
        manifest: that of the dataset.
        home: folder everything is written below.
        tags: of the runs, where they are made.

    Raises:
        TrackingError: MLflow does not answer.
    """
    chosen = str(summary.json("summary.json")["chosen"])
    versions = {
        name: register(model, manifest, home, tags=tags, challenger=name == chosen) for name, model in models.items()
    }
    run_id = finished_run(manifest.dataset.name, experiment, summary.fingerprint, home)
    run_id = run_id or _run_afterwards(summary, experiment, figures, manifest, home, tags)
    with reachable(home, "nesting runs") as speaker:
        for version in versions.values():
            if speaker.get_run(version.run_id).data.tags.get(PARENT) != run_id:
                speaker.set_tag(version.run_id, PARENT, run_id)
    return Repeated(versions, chosen, run_id, run_url(run_id, home))


def _run_afterwards(
    summary: Product,
    experiment: str,
    figures: Mapping[str, float],
    manifest: DatasetManifest,
    home: Path,
    tags: Mapping[str, str] | None,
) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        start = Start.of(manifest, experiment, summary.recipe, Path(scratch) / "journal.jsonl")
        with Tracker(start, home, tags) as told:
            return told_whole(told, summary, figures)
