"""Leaderboard: every experiment of a dataset in one table, on the same test pixels, above or below the baselines."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from landcover_orch.config.experiments.repetitions import base_of
from landcover_orch.errors import GridError, Problem
from landcover_orch.evaluation import VERSION
from landcover_orch.evaluation.choices import COLUMNS, Choice
from landcover_orch.evaluation.decisions import Decision, champion_words
from landcover_orch.evaluation.repetition import TEST_SPLIT
from landcover_orch.evaluation.tables import csv_text, defined_classes, summary
from landcover_orch.metrics.catalogue import CLASS_METRICS, HEADLINE, RANKED_BY, SHOWN
from landcover_orch.metrics.metric import Counts, Value
from landcover_orch.metrics.spread import Spread, spread
from landcover_orch.pages import page
from landcover_orch.pages.links import asset_link, registered_model_link
from landcover_orch.pages.verdict import CONSTANT, Scored, software, verdict
from landcover_orch.patches.baselines import MOST_FREQUENT, dummy_classifiers, scored_pixels
from landcover_orch.patches.ground import one_class_warnings, scored_ground
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store import publish
from landcover_orch.store.products import LEADERBOARD, PAGE, REPORT_JSON, SUMMARY, THROUGHPUT
from landcover_orch.store.publish import Product, Recipe, Stage

TABLE, COMPETITION, FIGURE = "leaderboard.csv", "competition.csv", "leaderboard.png"
Models = Mapping[str, Mapping[str, Product]]
"""Experiment -> repetition -> model."""


@dataclass(frozen=True)
class Gain:
    """Paired gain: what an ensemble's mean IoU has more than the mean of its base experiments'."""

    gain: Value = None
    gain_sd: Value = None
    gain_n: int | None = None
    base_experiments: str | None = None


@dataclass(frozen=True)
class TrainingSummary:
    """Training of an experiment: the chosen model's parameters, means over repetitions of all else."""

    parameters: int | None = None
    epochs_trained: Value = None
    images_per_second: Value = None
    training_s: Value = None
    training_cpu_s: Value = None


@dataclass(frozen=True)
class LeaderboardRow:
    """An experiment or baseline on the leaderboard.

    `metrics` are spreads over its repetitions; `mean_over` says over how many classes a mean is, the least of them.
    """

    experiment: str
    repetitions: int
    metrics: Mapping[str, Spread]
    mean_over: Mapping[str, int]
    choices: Mapping[str, Choice]
    baseline: bool = False
    above_baseline: Value = None
    out_of_fold_mean_iou: Value = None
    gain: Gain = Gain()
    training: TrainingSummary = TrainingSummary()
    failed: str | None = None
    """Why its training failed; such a row has no metrics, and stands below all others."""

    @property
    def mean_iou(self) -> Value:
        """Mean over repetitions of the mean IoU."""
        return self.metrics[RANKED_BY].mean

    @property
    def rank(self) -> tuple[bool, float, str]:
        """Sort key: the best mean IoU first, of equals by name, what failed last."""
        return self.failed is not None, -(self.mean_iou if self.mean_iou is not None else -1.0), self.experiment

    def columns(self) -> dict[str, Any]:
        """Columns of leaderboard.csv."""
        metrics: dict[str, Value] = {}
        for name, over in self.metrics.items():
            metrics |= {name: over.mean, f"{name}_sd": over.sd}
        return {
            "experiment": self.experiment,
            "baseline": self.baseline,
            "above_baseline": self.above_baseline,
            "repetitions": self.repetitions,
            **metrics,
            **{f"{name}_classes": number for name, number in self.mean_over.items()},
            "out_of_fold_mean_iou": self.out_of_fold_mean_iou,
            **asdict(self.gain),
            **dict.fromkeys(COLUMNS),
            **self.choices,
            **asdict(self.training),
            "failed": self.failed,
        }


