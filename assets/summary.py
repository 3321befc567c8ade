"""Summary at the end of a materialisation: what was built, failed checks, scores against the baselines, next steps."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import dagster as dg

from assets import history
from assets.advance import Outcome
from assets.client import running
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import LandcoverError, pluralise
from landcover_orch.metrics.catalogue import HEADLINE, RANKED_BY
from landcover_orch.pages.page import format_ratio
from landcover_orch.store.costs import format_duration
from landcover_orch.store.products import PAGE, REPORT, SUMMARY, folder


def lines(instance: dg.DagsterInstance, dataset: Dataset, outcome: Outcome, seconds: float) -> Iterator[str]:
    """The summary, line by line."""
    yield built_line(outcome, seconds)
    yield from check_lines(instance, dataset)
    yield ""
    yield from score_lines(dataset)
    yield from champion_lines(dataset)
    yield from next_lines(dataset)


def built_line(outcome: Outcome, seconds: float) -> str:
    """What was built, by asset."""
    if not outcome.built:
        done = "Everything is up to date" if outcome.plan.up_to_date else "Nothing was built"
        return f"{done} ({format_duration(seconds)})."
    counts: Counter[str] = Counter()
    for run in outcome.built:
        counts.update({asset: len(run.partitions) for asset in run.assets})
    parts = ", ".join(f"{count} {asset}" for asset, count in counts.items())
    return f"{pluralise(outcome.runs, 'run')} in {format_duration(seconds)} built {parts}."


def check_lines(instance: dg.DagsterInstance, dataset: Dataset) -> Iterator[str]:
    """The dataset's checks whose last evaluation failed, with sentence and fix."""
    failed = list(failed_checks(instance, dataset))
    if failed:
        yield f"{pluralise(len(failed), 'check')} failed:"
    for check in failed:
        first, *others = (check.description or "see its table in Dagster (`landcover ui`)").splitlines()
        more = f" (and {len(others)} more: see its table in Dagster, `landcover ui`)" if others else ""
        yield f"  {check.asset_key.path[-1]}, {check.check_name}: {first}{more}"


def failed_checks(instance: dg.DagsterInstance, dataset: Dataset) -> Iterator[dg.AssetCheckEvaluation]:
    """The last evaluations of the dataset's checks, as far as they failed."""
    from assets.definitions import checks

    keys = [spec.key for check in checks(dataset) for spec in check.check_specs]
    for evaluation, _ in history.last_evaluations(instance, keys):
        if not evaluation.passed:
            yield evaluation


def score_lines(dataset: Dataset) -> Iterator[str]:
    """Scores of each experiment on the test split, the best first; baselines are marked."""
    from landcover_orch.evaluation.build import current_reports
    from landcover_orch.patches.ground import tile_words

    try:
        reports = {name: product.json(SUMMARY) for name, product in current_reports(dataset, config.home()).items()}
    except LandcoverError:
        return  # there is no manifest; why, the command says
    if not reports:
        return
    baselines = {name for file in dataset.baselines for name in config.experiment_names(file)}
    width = max(map(len, reports))
    yield f"Scores on the test ground, {tile_words(test_tiles(dataset))}, the best first:"
    for name, scores in sorted(reports.items(), key=lambda item: -(item[1][RANKED_BY] or 0)):
        shown = "  ".join(f"{metric.name} {format_ratio(scores[metric.name])}" for metric in HEADLINE)
        yield f"  {name:<{width}}  {shown}{'  (baseline)' if name in baselines else ''}".rstrip()
        yield f"  {'':<{width}}  {relative(folder(config.home(), dataset.name, REPORT) / name / PAGE)}"


def test_tiles(dataset: Dataset) -> list[str]:
    """Names of the tiles with test ground, by the manifest."""
    from landcover_orch.patches.manifest import load_current

    manifest = load_current(config.home(), dataset.name)
    return [tile.name for tile in manifest.tiles if sum(tile.class_pixels["test"])]


def champion_lines(dataset: Dataset) -> Iterator[str]:
    """The champion, its registered version, and why it was elected."""
    from landcover_orch import tracking
    from landcover_orch.evaluation import champion as election
    from landcover_orch.evaluation.decisions import load_decisions

    try:
        current = election.load(dataset.name, config.home())
    except LandcoverError:
        return
    try:
        version = tracking.champion(dataset.name, config.home())
    except LandcoverError as error:
        version, registered = None, f"MLflow does not answer: {error}"
    else:
        registered = f"registered as {dataset.name} version {version.version}" if version else "not registered yet"
        if version and version.model != current.name:
            registered = f"while the alias `champion` is on version {version.version}, which is another model"
    yield f"Champion: {current.experiment}, {registered}"
    decisions = load_decisions(dataset.name, config.home())
    if decisions:
        yield f"  {decisions[-1].reason}"


def next_lines(dataset: Dataset) -> Iterator[str]:
    """Where to look next: the index page as a file, and on the servers."""
    port, client = os.environ.get("LANDCOVER_DAGSTER_PORT", "3000"), running(config.home())
    address = client.public if client else f"http://127.0.0.1:{port}"
    yield f"All pages of {dataset.name}, as files: {relative(config.home() / dataset.name / PAGE)}"
    first = "" if client else "landcover ui, then "
    yield f"Next: {first}{address}/pages/{dataset.name}/ has all pages of {dataset.name}"


def relative(path: Path) -> str:
    """A path as seen from the working folder, where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


def print_lines(texts: Iterable[str]) -> None:
    """Prints lines at once."""
    for text in texts:
        print(text, flush=True)
