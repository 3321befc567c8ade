"""Champion model: the model that maps are made by, and the rule by which a challenger replaces it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landcover_orch.config import Dataset, Promotion
from landcover_orch.errors import ConfigError, IncompleteError, LandcoverError, Problem, PromotionError, pluralise
from landcover_orch.evaluation import VERSION
from landcover_orch.evaluation.decisions import Champion, Decision, attributed, load_decisions, record
from landcover_orch.metrics import catalogue
from landcover_orch.metrics.confusion import Matrix
from landcover_orch.metrics.learning import has_learnt, not_learnt
from landcover_orch.models.contract import load_contract
from landcover_orch.patches.ground import ONE_CLASS
from landcover_orch.patches.manifest import DatasetManifest, load_current
from landcover_orch.store import publish
from landcover_orch.store.canonical import digest
from landcover_orch.store.products import CHAMPION, REPORT_JSON, SUMMARY
from landcover_orch.store.publish import Product, Recipe, Stage

if TYPE_CHECKING:
    from landcover_orch.evaluation.paired import Units

FILE = "champion.json"


@dataclass(frozen=True)
class Candidate:
    """A model that may become champion: its score, the report and the maps that it follows from."""

    model: Champion
    report: Product
    maps: Mapping[str, Product]
    unfit: str | None = None
    """Why it may not be elected; None where it may."""


def candidates(
    dataset: Dataset, manifest: DatasetManifest, reports: Mapping[str, Product], home: Path
) -> list[Candidate]:
    """Challengers: of each reported experiment the repetition that validation chose.

    The score is that on the test split; of a dataset without any, that of its seed's folds together.
    """
    from landcover_orch.evaluation.repetition import current_repetitions
    from landcover_orch.training.protocol import current_choice

    entries = []
    for name, report in reports.items():
        chosen, trained = current_choice(home, dataset.name, name)
        maps = next(r.maps for r in current_repetitions(dataset.name, name, home) if r.name == chosen)
        matrix = np.array(report.json(REPORT_JSON)["matrix"], np.int64)
        entries.append(Candidate(scored(manifest, trained, matrix, home), report, maps, unfit(trained, matrix)))
    return entries


def scored(manifest: DatasetManifest, trained: Product, matrix: Matrix, home: Path) -> Champion:
    """A model with its mean IoU by a confusion matrix (actual, predicted)."""
    contract = load_contract(trained.path)
    return Champion(
        experiment=contract.experiment,
        model=trained.path.relative_to(home).as_posix(),
        fingerprint=trained.fingerprint,
        data_digest=contract.data_digest,
        test_digest=manifest.test_digest,
        mean_iou=catalogue.ranking_score(matrix),
    )


def unfit(trained: Product, matrix: Matrix) -> str | None:
    """Why a model may not be elected: its check `learned` failed, or it maps all ground as one class."""
    summary = trained.json(SUMMARY)
    if summary.get("accuracy") is not None and not has_learnt(summary):
        return f"it learnt nothing: {not_learnt(summary)}"
    if int((matrix.sum(axis=0) > 0).sum()) < 2:
        return "it maps all ground as one class"
    return None


def present_score(
    incumbent: Champion, entries: Sequence[Candidate], manifest: DatasetManifest, home: Path
) -> Candidate:
    """The incumbent champion on the manifest's test tiles; predicted anew where nobody did.

    Raises:
        LandcoverError: its product is gone, or it does not fit the dataset any more.
    """
    from landcover_orch.evaluation.evaluate import evaluate, tiles_to_predict
    from landcover_orch.prediction.build import build as predict
    from landcover_orch.prediction.settings import experiment_of

    for candidate in entries:
        if candidate.model.name == incumbent.name:
            return candidate
    trained = incumbent.product(home)
    if not tiles_to_predict(manifest):
        where, fix = f"model of {incumbent.experiment}", "set `splits.test`"
        raise IncompleteError(Problem(where, "no test split to score it on", "test pixels", fix))
    if load_contract(trained.path).legend.names != manifest.legend.names:
        expected = ", ".join(manifest.legend.names)
        raise IncompleteError(Problem(str(trained.path), "other classes", expected, "elect another model"))
    experiment = experiment_of(trained).model_copy(update={"name": CHAMPION})
    maps = {entry.name: predict(manifest, entry, trained, experiment, home) for entry in tiles_to_predict(manifest)}
    return Candidate(scored(manifest, trained, evaluate(manifest, maps, home).pooled, home), trained, maps)


@dataclass(frozen=True)
class Election:
    """What the rule says: the champion, the reason, and a challenger that waits for a person's hand."""

    champion: Champion
    reason: str
    challenger: Champion | None = None


