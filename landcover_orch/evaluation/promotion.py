"""Model promotion by hand: `landcover promote`, and the alias `champion` that a person moved in MLflow."""

from __future__ import annotations

import json
from dataclasses import dataclass
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


def set_aliases(dataset: Dataset, home: Path, promoter: str) -> ModelVersion:
    """Gives the alias `champion` to the champion's version, and `challenger` to the one that waits for a hand.

    What MLflow has no version of is registered again; gives the champion's version.

    Raises:
        TrackingError: MLflow does not answer, or what such a model was trained on is gone.
    """
    product = publish.current(folder(home, dataset.name, CHAMPION), CHAMPION)
    summary = product.json(SUMMARY)
    chosen = election.load(dataset.name, home)
    version = tracking.promote(dataset.name, chosen.product(home), summary, promoter, home)
    _remember_alias(dataset.name, version.version, home)
    if summary.get("challenger"):
        waiting = Champion.model_validate(summary["challenger"])
        tracking.set_challenger(dataset.name, waiting.product(home), home)
    return version


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


def moved_alias(dataset: str, home: Path) -> str | None:
    """A sentence where the alias `champion` is on another version than this project last gave it to; else None.

    It is read from the database below `home`: MLflow takes seconds to load.
    """
    last_given, number = _remembered_alias(dataset, home), tracking.alias_in_database(dataset, home)
    if last_given is None or number in (None, last_given):
        return None
    return (
        f"MLflow's alias `champion` is on version {number}, and was last given to version {last_given}: "
        f"landcover materialise {dataset} follows it"
    )


@dataclass(frozen=True)
class AliasMoved:
    """A person moved the alias `champion` to a version, which is champion from now on."""

    version: ModelVersion

    def __str__(self) -> str:
        return f"the alias `champion` was moved to version {self.version.version} by hand"


@dataclass(frozen=True)
class AliasLost:
    """The alias `champion` is not on the champion's version: MLflow was away, reset or restored, or it was deleted."""

    champion: Champion
    version: str | None
    """The version that bears it; None: none does."""

    def __str__(self) -> str:
        where = f"is on version {self.version}" if self.version else "is on no version"
        return f"the alias `champion` {where}, for that of {self.champion.name}"


def compare_alias(dataset: str, home: Path) -> AliasMoved | AliasLost | None:
    """What the alias `champion` says against champion.json; None where both say the same, or nobody was elected.

    Where it stands on another version than this project last gave it to, a person moved it. A registry that does not
    know of that last time was reset, or restored from an older copy: what it says by a former election is not a
    person's word.

    Raises:
        TrackingError: MLflow does not answer.
    """
    chosen, last_given = election.find(dataset, home), _remembered_alias(dataset, home)
    if chosen is None and last_given is None:
        return None
    alias = tracking.champion(dataset, home) if tracking.has_database(home) else None
    if alias is not None and last_given is not None and alias.version != last_given:
        former = tracking.PROMOTED in alias.tags and not tracking.was_promoted(dataset, last_given, home)
        if not former:
            return AliasMoved(alias)
    if chosen is None or (alias is not None and alias.model == chosen.name):
        return None
    last = load_decisions(dataset, home)[-1:]
    decided = not last or last[0].champion.name == chosen.name  # else a new champion is being built
    return AliasLost(chosen, alias.version if alias else None) if decided else None


def follow_alias(dataset: Dataset, home: Path) -> str | None:
    """Compares the alias `champion` with what this project last gave it to; says in a sentence what was done.

    Where a person moved it, the decision is recorded, and that version is the champion from now on. Where it is gone,
    or could not be moved earlier, it is set; a champion that MLflow has no version of is registered again.
    """
    try:
        difference = compare_alias(dataset.name, home)
        match difference:
            case AliasMoved(version):
                decide(dataset, version, None, "the alias `champion` was moved in MLflow", home)
                _remember_alias(dataset.name, version.version, home)
                return f"{difference}: recorded"
            case AliasLost(chosen):
                version = set_aliases(dataset, home, "a later look")
                return f"the alias `champion` is set to {chosen.experiment}, version {version.version}"
            case None:
                return None
    except TrackingError:
        return None  # MLflow is away: the next look compares
    except LandcoverError as error:
        return f"the alias `champion` in MLflow is not followed: {error}"


def promote(dataset: Dataset, version: str, home: Path, user: str | None) -> ModelVersion:
    """Promotion by hand: the registered version of a number becomes champion.

    Raises:
        TrackingError: MLflow does not answer, or has no such version.
        PromotionError: its model is no longer on disk, or does not fit the dataset.
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
        PromotionError: its model is no longer on disk, or does not fit the dataset.
    """
    trained = model_of(version, home)
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


def model_of(version: ModelVersion, home: Path) -> Product:
    """The product that a registered version is of.

    Raises:
        PromotionError: it is not on disk, or damaged.
    """
    try:
        return publish.load(folder(home, version.name, MODEL) / version.model)
    except IncompleteError as error:
        where = f"registry, {version.name} version {version.version}"
        fix = "move the alias `champion` to another version, or choose one by `landcover promote`"
        reason = f"its model is not on disk ({error.problems[0].where}: {error.problems[0].found})"
        raise PromotionError(Problem(where, reason, "a version whose model is on disk", fix)) from error


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
