"""Scheduled retraining: whether a training is due, and why; compared with what was last tried."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from landcover_orch.config import Dataset, Retraining, experiment_names, experiments_of
from landcover_orch.config.experiments.repetitions import base_of
from landcover_orch.errors import IncompleteError, pluralise
from landcover_orch.patches import manifest as manifests
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.planner.plan import Plan, State, Step
from landcover_orch.store.products import DATASET_MANIFEST, DRIFT, MODEL, SUMMARY, folder, published_products

FILE = "retraining.json"
NEVER = Retraining(when="never")


@dataclass(frozen=True)
class Due:
    """A training that is due: since when and why; the digest of the manifest, once it has begun."""

    since: str
    reason: str
    digest: str | None = None


@dataclass(frozen=True)
class Memory:
    """What is due, and the digest of the manifest that was last trained on, or tried."""

    due: Due | None = None
    tried: str | None = None
    tried_at: float = 0.0
    """Seconds since 1970."""

    attempts: Mapping[str, str] = field(default_factory=dict)
    """Experiment -> fingerprint of the training that was last tried."""


def load(dataset: str, home: Path) -> Memory:
    """The memory of a dataset's trainings; an empty one where there is none, or it is damaged."""
    try:
        content: dict[str, Any] = json.loads((home / dataset / FILE).read_text(encoding="utf-8"))
        due = content.get("due")
        tried_at, attempts = float(content.get("tried_at", 0)), dict(content.get("attempts", {}))
        return Memory(Due(**due) if due else None, content.get("tried"), tried_at, attempts)
    except (OSError, ValueError, TypeError, AttributeError):
        return Memory()


def save(dataset: str, memory: Memory, home: Path) -> None:
    """Replaces the memory of a dataset's trainings."""
    path = home / dataset / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{FILE}.new")
    due = None if memory.due is None else vars(memory.due)
    temporary.write_text(json.dumps({**vars(memory), "due": due}, indent=1), encoding="utf-8")
    temporary.replace(path)


def request(dataset: str, reason: str, home: Path, now: datetime | None = None) -> None:
    """Records that a training is due, once: the sensor does it. A later request adds nothing to one that waits."""
    memory = load(dataset, home)
    if memory.due is None:
        since = (now or datetime.now(UTC)).isoformat(timespec="seconds")
        save(dataset, replace(memory, due=Due(since, reason)), home)


