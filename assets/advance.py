"""Advance of a dataset: what is missing or stale is run, run by run as the planner says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import dagster as dg

from assets import chain, history, processes
from assets.execution import CANCELLED, RunRequest
from assets.failures import run_messages
from assets.graph import asset_graph
from assets.lineage import sources
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import LandcoverError, Problem, did_you_mean, one_of
from landcover_orch.planner import Plan, Run, State, next_runs, plan
from landcover_orch.planner.durations import time_in_words, total
from landcover_orch.store import publish
from landcover_orch.store.products import folder

Log = Callable[[str], object]
Execute = Callable[[dg.JobDefinition, RunRequest], dg.DagsterRun]

INTERRUPTS = ("DagsterExecutionInterruptedError", "KeyboardInterrupt")
"""Errors of a run that Ctrl-C ended, by where in it the signal arrived."""


class MaterialisationError(LandcoverError):
    """Some of a dataset could not be materialised; the rest was, as its outcome says."""

    outcome: Outcome | None = None


@dataclass(frozen=True)
class Outcome:
    """The runs of a materialisation that ended well, and the plan after it."""

    built: tuple[Run, ...]
    plan: Plan

    @property
    def runs(self) -> int:
        """How many runs it took."""
        return len(self.built)


def advance(
    dagster: dg.DagsterInstance,
    dataset: Dataset,
    definitions: dg.Definitions,
    known: Sequence[dg.AssetsDefinition],
    assets: Collection[str] | None = None,
    *,
    force: Collection[str] = (),
    execute: Execute,
    log: Log,
) -> Outcome:
    """Materialises what is missing or stale of a dataset.

    The plan is made anew after each run: a stage whose inputs came out the same does not run. What fails stops what
    is made of it alone.

    Args:
        dagster: the instance.
        dataset: whose assets they are.
        definitions: with the jobs of its stages.
        known: its assets.
        assets: names of those that are made; None for all.
        force: what is built again although it is current: assets ('patches'), partitions of all assets ('t1',
            'small'), or one of an asset ('patches/t1'); 'all' for everything.
        execute: executes a run of a job to its end.
        log: takes a line a run.

    Raises:
        MaterialisationError: some could not be made; every one is named, with its reason.
        ConfigError, CatalogueError: nothing could be looked at.
    """
    from landcover_orch.evaluation import promotion, registration

    processes.end_dead_runs(dagster, chain.UNDER_WAY)
    observed = sources.observe(dagster, dataset)
    log_lines((f"waits: {text}" for text in observed.waiting), log)
    followed = {line for line in [promotion.follow_alias(dataset, config.home())] if line}
    log_lines(followed, log)

    def planned() -> Plan:
        graph = asset_graph(dataset, known, dagster)
        return plan([asset for asset in graph if assets is None or asset.name in assets])

    described = planned()
    request_rebuilds(dataset, described, force)
    tried: dict[str, list[str]] = {}
    built: list[Run] = []
    if force:
        described = planned()
    while runs := [run for run in next_runs(described) if run.key not in tried]:
        run = runs[0]
        log(f"  {run}{remaining(described)}")
        job = definitions.resolve_job_def(chain.job_name(dataset, run.stage))
        tried[run.key] = messages(dagster, execute(job, run_request(dataset, known, run)))
        built += [] if tried[run.key] else [run]
        described = planned()
    history.report(dagster, dataset, described)
    log_lines((line for line in registration.reconcile(dataset, config.home()) if line not in followed), log)
    problems = failures(dataset, described, tried)
    if problems:
        for line in broken_table(described):
            log(line)
        error = MaterialisationError(*problems)
        error.outcome = Outcome(tuple(built), described)
        raise error
    return Outcome(tuple(built), described)


def log_lines(lines: Iterable[str], log: Log) -> None:
    """Logs lines of a dataset, indented as those of its runs."""
    for line in lines:
        log(f"  {line}")


def remaining(described: Plan) -> str:
    """How much of a plan is to be built, in words, with rough minutes where past builds took more than one."""
    steps = described.of(State.BUILD, State.WAITING)
    seconds = [step.seconds for step in steps]
    time = f", {time_in_words(seconds)}" if (total(seconds) or 0) >= 60 else ""
    return f" ({len(steps)} to build{time})" if len(steps) > 1 else ""


def broken_table(described: Plan) -> list[str]:
    """A table of what could not be made: step, state, and the place of the first problem."""
    broken = described.of(State.FAILED, State.BLOCKED)
    width = max((len(step.name) for step in broken), default=0)
    rows = [
        f"    {s.name:<{width}}  {s.state:<7}  {s.problems[0].where if s.problems else ''}".rstrip() for s in broken
    ]
    return ["  not made:", *rows] if rows else []


def pools(known: Sequence[dg.AssetsDefinition], run: Run) -> list[str]:
    """The pools that a run takes a place in."""
    chosen = [asset for asset in known if asset.key.path[-1] in run.assets]
    return [asset.op.pool for asset in chosen if asset.op.pool]


def request_rebuilds(dataset: Dataset, described: Plan, force: Collection[str]) -> None:
    """Marks the products that are built again although they are current.

    Raises:
        MaterialisationError: something is named that is no asset or partition of the dataset.
    """
    matched: set[str] = set()
    for asset, partition in described.steps:
        of_partition = set() if partition is None else {partition, f"{asset}/{partition}"}
        names = {"all", asset, *of_partition} & {*force}
        matched |= names
        if names:
            products = folder(config.home(), dataset.name, asset)
            publish.failure_path(products, str(partition or asset)).unlink(missing_ok=True)
            paths = [*products.glob("[!.]*"), *products.glob("[!.]*/[!.]*")]
            for link in (path for path in paths if path.is_symlink()):
                if partition is None or partition in (link.name, link.name.partition(".")[0], link.parent.name):
                    publish.request_rebuild(link.parent, link.name)
    unknown = sorted({*force} - matched)
    if unknown:
        known = list(dict.fromkeys(name for asset, partition in described.steps for name in (asset, partition) if name))
        fixes = {name: did_you_mean(name.rpartition("/")[2], known) or "name one of them" for name in unknown}
        raise MaterialisationError(
            *(
                Problem("--force", name, f"{one_of(name, known)}, or ASSET/TILE, or all", fixes[name])
                for name in unknown
            )
        )


def run_request(dataset: Dataset, known: Sequence[dg.AssetsDefinition], run: Run) -> RunRequest:
    """What a run of a stage's job is about."""
    return RunRequest(
        assets=chain.run_selection(dataset, known, run),
        partition=run.partitions[0] if len(run.partitions) == 1 else None,
        tags=chain.run_tags(dataset, run),
        pools=pools(known, run),
    )