@dataclass(frozen=True)
class CompetitionRow:
    """An experiment in the competition of the Vaihingen study; the stride factor is its published 'overlap'."""

    rank: int
    experiment: str
    accuracy: Value
    accuracy_sd: Value
    training_s: Value
    optimiser: Choice
    learning_rate: Choice
    stride_factor: float
    epochs: Choice
    augmentation: Choice
    device: Choice
    launcher: Choice


def build(
    manifest: DatasetManifest,
    reports: Mapping[str, Product],
    models: Models,
    home: Path,
    baselines: Collection[str] = (),
    failed: Mapping[str, str] = MappingProxyType({}),
    decision: Decision | None = None,
    *,
    competition: bool = False,
) -> Product:
    """Publishes the leaderboard: index.html, leaderboard.csv and summary.json, best mean IoU first.

    An experiment is its repetitions' mean, with their standard deviation. Two dummy classifiers always stand on it as
    baselines. Metrics are those that the reports computed. All means over classes are over those that occur among the
    test pixels: the same for every row. Times
    and images a second are those of the models as they were built; all else follows from the experiment.

    Args:
        manifest: the dataset.
        reports: experiment -> its report.
        models: experiment -> repetition -> model.
        home: folder everything is written below.
        baselines: the experiments that the others should beat.
        failed: experiment -> why its training failed.
        decision: the last one on the champion.
        competition: whether a second ranking, by accuracy and then by training time, stands below (competition.csv).

    Raises:
        GridError: reports of another manifest, of other test pixels or labels, or with a repetition that was trained
            on another manifest; all of them are named.
    """
    contents = {name: report.json(REPORT_JSON) for name, report in reports.items()}
    problems = version_problems(manifest, contents)
    if problems:
        raise GridError(*problems)
    configuration = settings(manifest, [*reports], baselines, failed, decision, competition=competition)
    inputs = {
        "manifest": manifest.digest,
        **{f"report {name}": product.fingerprint for name, product in reports.items()},
        **{f"model {name}": model.fingerprint for group in models.values() for name, model in group.items()},
    }
    recipe = Recipe(asset=LEADERBOARD, version=VERSION, inputs=inputs, configuration=configuration)

    def write(stage: Stage) -> None:
        rows = champion_first(rank(manifest, contents, models, baselines), decision)
        rows += [
            replace(experiment_row(name, [], manifest, {}, baseline=name in baselines), failed=failed[name])
            for name in sorted(failed)
        ]
        _write(stage, manifest, rows, contents, decision, competition=competition)

    return publish.publish(home / manifest.dataset.name / LEADERBOARD, LEADERBOARD, recipe, write)


def settings(
    manifest: DatasetManifest,
    reported: Sequence[str],
    baselines: Collection[str],
    failed: Mapping[str, str],
    decision: Decision | None,
    *,
    competition: bool,
) -> dict[str, Any]:
    """Configuration in the leaderboard's build recipe: all that its bytes depend on beside reports and models."""
    return {
        "test_digest": manifest.test_digest,
        "baselines": sorted({*baselines} & {*reported}),
        "minor": manifest.dataset.minor,
        "software": software(),
        "years": [y for t, y in zip(manifest.tiles, manifest.years(), strict=True) if t.label_fingerprint],
        **({"competition": True} if competition else {}),
        **({"failed": dict(failed)} if failed else {}),
        **({"decision": decision.model_dump(mode="json")} if decision else {}),
    }


def version_problems(manifest: DatasetManifest, contents: Mapping[str, Any]) -> list[Problem]:
    """Version conflicts of reports: other test data or another manifest than the present one.

    Folds are held against the manifest where they are scored.
    """
    report_again = "materialise `prediction` and `report` of the experiment again"
    train_again = "materialise `model` of the experiment again"
    problems = []
    for name, content in contents.items():
        versions = [
            ("scored on test data", content["test_digest"], manifest.test_digest, report_again),
            ("made of manifest", content["data_digest"], manifest.digest, report_again),
        ]
        for repetition, digest in content["trained_on"].items():
            if ".fold-" not in repetition:
                versions.append((f"repetition {repetition} trained on manifest", digest, manifest.digest, train_again))
        problems += [
            Problem(f"report of {name}", f"{what} {digest}", f"{expected}, as all others", fix)
            for what, digest, expected, fix in versions
            if digest != expected
        ]
    return problems


