"""Chain: the sensor of a dataset, which asks the planner at each tick and requests the runs of the next stage alone."""

import json
import logging
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets import history, partitions, processes
from assets.graph import asset_graph, stages
from assets.lineage import sources
from assets.partitions import RANGE_END, RANGE_START, TILES
from assets.results import check_result, table
from landcover_orch import config, notifications
from landcover_orch.config import Dataset
from landcover_orch.errors import ConfigError, LandcoverError, Problem, pluralise
from landcover_orch.planner import Partition, Plan, Run, State, Step, by_hand, next_runs, plan
from landcover_orch.planner.retraining import Rule
from landcover_orch.store.canonical import digest
from landcover_orch.store.products import DATASET_MANIFEST

DATASET, STAGE, REASONS, REQUEST = (f"landcover/{name}" for name in ("dataset", "stage", "reasons", "request"))
"""Tags of a run: whose it is, which stage, why it was started, and the digest of what is built."""

CONFIGURATION = "landcover/configuration"
"""Tag of a dataset's jobs and of their runs: the digest of the configuration that Dagster read."""

EVERYTHING = "everything"
"""Name of the job of all stages."""

TICK_S, LOOK_S = 10, 60
"""Seconds between ticks while something is under way, and between looks when nothing is."""

READ_S = 30.0
"""How long one tick may read new files; what it does not get to, the next tick does."""

MEND_S = 20.0
"""How long one tick may begin to make again what MLflow has lost; what it does not get to, the next tick does."""

MOST_TRIES = 2
"""Runs of the same build that may end without a result and without a reason on disk, before it waits for a hand."""

UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

log = logging.getLogger(__name__)


def job_name(dataset: Dataset, stage: str) -> str:
    """Name of the job of a stage."""
    return f"{partitions.identifier(dataset)}_{stage}"


def configuration_tags(dataset: Dataset) -> dict[str, str]:
    """Tags of a dataset's jobs: they differ where its file says something else, or its `root` is another folder."""
    try:
        root = str(dataset.folder)
    except ConfigError:
        root = dataset.root
    return {CONFIGURATION: digest([dataset, root])}


def sensor_name(dataset: Dataset) -> str:
    """Name of the sensor that watches a dataset."""
    return f"{partitions.identifier(dataset)}_watch"


def up_to_date_key(dataset: Dataset) -> dg.AssetCheckKey:
    """Key of the check of the whole group."""
    return dg.AssetCheckKey(partitions.key(dataset, DATASET_MANIFEST), "group_up_to_date")


@dataclass(frozen=True)
class Inspection:
    """What a look at a dataset led to: runs to request, and sentences about what was done, or why nothing was."""

    plan: Plan | None
    """By the rule of the dataset's `retraining` block."""

    state: Plan | None = None
    """What is missing or stale whether or not a training is due, as `landcover materialise` builds it."""

    runs: tuple[Run, ...] = ()
    active: bool = False
    """Whether runs of the dataset are under way."""

    done: tuple[str, ...] = ()
    """What the look did, or found changed."""

    why_not: str = ""
    stuck: tuple[str, ...] = field(default=())
    """What waits for a hand."""

    def sentence(self) -> str:
        """All of it in a line."""
        parts = [*self.done, *(f"requests {run}" for run in self.runs), *self.stuck]
        return "; ".join(parts) or self.why_not


def inspect(dataset: Dataset, assets: Sequence[dg.AssetsDefinition], instance: dg.DagsterInstance) -> Inspection:
    """Looks at files, alias and products of a dataset, and says which runs are to be requested."""
    from landcover_orch.evaluation import promotion

    processes.end_dead_runs(instance, UNDER_WAY)
    try:
        observed = sources.observe(instance, dataset, READ_S)
    except LandcoverError as error:
        return Inspection(None, why_not=str(error))
    done = [str(observed)] if str(observed) else []
    waiting = tuple(f"waits: {text}" for text in observed.waiting)
    if observed.unread:
        return Inspection(
            None, done=(*done, f"{pluralise(observed.unread, 'tile is', 'tiles are')} still to be read"), active=True
        )
    if message := promotion.follow_alias(dataset, config.home()):
        done.append(message)
    rule = Rule(dataset, config.home())
    graph = asset_graph(dataset, assets, instance)
    examined: dict[tuple[str, Partition], Step] = {}
    described = plan(graph, rule.held, examined)
    covered = under_way(dataset, assets, instance)
    history.report(instance, dataset, described)
    runs, stuck = [], []
    for run in next_runs(described):
        if any((step.asset, step.partition) in covered or (step.asset, ANY) in covered for step in run.steps):
            continue
        held = exhausted(instance, run)
        runs += [] if held else [run]
        stuck += [held] if held else []
    active = bool(covered)
    if not active and not runs:
        done += mended(dataset, done)
    if settled := rule.settle(described, active or bool(runs)):
        done.append(settled)
    return Inspection(
        described,
        by_hand(plan(graph, examined=examined), Rule(dataset, config.home(), records=False).held),
        tuple(runs),
        active,
        tuple(done),
        why_not(described, active),
        (*waiting, *stuck),
    )


