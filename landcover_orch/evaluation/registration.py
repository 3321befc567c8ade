"""Registry against disk: what MLflow lacks of a dataset's models, reports, leaderboard and champion, made again."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from landcover_orch import tracking
from landcover_orch.config import Dataset, experiments_of
from landcover_orch.errors import LandcoverError
from landcover_orch.evaluation import promotion
from landcover_orch.evaluation.promotion import AliasLost, AliasMoved
from landcover_orch.store.products import LEADERBOARD, MODEL, REPORT, REPORT_JSON, folder, published_products
from landcover_orch.store.publish import Product
from landcover_orch.tracking import LoggedModel
from landcover_orch.tracking.notes import manifest_of
from landcover_orch.training import protocol
from landcover_orch.training.registration import manifest_digest, register_training


@dataclass(frozen=True)
class NotRegistered:
    """A training whose model, or one of whose repetitions' models, MLflow has no version of."""

    experiment: str
    trained: Product

    def __str__(self) -> str:
        return f"no version of {self.trained.path.name}"


@dataclass(frozen=True)
class NoFiles:
    """A version that cannot be loaded: MLflow's artifacts do not have its files."""

    model: Product
    number: str

    def __str__(self) -> str:
        return f"version {self.number} ({self.model.path.name}) has lost its files, or they are damaged"


@dataclass(frozen=True)
class RunDeleted:
    """A run of a registered model that was deleted in MLflow's pages."""

    model: Product
    run_id: str

    def __str__(self) -> str:
        return f"the run of {self.model.path.name} is deleted"


@dataclass(frozen=True)
class NotReported:
    """A report that the run of its model does not have."""

    experiment: str
    report: Product
    run_id: str

    def __str__(self) -> str:
        return f"the run of {self.experiment} lacks its report"


@dataclass(frozen=True)
class NotListed:
    """A leaderboard that MLflow does not show."""

    leaderboard: Product

    def __str__(self) -> str:
        return "the leaderboard is another one"


Difference = NotRegistered | NoFiles | RunDeleted | NotReported | NotListed | AliasMoved | AliasLost


def differences(dataset: Dataset, home: Path, *, deep: bool = False) -> list[Difference]:
    """What MLflow says otherwise than the products on disk, in the order in which it is mended.

    Models of a manifest that is no longer on disk are not asked for: their runs could not be made again.

    Args:
        dataset: whose models they are.
        home: folder everything is written below.
        deep: whether files of versions are compared byte by byte, not by their sizes alone.

    Raises:
        TrackingError: MLflow does not answer.
    """
    entries: list[Difference] = []
    for experiment, trained in published_products(folder(home, dataset.name, MODEL), experiments_of(dataset)).items():
        entries += training_differences(dataset, experiment, trained, home, deep=deep)
    board = published_products(folder(home, dataset.name, LEADERBOARD), [LEADERBOARD]).get(LEADERBOARD)
    if board is not None and tracking.logged_leaderboard(dataset.name, home) != board.fingerprint:
        entries.append(NotListed(board))
    alias = promotion.compare_alias(dataset.name, home)
    return [*entries, alias] if alias is not None else entries


def left_to_people(entries: Sequence[Difference], home: Path) -> Iterator[str]:
    """Fixes of differences that only a person can mend: an alias on a version whose model is not on disk."""
    for entry in entries:
        if isinstance(entry, AliasMoved):
            try:
                promotion.model_of(entry.version, home)
            except LandcoverError as error:
                yield error.problems[0].fix


def training_differences(
    dataset: Dataset, experiment: str, trained: Product, home: Path, *, deep: bool
) -> Iterator[Difference]:
    """What MLflow lacks of an experiment's training: versions, their files and runs, the report of the chosen one."""
    try:
        models = protocol.models_of(trained, home)
        chosen = protocol.chosen_of(trained, home)[1].path.name
    except (LandcoverError, ValueError):
        return  # a repetition's model is gone, or of another version of the contract: the training is built again
    names = {product.path.name: product for product in models.values()}
    logged: dict[str, LoggedModel] = tracking.logged_models(dataset.name, names, home, deep=deep)
    if len(logged) < len(names) and manifest_of(dataset.name, manifest_digest(trained), home) is not None:
        yield NotRegistered(experiment, trained)
    yield from (NoFiles(names[name], model.number) for name, model in logged.items() if not model.has_files)
    yield from (RunDeleted(names[name], model.run_id) for name, model in logged.items() if model.is_deleted)
    report = published_products(folder(home, dataset.name, REPORT), [experiment]).get(experiment)
    if report is None or names[chosen].fingerprint not in report.json(REPORT_JSON)["models"].values():
        return
    if chosen in logged and logged[chosen].report != report.fingerprint:
        yield NotReported(experiment, report, logged[chosen].run_id)


def mend(dataset: Dataset, home: Path, patience_s: float = math.inf, *, deep: bool = False) -> list[str]:
    """Makes again from disk what MLflow lacks; a sentence each. Twice is as once.

    A person's alias stands: `champion` is followed where it was moved by hand, `challenger` is given where no version
    bears it. What a registered model was renamed to is left as it is.

    Args:
        dataset: whose models they are.
        home: folder everything is written below.
        patience_s: after which nothing more is begun; the next call goes on.
        deep: as for `differences`.

    Raises:
        TrackingError: MLflow does not answer.
    """
    lines: list[str] = []
    seen: list[list[Difference]] = [[]]
    deadline = time.monotonic() + patience_s
    # a version that is registered again has no report yet; two that share a run take it from each other for ever
    while (todo := differences(dataset, home, deep=deep)) not in seen:
        for difference in todo:
            lines += mended(dataset, difference, home) if time.monotonic() < deadline else []
        seen.append(todo)
    return list(dict.fromkeys(lines))


def mended(dataset: Dataset, difference: Difference, home: Path) -> list[str]:
    """Mends a difference; says in a sentence what was done."""
    match difference:
        case NotRegistered(experiment, trained):
            manifest = manifest_of(dataset.name, manifest_digest(trained), home)
            if manifest is None:
                return []
            challenger = not tracking.has_challenger(dataset.name, home)
            register_training(trained, experiment, manifest, home, challenger=challenger)
            return [f"MLflow had {difference}: registered from disk"]
        case NoFiles(model, number):
            tracking.restore_files(dataset.name, number, model, home)
            return [f"{difference}: written again from disk"]
        case RunDeleted(_, run_id):
            tracking.restore_run(run_id, home)
            return [f"{difference}: restored"]
        case NotReported(_, report, run_id):
            tracking.log_report(run_id, report, home)
            return [f"{difference}: logged"]
        case NotListed(leaderboard):
            tracking.log_leaderboard(dataset.name, leaderboard, home)
            return ["the leaderboard is logged to MLflow"]
        case AliasMoved() | AliasLost():
            message = promotion.follow_alias(dataset, home)
            return [message] if message else []
        case _:
            assert_never(difference)


def reconcile(dataset: Dataset, home: Path) -> list[str]:
    """`mend`, for those who go on without MLflow: where it does not answer, a sentence says what waits for it."""
    try:
        return mend(dataset, home)
    except LandcoverError as error:
        return [f"MLflow is not compared with the disk, which the next materialisation does: {error.problems[0].found}"]