def messages(dagster: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """What a run that failed says.

    Raises:
        KeyboardInterrupt: a person ended it.
    """
    texts = [] if run.is_success else run_messages(dagster, run.run_id)
    if run.status in CANCELLED or any(name in text for text in texts for name in INTERRUPTS):
        if run.status != dg.DagsterRunStatus.CANCELED:  # Dagster takes Ctrl-C for a failure
            dagster.report_run_canceled(run)
        raise KeyboardInterrupt
    return texts


def failures(dataset: Dataset, described: Plan, tried: dict[str, list[str]]) -> list[Problem]:
    """What could not be made, each problem once: of steps that failed or are blocked, and of runs without a result.

    Tiles that the dataset goes on without are no problem.
    """
    broken = [s for s in described.of(State.FAILED, State.BLOCKED) if s.partition not in dataset.tiles.go_on_without]
    problems = [problem for step in broken for problem in step.problems]
    reported = "\n".join(map(str, problems))
    fix = "mend what it says, or see the run in Dagster (`make ui`), and materialise again"
    known = [problem for step in described.of(State.FAILED, State.BLOCKED) for problem in step.problems]
    texts = [text for lines in tried.values() for text in lines if text not in reported and not covers(text, known)]
    problems += [
        (RunMessage if "Fix: " in text else Problem)(dataset.name, text, "a run without failures", fix)
        for text in texts
    ]
    stopped = [run for run in next_runs(described) if run.key in tried and not tried[run.key]]
    problems += [Problem(f"{dataset.name}: {run}", "its run ended without it", "a product", fix) for run in stopped]
    return without_repeats(dict.fromkeys(problems))


def without_repeats(problems: Collection[Problem]) -> list[Problem]:
    """Problems without those that another one contains, as the manifest's does of a tile that it cannot do without."""
    texts = [f"{problem.where}: {problem.found}" for problem in problems]
    return [p for p, text in zip(problems, texts, strict=True) if not any(text in q.found for q in problems)]


class RunMessage(Problem):
    """What a run said, in its own words."""

    def __str__(self) -> str:
        return self.found


def covers(text: str, problems: Collection[Problem]) -> bool:
    """Whether a message of a run says what problems say, and no more."""
    return any(str(problem) in text for problem in problems)