def mended(dataset: Dataset, done: Collection[str]) -> list[str]:
    """What was made again in MLflow from disk, less what was said already; where MLflow is away, the next look does."""
    from landcover_orch.evaluation import registration

    try:
        lines = registration.mend(dataset, config.home(), MEND_S)
    except LandcoverError:
        return []
    return [line for line in lines if line not in done]


def state_plan(dataset: Dataset, assets: Iterable[dg.AssetsDefinition], instance: dg.DagsterInstance) -> Plan:
    """What is missing or stale of a dataset, as `landcover materialise` builds it; says what the rule would hold."""
    return by_hand(plan(asset_graph(dataset, assets, instance)), Rule(dataset, config.home(), records=False).held)


ANY = "*"
"""All partitions of an asset."""


def under_way(
    dataset: Dataset, assets: Iterable[dg.AssetsDefinition], instance: dg.DagsterInstance
) -> set[tuple[str, str | None]]:
    """Assets and partitions that runs of the dataset are about which have not ended, whoever started them."""
    covered: set[tuple[str, str | None]] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY)):
        names = run_assets(dataset, assets, run)
        chosen: Collection[str | None] = [run.tags.get("dagster/partition")]
        if TILES in run.tags:
            chosen = json.loads(run.tags[TILES])
        elif RANGE_START in run.tags:
            chosen = [ANY]
        covered |= {(name, partition) for name in names for partition in chosen}
    return covered


def run_assets(dataset: Dataset, assets: Iterable[dg.AssetsDefinition], run: dg.DagsterRun) -> set[str]:
    """Names of the dataset's assets that a run is about."""
    if run.asset_selection:
        return {key.path[-1] for key in run.asset_selection if key.path[0] == dataset.name}
    by_job = {job_name(dataset, stage): keys for stage, keys in stages(assets).items()}
    return {key.path[-1] for key in by_job.get(run.job_name, ())}


def exhausted(instance: dg.DagsterInstance, run: Run) -> str | None:
    """Why a build that may start waits for a hand: it was cancelled, or ended too often without a result."""
    past = instance.get_runs(dg.RunsFilter(tags={REQUEST: run.key}), limit=MOST_TRIES + 1)
    fix = "materialise it by hand, or change what it is made of"
    cancelled = [p for p in past if p.status == dg.DagsterRunStatus.CANCELED]
    if cancelled:
        return f"{run}: run {cancelled[0].run_id[:8]} was cancelled; {fix}"
    failed = [p for p in past if p.status == dg.DagsterRunStatus.FAILURE]
    if len(failed) >= MOST_TRIES:
        return f"{run}: {len(failed)} runs failed, the last is {failed[0].run_id[:8]}; {fix}"
    return None


def why_not(described: Plan, active: bool) -> str:
    """Why a tick requests nothing."""
    if active:
        return "runs are under way"
    failed, held = described.of(State.FAILED, State.BLOCKED), described.of(State.NOT_DUE)
    parts = []
    if failed:
        parts.append(f"{failed[0]}" + (f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""))
    if held:
        parts.append(str(held[0]))
    return "; ".join(parts) or "everything is up to date"


def run_tags(dataset: Dataset, run: Run) -> dict[str, str]:
    """Tags of a run: dataset, stage, reasons, what is built, and its tiles where they are several."""
    tags = {
        DATASET: dataset.name,
        STAGE: run.stage,
        REASONS: "\n".join(run.reasons),
        REQUEST: run.key,
    }
    names = [name for name in run.partitions if name is not None]
    if len(names) > 1:
        tags |= {RANGE_START: names[0], RANGE_END: names[-1], TILES: json.dumps(names)}
    return tags