def rank(
    manifest: DatasetManifest, contents: Mapping[str, Any], models: Models, baselines: Collection[str]
) -> list[LeaderboardRow]:
    """Ranked rows of all experiments and baselines, each but these with its lead over the best baseline."""
    values = {row["name"]: row["metrics"][RANKED_BY] for content in contents.values() for row in content["repetitions"]}
    rows = [
        experiment_row(name, [score(matrix, manifest)], manifest, {"model": prediction}, baseline=True)
        for name, (prediction, matrix) in dummy_classifiers(manifest).items()
    ]
    for name, content in contents.items():
        repetitions, chosen = content["repetitions"], content["choices"]
        row = experiment_row(name, repetitions, manifest, chosen, baseline=name in baselines)
        seeds = content["out_of_fold"]["seeds"] if content["out_of_fold"] else []
        training = training_summary(content, models[name])
        mean = spread(seed["metrics"][RANKED_BY] for seed in seeds).mean
        rows.append(replace(row, out_of_fold_mean_iou=mean, gain=gain(content, values), training=training))
    best = best_baseline(rows)
    if best is not None and best.mean_iou is not None:
        leads = [None if row.baseline or row.mean_iou is None else row.mean_iou - best.mean_iou for row in rows]
        rows = [replace(row, above_baseline=lead) for row, lead in zip(rows, leads, strict=True)]
    return sorted(rows, key=lambda row: row.rank)


def champion_first(rows: Sequence[LeaderboardRow], decision: Decision | None) -> list[LeaderboardRow]:
    """Ranked rows, the champion before its equals: two experiments may be the same training."""
    elected = decision.champion.experiment if decision else None
    return sorted(rows, key=lambda row: (row.rank[:2], row.experiment != elected))


def score(matrix: Counts, manifest: DatasetManifest) -> dict[str, Any]:
    """Metrics of a matrix (actual, predicted) as a report has them of a repetition, without those of maps."""
    names = manifest.legend.names
    metrics = summary(names, matrix, minor=manifest.dataset.minor)
    return {"metrics": metrics, "means_over": defined_classes(names, matrix)}


def experiment_row(
    name: str,
    repetitions: Sequence[Mapping[str, Any]],
    manifest: DatasetManifest,
    choices: Mapping[str, Choice],
    *,
    baseline: bool,
) -> LeaderboardRow:
    """Row of an experiment: means and standard deviations over its repetitions, as its report has them."""
    minor, means = ", ".join(manifest.dataset.minor), [metric.name for metric in CLASS_METRICS]
    names = [metric.name for metric in SHOWN]
    names += [f"{metric.name} without {minor}" for metric in HEADLINE if minor and metric.name in means]
    return LeaderboardRow(
        experiment=name,
        repetitions=len(repetitions),
        metrics={metric: spread(row["metrics"][metric] for row in repetitions) for metric in names},
        mean_over={mean: min((len(row["means_over"][mean]) for row in repetitions), default=0) for mean in means},
        choices=choices,
        baseline=baseline,
    )


def gain(content: Any, values: Mapping[str, Value]) -> Gain:
    """Paired gain of an ensemble over its base experiments, repetition by repetition.

    A base experiment stands for its repetitions; where one has no value, as a registered version, there is no gain.
    """
    gains: list[Value] = []
    for row in content["repetitions"]:
        bases = [
            [value for name, value in values.items() if base in (name, base_of(name)) and value is not None]
            for base in row["base_experiments"]
        ]
        mean_iou = values[row["name"]]
        if mean_iou is not None and bases and all(bases):
            gains.append(mean_iou - statistics.fmean(value for group in bases for value in group))
    over, names = spread(gains), dict.fromkeys(b for row in content["repetitions"] for b in row["base_experiments"])
    return Gain(over.mean, over.sd, over.n or None, ", ".join(names) or None)