def elect(
    incumbent: Champion | None,
    entries: Sequence[Candidate],
    promotion: Promotion,
    manifest: DatasetManifest,
    home: Path,
    passed_over: Sequence[str] = (),
) -> Election:
    """Model selection by mean IoU on the same test pixels: the champion stays unless a challenger's gain is real.

    A gain is real where its 95 % interval, by a paired bootstrap over tiles or blocks, lies above zero, or where it
    exceeds the dataset's `promotion.margin`. Test pixels choose: the champion's score flatters it a little.

    Args:
        incumbent: the champion so far.
        entries: the models of the present manifest.
        promotion: the dataset's rule.
        manifest: the dataset's.
        home: folder everything is written below.
        passed_over: names of the models that a person did not choose; none of them is elected again.

    Raises:
        PromotionError: no model can be elected, or the first champion waits for a person's hand.
    """
    fit = [c for c in entries if c.unfit is None and not c.model.is_among(passed_over)]
    best = max(fit, key=lambda candidate: candidate.model.mean_iou, default=None)
    lost = ""
    if incumbent is not None:
        try:
            present = present_score(incumbent, entries, manifest, home)
        except ConfigError as error:
            fix = "correct its file, or choose by `landcover promote`"
            problem = error.problems[0]
            reason = f"{incumbent.experiment} stays: it cannot be compared ({problem.where}: {problem.found}); {fix}"
            return Election(incumbent, reason)
        except LandcoverError as error:
            problem = error.problems[0]
            reason = f"{problem.where}: {problem.found}"
            lost = f"; the champion before, {incumbent.experiment}, cannot be used any more: {reason}"
        else:
            result = challenge(present, fit, promotion, manifest, home)
            over = [c for c in entries if c.model.is_among(passed_over)]
            stays = result.champion.name == present.model.name
            return replace(result, reason=result.reason + better_passed_over(present, over)) if stays else result
    if best is None:
        raise PromotionError(*no_candidate(manifest, entries, lost))
    if promotion.by == "hand":
        name, score = best.model.experiment, best.model.mean_iou
        fix = f"`landcover promote {manifest.dataset.name} VERSION`, or move the alias `champion` in MLflow"
        where = f"champion of {manifest.dataset.name}"
        raise PromotionError(Problem(where, f"nobody yet{lost}", f"a person's choice; {name} has {score:.3f}", fix))
    models = pluralise(len(fit), "model")
    text = f"{best.model.experiment} has the best mean IoU, {best.model.mean_iou:.3f}, of {models}{lost}"
    return Election(best.model, text)


def better_passed_over(present: Candidate, passed_over: Sequence[Candidate]) -> str:
    """Names the best of the models that a person passed over, where it has a better score than the champion."""
    best = max(passed_over, key=lambda candidate: candidate.model.mean_iou, default=None)
    if best is None or best.model.mean_iou <= present.model.mean_iou:
        return ""
    return f"; {best.model.experiment}, {best.model.mean_iou:.3f}, was passed over"