def run_selection(dataset: Dataset, assets: Iterable[dg.AssetsDefinition], run: Run) -> list[dg.AssetKey] | None:
    """Assets of a stage's job that a run is about; None for all of them, with the checks of their inputs."""
    keys = [partitions.key(dataset, name) for name in run.assets]
    return None if set(stages(assets)[run.stage]) == set(keys) else keys


def run_request(
    dataset: Dataset, assets: Iterable[dg.AssetsDefinition], run: Run, instance: dg.DagsterInstance
) -> dg.RunRequest:
    """The request of a run of a registered job; its key says the how manyth try of the same build it is."""
    tries = len(instance.get_runs(dg.RunsFilter(tags={REQUEST: run.key})))
    return dg.RunRequest(
        run_key=f"{run.key}-{tries}",
        job_name=job_name(dataset, run.stage),
        asset_selection=run_selection(dataset, assets, run),
        partition_key=run.partitions[0] if len(run.partitions) == 1 else None,
        tags=run_tags(dataset, run),
    )


def watch_sensor(dataset: Dataset, assets: Sequence[dg.AssetsDefinition], jobs: Sequence[Any]) -> dg.SensorDefinition:
    """The sensor <dataset>_watch: new and changed files become partitions, and what is missing or stale is built."""

    @dg.sensor(
        name=sensor_name(dataset),
        description="Looks at files, alias and products, and requests the runs of the next stage.",
        jobs=jobs,
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING if dataset.retraining else dg.DefaultSensorStatus.STOPPED,
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return tick(dataset, assets, context.instance, context.cursor, datetime.now(UTC), context.log)

    return watch


def tick(
    dataset: Dataset,
    assets: Sequence[dg.AssetsDefinition],
    instance: dg.DagsterInstance,
    cursor: str | None,
    now: datetime,
    log: logging.Logger = log,
) -> dg.SensorResult:
    """One tick: a look every `TICK_S` seconds while something is under way, else every minute."""
    memory: dict[str, Any] = json.loads(cursor) if cursor else {}
    last = memory.get("looked")
    if last and not memory.get("active") and (now - datetime.fromisoformat(last)).total_seconds() < LOOK_S - 1:
        return dg.SensorResult(skip_reason=memory.get("said") or "nothing new", cursor=cursor)
    seen = inspect(dataset, assets, instance)
    if seen.done or seen.runs:
        memory["worked"] = now.isoformat(timespec="seconds")
    text = seen.sentence()
    if not seen.done and not seen.runs and not seen.active and memory.get("worked"):
        text = f"nothing new since {memory['worked']}: {text}"
    events = state_events(dataset, seen, memory, instance)
    if os.environ.get(notifications.SETTING):
        try:
            undelivered = notifications.send(notices(dataset, seen, instance, now), config.home(), now)
        except LandcoverError as error:
            undelivered = [str(error)]  # a wrong setting stops nothing else
        for text_of_problem in undelivered:
            log.warning(text_of_problem)
    memory |= {"looked": now.isoformat(timespec="seconds"), "active": bool(seen.runs) or seen.active, "said": text}
    if seen.done or seen.runs or seen.stuck:
        log.info(text)
    requests = [run_request(dataset, assets, run, instance) for run in seen.runs]
    reason = None if requests else dg.SkipReason(text)
    return dg.SensorResult(run_requests=requests, skip_reason=reason, cursor=json.dumps(memory), asset_events=events)


def state_events(
    dataset: Dataset, seen: Inspection, memory: dict[str, Any], instance: dg.DagsterInstance
) -> list[dg.AssetCheckEvaluation]:
    """The evaluation of the check of the group, where its outcome has changed."""
    if seen.state is None or instance.get_latest_materialization_event(up_to_date_key(dataset).asset_key) is None:
        return []
    rows = state_rows(seen.state)
    state = [[row["asset"], row["partition"], row["state"], row["why"]] for row in rows]
    if memory.get("state") == (described := digest(state)):
        return []
    memory["state"] = described
    return [state_evaluation(dataset, seen.state)]


def state_evaluation(dataset: Dataset, described: Plan) -> dg.AssetCheckEvaluation:
    """The evaluation of the check of the group by a plan."""
    rows = state_rows(described)
    return dg.AssetCheckEvaluation(
        asset_key=up_to_date_key(dataset).asset_key,
        check_name=up_to_date_key(dataset).name,
        passed=not rows,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"steps": table(rows)} if rows else {},
        description=str(stale_problem(dataset, rows)) if rows else None,
    )