def training_summary(content: Any, models: Mapping[str, Product]) -> TrainingSummary:
    """Parameters, epochs, throughput and times of an experiment's models, as these state them."""
    summaries = {name: product.json(SUMMARY) if SUMMARY in product.files else {} for name, product in models.items()}
    throughput = {name: product.json(THROUGHPUT) for name, product in models.items() if THROUGHPUT in product.files}
    seconds = {name: training_seconds(product, throughput.get(name, {})) for name, product in models.items()}
    in_epochs = content["choices"]["epochs"] is not None
    return TrainingSummary(
        parameters=summaries[content["chosen"]].get("parameters"),
        epochs_trained=spread(summary.get("epochs") for summary in summaries.values()).mean if in_epochs else None,
        images_per_second=spread(rates["images_per_second"].get("step") for rates in throughput.values()).mean,
        training_s=spread(seconds.values()).mean,
        training_cpu_s=spread(product.cost.cpu_s for product in models.values()).mean,
    )


def training_seconds(model: Product, throughput: Mapping[str, Any]) -> Value:
    """Wall time of a training; of one that was interrupted at least that of all its epochs."""
    known = [second for second in (model.cost.wall_s, sum(throughput.get("epoch_seconds", ())) or None) if second]
    return max(known, default=None)


def best_baseline(rows: Sequence[LeaderboardRow]) -> LeaderboardRow | None:
    """Baseline of the best mean IoU; None where none has any."""
    baselines = [row for row in rows if row.baseline and row.mean_iou is not None]
    return min(baselines, key=lambda row: row.rank, default=None)


def rank_competition(rows: Sequence[LeaderboardRow]) -> list[CompetitionRow]:
    """Experiments by overall accuracy, then by training time, with what such a table traditionally shows."""

    def order(row: LeaderboardRow) -> tuple[float, float, str]:
        seconds = row.training.training_s if row.training.training_s is not None else float("inf")
        return -(row.metrics["accuracy"].mean or 0.0), seconds, row.experiment

    return [
        CompetitionRow(
            rank=number,
            experiment=row.experiment,
            accuracy=row.metrics["accuracy"].mean,
            accuracy_sd=row.metrics["accuracy"].sd,
            training_s=row.training.training_s,
            stride_factor=round(float(row.choices["patch_stride"] or 0) / float(row.choices["patch_size"] or 1), 3),
            **{key: row.choices[key] for key in ("optimiser", "learning_rate", "epochs", "augmentation")},
            **{key: row.choices[key] for key in ("device", "launcher")},
        )
        for number, row in enumerate(sorted(rows, key=order), 1)
    ]


def _write(
    stage: Stage,
    manifest: DatasetManifest,
    rows: list[LeaderboardRow],
    contents: Mapping[str, Any],
    decision: Decision | None,
    *,
    competition: bool,
) -> None:
    reported = [row for row in rows if row.experiment in contents]
    facts = summarise(manifest, rows, contents, decision)
    header, lines = [*experiment_row("", [], manifest, {}, baseline=False).columns()], [row.columns() for row in rows]
    (stage.path / TABLE).write_text(csv_text(header, ([line[name] for name in header] for line in lines)), "utf-8")
    ranked = [asdict(row) for row in rank_competition(reported)] if competition else []
    if competition:
        entries = [*ranked[0]] if ranked else ["rank", "experiment"]
        (stage.path / COMPETITION).write_text(csv_text(entries, (row.values() for row in ranked)), "utf-8")
    stage.write_json(SUMMARY, {**facts, "leaderboard": lines, **({"competition": ranked} if competition else {})})
    figure = mean_iou_figure(rows, contents)
    if figure:
        (stage.path / FIGURE).write_bytes(figure)
    known = {name: {row.choices.get(name) for row in reported} - {None} for name in COLUMNS}
    html = page.render(
        "leaderboard.html",
        links=[
            asset_link(manifest.dataset.name, LEADERBOARD),
            *([registered_model_link(manifest.dataset.name)] if contents else []),
        ],
        title=f"{manifest.dataset.name} · leaderboard",
        verdict=facts["verdict"],
        warnings=facts["warnings"],
        software=software(),
        rows=lines,
        reported=[*contents],
        competition=ranked,
        manifest=manifest,
        ground=scored_ground(manifest),
        summary=facts,
        metrics=SHOWN,
        class_names=[metric.name for metric in CLASS_METRICS],
        decision=decision,
        figure=figure,
        minor=manifest.dataset.minor,
        common={name: next(iter(values)) for name, values in known.items() if len(values) == 1},
        differing=[name for name, values in known.items() if len(values) > 1],
    )
    (stage.path / PAGE).write_text(html, encoding="utf-8")


