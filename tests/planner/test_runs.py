"""Runs take what may start now: steps of a stage over the same partitions, and what follows them within the stage."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch.planner import Asset, Dependency, Partition, Plan, Run, State, Step, next_runs
from landcover_orch.planner.graph import in_order
from landcover_orch.planner.runs import REASONS_SHOWN

TILES: tuple[Partition, ...] = ("a", "b", "c", "d")
MODELS: tuple[Partition, ...] = ("x", "y")


def asset(
    name: str,
    stage: str,
    upstream: tuple[str, ...] = (),
    partitions: tuple[Partition, ...] = TILES,
    partitioning: str | None = "tiles",
    per_run: int = 50,
) -> Asset:
    """An asset that nothing builds: the plan of it is given."""

    def builder() -> None:
        raise AssertionError("grouping asks no build")

    dependencies = tuple(Dependency(name) for name in upstream)
    kind = None if partitions == (None,) else partitioning
    return Asset(name, stage, dependencies, partitions, kind, builder, per_run=per_run)  # type: ignore[arg-type]


ASSETS = (
    asset("truth", "prepare"),
    asset("patches", "prepare", ("truth",)),
    asset("quality", "prepare", ("truth",)),
    asset("table", "manifest", ("truth", "patches"), (None,)),
    asset("model", "train", ("table",), MODELS, "experiments", per_run=1),
    asset("prediction", "evaluate", ("model",), MODELS, "experiments", per_run=1),
    asset("report", "evaluate", ("prediction", "model"), MODELS, "experiments", per_run=1),
    asset("board", "elect", ("report",), (None,)),
    asset("champion", "elect", ("board", "report"), (None,)),
    asset("map", "map", ("champion",)),
)

Given = dict[tuple[str, Partition], State | tuple[State, str]]


def described(given_states: Given, assets: tuple[Asset, ...] = ASSETS) -> Plan:
    """A plan in which everything is current but what is given, with its reason."""
    order = tuple(in_order(assets))
    steps = {}
    for known in order:
        for partition in known.partitions:
            value = given_states.get((known.name, partition), State.CURRENT)
            state, reason = value if isinstance(value, tuple) else (value, "image changed")
            fingerprint = f"{known.name} {partition}" if state is State.BUILD else None
            steps[known.name, partition] = Step(known.name, partition, known.stage, state, reason, fingerprint)
    return Plan(order, steps)


def states(name: str, partitions: str, state: State) -> Given:
    """The same state of partitions that are called by a letter each."""
    return {(name, letter): state for letter in partitions}


def shapes(runs: list[Run]) -> list[tuple[str, tuple[str, ...], tuple[Partition, ...]]]:
    """Stage, assets and partitions of runs."""
    return [(run.stage, run.assets, run.partitions) for run in runs]


BUILD, WAITING = State.BUILD, State.WAITING
PREPARE: Given = {
    **states("truth", "abcd", BUILD),
    **states("patches", "abcd", WAITING),
    **states("quality", "abcd", WAITING),
    ("table", None): WAITING,
    **states("model", "xy", WAITING),
    **states("prediction", "xy", WAITING),
    **states("report", "xy", WAITING),
    ("board", None): WAITING,
    ("champion", None): WAITING,
    **states("map", "abcd", WAITING),
}


def test_where_everything_is_current_nothing_runs() -> None:
    assert next_runs(described({})) == []


@pytest.mark.parametrize("state", [State.NOT_DUE, State.FAILED, State.BLOCKED])
def test_what_may_not_start_does_not_run_and_the_rest_does(state: State) -> None:
    assert next_runs(described({("table", None): state, **states("model", "xy", state)})) == []
    (run,) = next_runs(described({**states("patches", "abd", state), **states("patches", "c", BUILD)}))
    assert [step.key for step in run.steps] == [("patches", "c")]


def test_the_first_run_takes_a_stage_with_what_follows_within_it_and_no_later_stage() -> None:
    (run,) = next_runs(described(PREPARE))
    assert (run.stage, run.assets, run.partitions) == ("prepare", ("truth", "patches", "quality"), TILES)
    assert [step.key for step in run.steps] == [
        (name, tile) for name in ("truth", "patches", "quality") for tile in TILES
    ]


def test_steps_stand_in_an_order_in_which_they_can_be_built() -> None:
    plan = described(PREPARE)
    (run,) = next_runs(plan)
    seen: set[tuple[str, Partition]] = set()
    assets = {known.name: known for known in plan.assets}
    for step in run.steps:
        upstream = {known.key for _, known, _ in plan.upstream(assets[step.asset], step.partition)}
        assert upstream <= seen
        seen.add(step.key)


def test_partitions_that_need_the_same_assets_run_together() -> None:
    runs = next_runs(
        described(
            {
                **states("truth", "ac", BUILD),
                **states("patches", "ac", WAITING),
                **states("patches", "b", BUILD),
                **states("quality", "d", BUILD),
            }
        )
    )
    assert shapes(runs) == [
        ("prepare", ("truth", "patches"), ("a", "c")),
        ("prepare", ("patches",), ("b",)),
        ("prepare", ("quality",), ("d",)),
    ]


@pytest.mark.parametrize(
    ("per_run", "partitions"),
    [(50, [TILES]), (4, [TILES]), (3, [("a", "b", "c"), ("d",)]), (1, [("a",), ("b",), ("c",), ("d",)])],
)
def test_a_run_takes_no_more_partitions_than_any_of_its_assets(
    per_run: int, partitions: list[tuple[Partition, ...]]
) -> None:
    assets = tuple(replace(known, per_run=per_run) if known.name == "patches" else known for known in ASSETS)
    runs = next_runs(described({**PREPARE}, assets))
    assert [run.partitions for run in runs] == partitions
    assert {run.assets for run in runs} == {("truth", "patches", "quality")}
    for run in runs:
        assert {step.partition for step in run.steps} == {*run.partitions}


def test_an_experiment_is_a_run_and_its_evaluation_another_stage() -> None:
    states_of: Given = {
        **states("model", "xy", BUILD),
        **states("prediction", "xy", WAITING),
        **states("report", "xy", WAITING),
        ("board", None): WAITING,
    }
    assert shapes(next_runs(described(states_of))) == [("train", ("model",), ("x",)), ("train", ("model",), ("y",))]
    trained: Given = {**states("prediction", "x", BUILD), **states("report", "x", WAITING), ("board", None): WAITING}
    assert shapes(next_runs(described(trained))) == [("evaluate", ("prediction", "report"), ("x",))]


def test_assets_without_partitions_follow_each_other_within_a_stage() -> None:
    (run,) = next_runs(described({("board", None): BUILD, ("champion", None): WAITING, **states("map", "a", WAITING)}))
    assert (run.stage, run.assets, run.partitions) == ("elect", ("board", "champion"), (None,))


def test_what_waits_for_another_stage_as_well_does_not_follow() -> None:
    waits: Given = {
        ("model", "y"): BUILD,
        ("prediction", "y"): WAITING,
        ("report", "y"): WAITING,
        ("board", None): WAITING,
        ("champion", None): WAITING,
    }
    assert shapes(next_runs(described(waits))) == [("train", ("model",), ("y",))]
    of_two: Given = {**waits, ("prediction", "x"): BUILD, ("report", "x"): WAITING}
    assert shapes(next_runs(described(of_two))) == [
        ("train", ("model",), ("y",)),
        ("evaluate", ("prediction", "report"), ("x",)),
    ]


def test_what_waits_for_other_partitions_of_its_stage_does_not_follow() -> None:
    assets = (
        asset("truth", "prepare"),
        asset("mosaic", "prepare", ("truth",), (None,)),
        replace(asset("edges", "prepare"), dependencies=(Dependency("truth", ("a",)),)),
    )
    given_states: Given = {("truth", "a"): BUILD, ("mosaic", None): WAITING, **states("edges", "ab", WAITING)}
    (run,) = next_runs(described(given_states, assets))
    assert [step.key for step in run.steps] == [("truth", "a"), ("edges", "a")]


def test_a_chain_breaks_at_the_first_step_that_does_not_follow() -> None:
    assets = (
        asset("first", "early", (), (None,)),
        asset("between", "late", ("first",), (None,)),
        asset("last", "early", ("between",), (None,)),
        asset("end", "early", ("last",), (None,)),
    )
    waits: Given = {("first", None): BUILD, ("between", None): WAITING, ("last", None): WAITING, ("end", None): WAITING}
    assert [run.assets for run in next_runs(described(waits, assets))] == [("first",)]


def test_what_does_not_wait_for_each_other_starts_at_once() -> None:
    both: Given = {**states("map", "b", BUILD), ("table", None): BUILD, **states("quality", "a", BUILD)}
    assert shapes(next_runs(described(both))) == [
        ("prepare", ("quality",), ("a",)),
        ("manifest", ("table",), (None,)),
        ("map", ("map",), ("b",)),
    ]


def test_stages_can_be_chosen() -> None:
    both: Given = {**states("map", "b", BUILD), ("table", None): BUILD}
    assert [run.stage for run in next_runs(described(both), ["map", "train"])] == ["map"]
    assert next_runs(described(both), []) == []
    assert next_runs(described(PREPARE), ["train"]) == []


# what a run says


def test_the_key_is_of_what_is_built() -> None:
    (run,) = next_runs(described(PREPARE))
    first = {key: (BUILD, "missing: nothing published") for key in PREPARE if key[0] == "truth"}
    (same,) = next_runs(described({**PREPARE, **first}))
    assert run.key == same.key, "whatever the reason"
    steps = {step.key: step for step in run.steps}
    changed = replace(steps["truth", "b"], fingerprint="another")
    assert replace(run, steps=tuple(changed if step.key == changed.key else step for step in run.steps)).key != run.key
    assert replace(run, steps=run.steps[1:]).key != run.key
    assert replace(run, stage="another").key != run.key
    assert replace(run, steps=tuple(replace(step, seconds=9.0) for step in run.steps)).key == run.key


def test_keys_of_runs_of_a_plan_differ() -> None:
    runs = next_runs(described({**states("model", "xy", BUILD), **states("map", "ab", BUILD), ("table", None): BUILD}))
    assert len({run.key for run in runs}) == len(runs) == 4


def test_reasons_are_a_line_each_with_the_partitions_that_they_hold_for() -> None:
    reasons: Given = {
        ("truth", "a"): (BUILD, "image changed"),
        ("truth", "b"): (BUILD, "missing: nothing published"),
        ("truth", "c"): (BUILD, "image changed"),
        ("patches", "a"): (WAITING, "waits for truth a"),
        ("patches", "b"): (BUILD, "image changed"),
        ("patches", "c"): (WAITING, "waits for truth c"),
    }
    (run,) = next_runs(described(reasons))
    assert run.reasons == [
        "truth a, c: image changed",
        "truth b: missing: nothing published",
        "patches b: image changed",
    ]


def test_an_asset_without_partitions_has_none_in_its_reason() -> None:
    (run,) = next_runs(described({("table", None): (BUILD, "truth d new")}))
    assert run.reasons == ["table: truth d new"]
    assert str(run) == "table"


def test_of_many_partitions_the_first_and_the_last_are_named() -> None:
    names = tuple(f"t{i:02}" for i in range(18))
    assets = (asset("truth", "prepare", (), names),)
    (run,) = next_runs(described({("truth", name): BUILD for name in names}, assets))
    assert run.reasons == ["truth t00 ... t17, 18 in all: image changed"]
    assert str(run) == "truth t00 ... t17, 18 in all"
    (few,) = next_runs(described({("truth", name): BUILD for name in names[:6]}, assets))
    assert str(few) == "truth t00, t01, t02, t03, t04, t05"


@pytest.mark.parametrize(("different", "more"), [(REASONS_SHOWN, None), (REASONS_SHOWN + 1, 1), (REASONS_SHOWN + 5, 5)])
def test_of_many_reasons_the_rest_is_counted(different: int, more: int | None) -> None:
    names = tuple(f"t{i:02}" for i in range(different))
    assets = (asset("truth", "prepare", (), names),)
    (run,) = next_runs(described({("truth", name): (BUILD, f"input {name} new") for name in names}, assets))
    assert run.reasons[:REASONS_SHOWN] == [f"truth {name}: input {name} new" for name in names[:REASONS_SHOWN]]
    assert run.reasons[REASONS_SHOWN:] == ([] if more is None else [f"and {more} more"])


def test_seconds_are_the_sum_of_those_that_are_known() -> None:
    (run,) = next_runs(described(states("truth", "abc", BUILD)))
    assert run.seconds is None
    first, second, third = run.steps
    timed = (replace(first, seconds=2.5), replace(second, seconds=4.0), third)
    assert replace(run, steps=timed).seconds == 6.5


@given(st.lists(st.sampled_from([*State]), min_size=25, max_size=25), st.integers(1, 4))
def test_runs_take_each_step_once_and_all_that_may_start(drawn: list[State], per_run: int) -> None:
    keys = [(known.name, partition) for known in ASSETS for partition in known.partitions]
    assets = tuple(replace(known, per_run=per_run) for known in ASSETS)
    plan = described(dict(zip(keys, drawn, strict=True)), assets)
    runs = next_runs(plan)
    taken = [step.key for step in chain.from_iterable(run.steps for run in runs)]
    assert len(taken) == len(set(taken))
    assert {step.key for step in plan.of(State.BUILD)} <= {*taken}
    by_name = {known.name: known for known in plan.assets}
    for run in runs:
        assert 1 <= len(run.partitions) <= per_run
        assert {step.key for step in run.steps} == {(name, tile) for name in run.assets for tile in run.partitions}
        assert {step.stage for step in run.steps} == {run.stage}
        inside = {step.key for step in run.steps}
        for step in run.steps:
            assert step.state in (State.BUILD, State.WAITING)
            waits = {
                known.key
                for _, known, _ in plan.upstream(by_name[step.asset], step.partition)
                if known.state in (State.BUILD, State.WAITING)
            }
            assert step.state is State.BUILD or waits <= inside, "no run waits for another one"
