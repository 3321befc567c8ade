"""Model promotion by hand: `landcover promote`, and the alias `champion` that a person moved in MLflow."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from landcover_orch import tracking
from landcover_orch.config import Dataset
from landcover_orch.errors import IncompleteError, LandcoverError, Problem, PromotionError, TrackingError
from landcover_orch.evaluation import champion as election
from landcover_orch.evaluation.decisions import Champion, Decision, load_decisions, record
from landcover_orch.models.contract import load_contract
from landcover_orch.patches.manifest import load_current
from landcover_orch.store import publish
from landcover_orch.store.products import CHAMPION, MODEL, SUMMARY, folder
from landcover_orch.store.publish import Product
from landcover_orch.tracking import ModelVersion

ALIAS = "alias.json"
"""File beside the decisions: the version that this project last gave the alias `champion`."""


def set_aliases(dataset: Dataset, home: Path, promoter: str) -> None:
    """Gives the alias `champion` to the champion's version, and `challenger` to the one that waits for a hand.

    Raises:
        TrackingError: MLflow does not answer, or has no such version.
    """
    product = publish.current(folder(home, dataset.name, CHAMPION), CHAMPION)
    summary = product.json(SUMMARY)
    chosen = election.load(dataset.name, home)
    version = tracking.promote(dataset.name, chosen.product(home), summary, promoter, home)
    _remember_alias(dataset.name, version.version, home)
    if summary.get("challenger"):
        waiting = Champion.model_validate(summary["challenger"])
        tracking.set_challenger(dataset.name, waiting.product(home), home)


def _remember_alias(dataset: str, version: str, home: Path) -> None:
    path = folder(home, dataset, CHAMPION) / ALIAS
    temporary = path.with_name(f".{ALIAS}.new")
    temporary.write_text(json.dumps({"version": version}), encoding="utf-8")
    temporary.replace(path)


def _remembered_alias(dataset: str, home: Path) -> str | None:
    try:
        return str(json.loads((folder(home, dataset, CHAMPION) / ALIAS).read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError):
        return None


def follow_alias(dataset: Dataset, home: Path) -> str | None:
    """Compares the alias `champion` with what this project last gave it to; says in a sentence what was done.

    Where a person moved it, the decision is recorded, and that version is the champion from now on. Where it is gone,
    or could not be moved earlier, it is set.
    """
    if election.find(dataset.name, home) is None and _remembered_alias(dataset.name, home) is None:
        return None
    try:
        alias = tracking.champion(dataset.name, home)
        known = _remembered_alias(dataset.name, home)
        if alias is not None and alias.version != known and known is not None:
            decide(dataset, alias, None, "the alias `champion` was moved in MLflow", home)
            _remember_alias(dataset.name, alias.version, home)
            return f"the alias `champion` was moved to version {alias.version} by hand: recorded"
        chosen = election.load(dataset.name, home)
        if alias is None or alias.model != chosen.name:
            last = load_decisions(dataset.name, home)[-1:]
            if not last or last[0].champion.name == chosen.name:
                set_aliases(dataset, home, "a later look")
                return f"the alias `champion` is set to {chosen.experiment}"
    except (TrackingError, IncompleteError):
        return None  # MLflow is away, or the champion is being built: the next look compares
    except LandcoverError as error:
        return f"the alias `champion` in MLflow is not followed: {error}"
    return None


def promote(dataset: Dataset, version: str, home: Path, user: str | None) -> ModelVersion:
    """Promotion by hand: the registered version of a number becomes champion.

    Raises:
        TrackingError: MLflow does not answer, or has no such version.
        IncompleteError: its product is no longer there.
        PromotionError: it does not fit the dataset.
    """
    registered = tracking.version_of(dataset.name, version, home)
    chosen = decide(dataset, registered, user, "`landcover promote`", home)
    by = {"by": "person", "user": user, "reason": f"chosen by {user or 'a person'}"}
    registered_version = tracking.promote(dataset.name, chosen.product(home), by, user or "?", home)
    _remember_alias(dataset.name, registered_version.version, home)
    return registered_version


def decide(dataset: Dataset, version: ModelVersion, user: str | None, how: str, home: Path) -> Champion:
    """Records that a person chose a registered version.

    Raises:
        IncompleteError: its product is no longer there.
        PromotionError: it does not fit the dataset.
    """
    trained = publish.load(folder(home, dataset.name, MODEL) / version.model)
    manifest, history = load_current(home, dataset.name), load_decisions(dataset.name, home)
    require_fit(dataset, version, trained, manifest.legend.names)
    last = history[-1] if history else None
    chosen = Champion(
        experiment=load_contract(trained.path).experiment,
        model=trained.path.relative_to(home).as_posix(),
        fingerprint=trained.fingerprint,
        data_digest=load_contract(trained.path).data_digest,
        test_digest="",
        mean_iou=0.0,
    )
    models = (home / dataset.name / MODEL).glob("[!.]*-*")
    others = {path.name for path in models if path.is_dir() and not path.is_symlink()} - {trained.path.name}
    record(
        dataset.name,
        Decision(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            by="person",
            user=user,
            champion=chosen,
            previous=last.champion.fingerprint if last else None,
            reason=f"version {version.version} was chosen by {user or 'a person'}: {how}",
            passed_over=tuple(sorted(others)),
        ),
        home,
    )
    return chosen


def require_fit(dataset: Dataset, version: ModelVersion, trained: Product, classes: tuple[str, ...]) -> None:
    """Raises PromotionError where a model has other classes or bands than its dataset has now."""
    contract = load_contract(trained.path)
    where, fix = f"{version.name} version {version.version}", "choose a version that was trained since"
    problems = [
        Problem(where, f"{what} {', '.join(theirs)}", f"{', '.join(ours)}, as dataset {dataset.name} has now", fix)
        for what, theirs, ours in (
            ("classes", contract.legend.names, classes),
            ("bands", contract.bands, dataset.bands),
        )
        if theirs != ours
    ]
    if problems:
        raise PromotionError(*problems)