def state_rows(described: Plan) -> list[dict[str, Any]]:
    """What of a plan is not current, the broken first: asset, partition, state, why, rough seconds."""
    order = [State.FAILED, State.BLOCKED, State.BUILD, State.WAITING]
    return [
        {
            "asset": step.asset,
            "partition": step.partition or "",
            "state": step.state.value,
            "why": step.reason,
            "seconds": step.seconds,
        }
        for state in order
        for step in described.of(state)
    ]


def stale_problem(dataset: Dataset, rows: Sequence[dict[str, Any]]) -> Problem:
    """The problem of a dataset that is not up to date."""
    first = f", first {rows[0]['asset']} {rows[0]['partition']}".rstrip() + f": {rows[0]['why']}" if rows else ""
    fix = f"landcover materialise {dataset.name}; the sensor {sensor_name(dataset)} does, where it is on"
    return Problem(
        dataset.name,
        f"{pluralise(len(rows), 'product is', 'products are')} missing or stale{first}",
        "all current",
        fix,
    )


def up_to_date_check(dataset: Dataset, assets: Sequence[dg.AssetsDefinition]) -> dg.AssetChecksDefinition:
    """Asset check of the whole group: what is missing or stale, and why."""
    key = up_to_date_key(dataset)

    @dg.asset_check(
        asset=key.asset_key,
        name=key.name,
        description="Every product of the group is whole, and made of what its inputs are now.",
    )
    def group_up_to_date(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        rows = state_rows(state_plan(dataset, assets, context.instance))
        return check_result(not rows, stale_problem(dataset, rows), {"steps": table(rows)} if rows else {})

    return group_up_to_date


def notices(
    dataset: Dataset, seen: Inspection, instance: dg.DagsterInstance, now: datetime
) -> list[notifications.Notice]:
    """What a person is told of: failed builds, what waits for a hand, a changed champion, a waiting challenger."""
    from landcover_orch.evaluation.decisions import load_decisions

    def notice(cause: str, text: str) -> notifications.Notice:
        return notifications.Notice(dataset.name, cause, f"{dataset.name}: {cause}", f"{dataset.name}: {text}")

    causes = [notice(f"waits for a hand: {text[:80]}", text) for text in seen.stuck]
    causes += [notice(text[:100], text) for text in seen.done if text.startswith("training due")]
    causes += [notice(f"failed: {step.name}", str(step)) for step in _failed(seen.plan)]
    causes += failed_checks(dataset, instance, now, notice)
    history = load_decisions(dataset.name, config.home())
    today = now.date().isoformat()
    for before, decision in zip([None, *history], history, strict=False):
        former = before.champion.fingerprint if before else decision.previous
        is_new = former != decision.champion.fingerprint or (before and before.champion.name != decision.champion.name)
        if decision.at.startswith(today) and is_new:
            causes.append(notice(f"champion changed to {decision.champion.experiment}", decision.reason))
    if history and history[-1].challenger:
        waiting = history[-1].challenger.experiment
        text = f"{history[-1].reason}: `landcover promote {dataset.name} VERSION`"
        causes.append(notice(f"challenger {waiting} waits", text))
    return causes


def failed_checks(
    dataset: Dataset, instance: dg.DagsterInstance, now: datetime, notice: Any
) -> list[notifications.Notice]:
    """Checks and runs of the dataset that failed since yesterday, by the runs that are tagged with it."""
    since = datetime.fromtimestamp(now.timestamp() - 86400, UTC)
    causes = []
    for record in instance.get_run_records(dg.RunsFilter(tags={DATASET: dataset.name}, updated_after=since), limit=50):
        run = record.dagster_run
        if run.status == dg.DagsterRunStatus.FAILURE:
            reasons = run.tags.get(REASONS, "")
            causes.append(
                notice(f"failed run of {run.job_name}", f"run {run.run_id[:8]} of {run.job_name} failed ({reasons})")
            )
        if run.is_finished:
            for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
                check = entry.dagster_event.asset_check_evaluation_data if entry.dagster_event else None
                if check is not None and not check.passed:
                    name = f"{check.asset_key.path[-1]}.{check.check_name}"
                    causes.append(
                        notice(f"failed check {name}", f"check {name} failed: {check.description or 'see Dagster'}")
                    )
    return causes


def _failed(described: Plan | None) -> list[Step]:
    return [] if described is None else described.of(State.FAILED)