def no_candidate(manifest: DatasetManifest, entries: Sequence[Candidate], lost: str) -> list[Problem]:
    """Why there is nobody to elect: a problem a model."""
    where, fix = f"champion of {manifest.dataset.name}", "train longer, or correct the experiment or the labels"
    if (most := most_frequent(manifest, "validation")) and most[1] > ONE_CLASS:
        name, fraction = most
        fix += f", or `splits`: {100 * fraction:.0f} % of the validation ground is {name}, which hides what was learnt"
    expected = "a model that learnt"
    unfits = [Problem(where, f"{c.model.experiment}: {c.unfit}", expected, fix) for c in entries if c.unfit]
    return unfits or [
        Problem(where, f"no report{lost}", "one of the present models", report_first(manifest.dataset.name))
    ]


def most_frequent(manifest: DatasetManifest, split: str) -> tuple[str, float] | None:
    """The most frequent class of a split's labelled pixels, and its fraction of them; None without any."""
    pixels = np.sum([tile.class_pixels[split] for tile in manifest.tiles], axis=0)
    if not pixels.sum():
        return None
    return manifest.legend.names[int(pixels.argmax())], float(pixels.max() / pixels.sum())


def report_first(dataset: str) -> str:
    """How the reports are made that an election needs."""
    return f"materialise `report` first; `landcover materialise {dataset}` and the job `{dataset}_everything` make all"


def challenge(
    present: Candidate, fit: Sequence[Candidate], promotion: Promotion, manifest: DatasetManifest, home: Path
) -> Election:
    """The champion against its challengers; the best of those whose gain is real replaces it, or waits for a hand."""
    from landcover_orch.evaluation.paired import compare

    ours = present.model
    rivals = [c for c in fit if c.model.name != ours.name and c.model.mean_iou > ours.mean_iou]
    if not rivals:
        return Election(ours, f"{ours.experiment} stays: no challenger has a better mean IoU than {ours.mean_iou:.3f}")
    incumbent = resampling_units(present, manifest, home)
    compared = [(c, compare(incumbent, resampling_units(c, manifest, home))) for c in rivals]
    ranked = sorted(compared, key=lambda pair: -pair[0].model.mean_iou)
    won = [(c, comparison) for c, comparison in ranked if comparison.exceeds(promotion.margin)]
    nearest, comparison = won[0] if won else ranked[0]
    same = nearest.model.experiment == ours.experiment
    sentence = f"{'its new training' if same else nearest.model.experiment} {comparison.sentence}"
    bound = "an interval above zero" if promotion.margin is None else f"more than {promotion.margin}"
    if not won:
        return Election(ours, f"{ours.experiment} stays: {sentence}; to replace it takes {bound}")
    if promotion.by == "hand":
        return Election(ours, f"{ours.experiment} stays until a person decides: {sentence}", nearest.model)
    subject = f"{ours.experiment}: {sentence} over the former one" if same else f"{sentence} over {ours.experiment}"
    return Election(nearest.model, f"{subject}; it takes {bound}")


def resampling_units(candidate: Candidate, manifest: DatasetManifest, home: Path) -> Units:
    """Tiles or blocks of the test pixels; of a dataset without test split, the tiles out of fold of its report."""
    from landcover_orch.evaluation.paired import Units, units

    if any(any(entry.class_pixels["test"]) for entry in manifest.tiles):
        return units(manifest, candidate.maps, home)
    tiles = candidate.report.json(REPORT_JSON)["tiles"] if REPORT_JSON in candidate.report.files else {}
    return Units("tile", {name: np.array(tile["matrix"], np.int64) for name, tile in tiles.items()})