def mean_iou_figure(rows: Sequence[LeaderboardRow], contents: Mapping[str, Any]) -> bytes | None:
    """Dot plot of each experiment's mean IoU, baselines as lines; None where no experiment was reported. PNG."""
    from landcover_orch.evaluation import dots

    lines = {row.experiment: row.mean_iou for row in rows if row.baseline and row.mean_iou is not None}
    names = [row.experiment for row in rows if row.experiment in contents and not row.baseline]
    shown = {name: [row["metrics"][RANKED_BY] for row in contents[name]["repetitions"]] for name in names}
    return dots.dots(shown, baselines=lines) if shown else None


def summarise(
    manifest: DatasetManifest,
    rows: Sequence[LeaderboardRow],
    contents: Mapping[str, Any],
    decision: Decision | None = None,
) -> dict[str, Any]:
    """Summary of the leaderboard: verdict, warnings, the best experiment and baseline, the classes means are over."""
    best, baseline = next((row for row in rows if row.experiment in contents), None), best_baseline(rows)
    pixels = scored_pixels(manifest)
    return {
        "verdict": best_verdict(manifest, rows, best, contents, decision) if best and not best.failed else None,
        "warnings": one_class_warnings(manifest),
        "ground": asdict(scored_ground(manifest)),
        "experiments": len(contents),
        "best": best.experiment if best else None,
        "best_mean_iou": best.mean_iou if best else None,
        "best_baseline": baseline.experiment if baseline else None,
        "best_baseline_mean_iou": baseline.mean_iou if baseline else None,
        "below_the_baseline": [row.experiment for row in rows if (row.above_baseline or 0) < 0],
        "scored_on": next((content["scored_on"] for content in contents.values()), TEST_SPLIT),
        "means_over": [name for name, count in zip(manifest.legend.names, pixels, strict=True) if count],
        "without_pixels": [name for name, count in zip(manifest.legend.names, pixels, strict=True) if not count],
    }


def best_verdict(
    manifest: DatasetManifest,
    rows: Sequence[LeaderboardRow],
    best: LeaderboardRow,
    contents: Mapping[str, Any],
    decision: Decision | None,
) -> str:
    """Verdict on the best experiment: against the best other baseline, or the most frequent class if it is one."""
    others = [row for row in rows if row.baseline and row.experiment != best.experiment and row.mean_iou is not None]
    if best.baseline:
        others = [row for row in others if row.experiment == MOST_FREQUENT]
    against = scored(others[0]) if others else None
    if against and against.name == MOST_FREQUENT:
        against = replace(against, name=CONSTANT)
    words, ground = decision_words(decision, contents), scored_ground(manifest).words()
    constant = next((scored(row) for row in rows if row.experiment == MOST_FREQUENT), None)
    return verdict(scored(best), against, ground, models=len(contents), decision=words, constant=constant)


def scored(row: LeaderboardRow) -> Scored:
    """Name and scores of a row."""
    return Scored(row.experiment, row.mean_iou, row.metrics["accuracy"].mean, row.baseline)


def decision_words(decision: Decision | None, contents: Mapping[str, Any]) -> str:
    """Who is champion, by whom and since when; nothing where nobody was elected."""
    if decision is None:
        return ""
    return f"Champion, by {decision.decider} on {decision.at[:10]}: {champion_words(decision, contents)}."