class Rule:
    """The rule of a dataset's `retraining` block for one plan: says of each step whether it is due.

    Args:
        dataset: whose trainings they are.
        home: folder everything is written below.
        records: whether a training that is due is recorded, for the sensor to do; else nothing is written.
    """

    def __init__(self, dataset: Dataset, home: Path, *, records: bool = True) -> None:
        self._dataset, self._home, self._records = dataset, home, records
        self._settings = dataset.retraining or NEVER
        named = [name for file in self._settings.experiments for name in experiment_names(file)]
        self._chosen = set(named) or set(experiments_of(dataset))
        self.memory = load(dataset.name, home)
        self._manifest: DatasetManifest | None = None

    def held(self, step: Step) -> str | None:
        """Why a step is not due: a new training, or a new manifest while one is under way; None where it is."""
        if step.asset == DATASET_MANIFEST:
            return self._held_manifest()
        if step.asset != MODEL:
            return None
        if self._was_built(step):
            return None  # its product is gone: it is made again, whatever the rule
        if base_of(str(step.partition)) not in self._chosen and str(step.partition) not in self._chosen:
            return "`retraining.experiments` leaves it to a person"
        return self._not_due(step)

    def _held_manifest(self) -> str | None:
        """A training is finished on the manifest that it began with, so that it ends however often tiles arrive."""
        due, manifest = self.memory.due, self._present()
        if due is None or due.digest is None or manifest is None or due.digest != manifest.digest:
            return None
        return "the training under way is finished first"

    def _present(self) -> DatasetManifest | None:
        if self._manifest is None:
            try:
                self._manifest = manifests.load_current(self._home, self._dataset.name)
            except IncompleteError:
                return None
        return self._manifest

    @staticmethod
    def _was_built(step: Step) -> bool:
        """Whether a model of this very recipe was there before, and is gone, damaged, or to be built again."""
        cost = None if step.product is None else step.product.with_name(f".{step.product.name}.cost.json")
        return cost is not None and cost.exists() and step.cause != "stale"

    def _not_due(self, step: Step) -> str | None:
        """Why no training is due; None where one is."""
        manifest = self._present()
        if manifest is None:
            return "no manifest yet"
        if self.memory.due is None:
            reason, why_not = self._judged(manifest, step)
            if reason is None:
                return why_not
            if self._records:
                request(self._dataset.name, reason, self._home)
                self.memory = load(self._dataset.name, self._home)
            else:
                self.memory = replace(self.memory, due=Due("", reason))
        self._begin(manifest, step)
        return None

    def _begin(self, manifest: DatasetManifest, step: Step) -> None:
        """Records what is tried: the manifest of the training that is due, and the recipe of an experiment."""
        due, name = self.memory.due, str(step.partition)
        before = self.memory
        if due is not None and due.digest is None:
            due = replace(due, digest=manifest.digest)
            self.memory = replace(self.memory, due=due, tried=manifest.digest, tried_at=time.time())
        if step.fingerprint is not None:
            self.memory = replace(self.memory, attempts={**self.memory.attempts, name: step.fingerprint})
        if self._records and self.memory != before:
            save(self._dataset.name, self.memory, self._home)

    def _judged(self, manifest: DatasetManifest, step: Step) -> tuple[str | None, str]:
        """The reason why a training is due, or None; and why it is not."""
        when = self._settings.when
        if when in ("new_data", "drift") and self.memory.attempts.get(str(step.partition)) == step.fingerprint:
            return None, "this training was tried, and ended without a result: materialise it by hand"
        if when == "new_data":
            return self._new_data(manifest, step)
        if when == "drift":
            return self._drift(manifest, step)
        if when == "never":
            return None, "models are trained by hand (`retraining.when: never`)"
        return None, f"the next training is due by `retraining.when.cron`: {when}"

    def _new_data(self, manifest: DatasetManifest, step: Step) -> tuple[str | None, str]:
        tried = self._last_tried(step)
        if tried is None:
            return "nothing was trained yet", ""
        if tried == manifest.digest:
            return "an experiment has changed", ""
        new, before = new_pixels(manifest, self._dataset.name, tried, self._home)
        least = self._settings.at_least
        changed = f"{pluralise(new, 'labelled pixel is', 'labelled pixels are')} new or changed"
        if least is None or least.reached(new, before):
            return f"new data: {changed}, of {before:,} before", ""
        return None, f"{changed}; a training is due from {least} on"

    def _drift(self, manifest: DatasetManifest, step: Step) -> tuple[str | None, str]:
        tried = self._last_tried(step)
        if tried is None:
            return "nothing was trained yet", ""
        largest = largest_drift(self._dataset.name, [tile.name for tile in manifest.tiles], self._home)
        if largest is None or largest[1] <= self._settings.drift:
            return None, f"no mapped tile drifts by more than {self._settings.drift:g} standard deviations"
        if tried == manifest.digest:
            return None, f"tile {largest[0]} drifts, but the manifest is that of the last training"
        return f"drift: tile {largest[0]} lies {largest[1]:.2f} standard deviations off what was trained on", ""

    def _last_tried(self, step: Step) -> str | None:
        """Digest of the manifest that an experiment was last trained on, by whomever, or tried by this rule."""
        name, models = str(step.partition), folder(self._home, self._dataset.name, MODEL)
        trained = published_products(models, [name]).values()
        known = [(product.path.stat().st_mtime, str(product.recipe.inputs.get("manifest"))) for product in trained]
        if self.memory.tried is not None and name in self.memory.attempts:
            known.append((self.memory.tried_at, self.memory.tried))
        return max(known)[1] if known else None

    def settle(self, described: Plan, active: bool) -> str | None:
        """Ends a training that is due once nothing of it is to be run; says so where there was nothing to do.

        Args:
            described: the plan by this rule.
            active: whether anything of it is requested or runs.
        """
        due = self.memory.due
        if due is None or active:
            return None
        unfinished, made = described.of(State.BUILD, State.WAITING), trained_assets(described)
        pending = [step for step in unfinished if step.asset in made]
        manifest = self._present()
        broken = [step for step in described.of(State.FAILED, State.BLOCKED) if step.asset == DATASET_MANIFEST]
        blocked = [step for step in described.of(State.BLOCKED) if step.asset == MODEL]
        if blocked and due.digest is None and not broken:
            self.memory = replace(self.memory, due=None)
            save(self._dataset.name, self.memory, self._home)
            return f"training due ({due.reason}), but {blocked[0]}"
        if broken:
            return f"training due ({due.reason}), but the manifest cannot be made: {broken[0].reason}"
        changing = any(step.asset == DATASET_MANIFEST for step in unfinished)
        if manifest is None or (changing and due.digest is None):
            return f"training due ({due.reason}), but the manifest is not ready"
        self.memory = replace(self.memory, due=None)
        save(self._dataset.name, self.memory, self._home)
        if due.digest is None:
            return "training due, but the manifest is that of the last training"
        stuck = f"; {pending[0]} waits for a hand" if pending else ""
        return f"training finished ({due.reason}){stuck}"


def trained_assets(described: Plan) -> set[str]:
    """The model and the assets of later stages that are made of it, up to the first that stands while it is not due."""
    names: set[str] = {MODEL}
    last_ones: set[str] = set()
    for asset in described.assets:
        if any(dependency.asset in names - last_ones for dependency in asset.dependencies):
            names.add(asset.name)
            if asset.stands():
                last_ones.add(asset.name)
    return names


def new_pixels(manifest: DatasetManifest, dataset: str, digest: str, home: Path) -> tuple[int, int]:
    """Labelled pixels of tiles that are new or changed since the manifest of a digest, and all that it had."""
    from landcover_orch.patches.dataset import of_digest  # loads rasters, which definitions do without

    product = next(of_digest(dataset, digest, home), None)
    former = manifests.load(product.path).tiles if product is not None else ()
    versions = {tile.name: (tile.ground_truth_fingerprint, tile.image_fingerprint) for tile in former}
    labelled = {tile.name: sum(map(sum, tile.class_pixels.values())) for tile in manifest.tiles}
    before = sum(sum(map(sum, tile.class_pixels.values())) for tile in former)
    changed = (
        t.name for t in manifest.tiles if versions.get(t.name) != (t.ground_truth_fingerprint, t.image_fingerprint)
    )
    return sum(labelled[name] for name in changed), before


def largest_drift(dataset: str, tiles: Sequence[str], home: Path) -> tuple[str, float] | None:
    """The mapped tile, of these, that lies farthest off what the champion was trained on, in standard deviations."""
    drifts = folder(home, dataset, DRIFT)
    rows = {name: product.json(SUMMARY)["largest"] for name, product in published_products(drifts, tiles).items()}
    known = {name: float(value) for name, value in rows.items() if value is not None}
    return max(known.items(), key=lambda item: item[1]) if known else None