def build(dataset: Dataset, home: Path) -> Product:
    """Publishes the champion of a dataset as home/<dataset>/champion/champion.

    The decision is that of the rule, or of the last person who decided; it is recorded in decisions.jsonl, and the same
    reports are not judged twice.

    Raises:
        IncompleteError: there is no report and no champion.
        PromotionError: no model can be elected.
    """
    from landcover_orch.evaluation.build import current_reports

    manifest, reports = load_current(home, dataset.name), current_reports(dataset, home)
    history = load_decisions(dataset.name, home)
    last = history[-1] if history else None
    person = next((decision for decision in reversed(history) if decision.by == "person"), None)
    if not reports and last is None and find(dataset.name, home) is None:
        where = f"champion of {dataset.name}"
        raise IncompleteError(Problem(where, "no report", "one of the current models", report_first(dataset.name)))
    compared = {
        **{f"report {name}": report.fingerprint for name, report in reports.items()},
        "person": digest([person.at, person.champion.fingerprint]) if person else "nobody",
    }
    configuration = {"promotion": dataset.promotion, "test_digest": manifest.test_digest}
    election = digest([compared, configuration])
    incumbent = last.champion if last else find(dataset.name, home)  # a home of before has no history
    repeated = last is not None and last.election == election and not model_is_gone(incumbent, home)
    before = last.previous if last and repeated else fingerprint_so_far(incumbent, home)
    recipe = Recipe(CHAMPION, VERSION, {**compared, "standing": before or "nobody"}, configuration)

    def write(stage: Stage) -> None:
        known = load_decisions(dataset.name, home)
        decision = known[-1] if repeated else _decide(dataset, manifest, reports, known, election, home)
        present = attributed([*known, decision])
        facts = present.model_dump(mode="json", exclude={"champion", "passed_over", "election"})
        stage.write_json(FILE, decision.champion.model_dump())
        stage.write_json(SUMMARY, {**decision.champion.model_dump(), **facts})

    return publish.publish(home / dataset.name / CHAMPION, CHAMPION, recipe, write)


def _decide(
    dataset: Dataset,
    manifest: DatasetManifest,
    reports: Mapping[str, Product],
    history: Sequence[Decision],
    election: str,
    home: Path,
) -> Decision:
    """The rule's decision, recorded."""
    last = history[-1] if history else None
    person = next((decision for decision in reversed(history) if decision.by == "person"), None)
    incumbent = last.champion if last else find(dataset.name, home)
    entries = candidates(dataset, manifest, reports, home)
    result = elect(incumbent, entries, dataset.promotion, manifest, home, person.passed_over if person else ())
    reason = result.reason + same_training(result.champion, entries)
    if person and result.champion.name == person.champion.name:
        reason += f"; chosen by {person.user or 'a person'} on {person.at[:10]}"
    decision = Decision(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        by="rule",
        champion=result.champion,
        previous=fingerprint_so_far(incumbent, home),
        reason=reason,
        election=election,
        challenger=result.challenger,
    )
    record(dataset.name, decision, home)
    return decision


def model_is_gone(incumbent: Champion | None, home: Path) -> bool:
    """Whether a champion's model is no longer on disk."""
    return incumbent is not None and not (home / incumbent.model / publish.MANIFEST).is_file()


def fingerprint_so_far(incumbent: Champion | None, home: Path) -> str | None:
    """Fingerprint of the champion so far; marked where its model is no longer on disk, so that another is elected."""
    if incumbent is None:
        return None
    return f"{incumbent.fingerprint}{' (lost)' if model_is_gone(incumbent, home) else ''}"


def same_training(elected: Champion, entries: Sequence[Candidate]) -> str:
    """Names the experiments whose training is the champion's: they differ in prediction, or in nothing."""
    names = [c.model.experiment for c in entries if c.model.fingerprint == elected.fingerprint]
    others = [name for name in names if name != elected.experiment]
    return f"; {', '.join(others)} {'is' if len(others) == 1 else 'are'} the same training" if others else ""


def load(dataset: str, home: Path) -> Champion:
    """The champion of a dataset.

    Raises:
        IncompleteError: there is none yet.
    """
    return Champion.model_validate(publish.current(home / dataset / CHAMPION, CHAMPION).json(FILE))


def find(dataset: str, home: Path) -> Champion | None:
    """The champion of a dataset; None where nobody was elected yet."""
    try:
        return load(dataset, home)
    except IncompleteError:
        return None
