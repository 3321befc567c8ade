"""A search: what its space may say, which trials it draws, when it stops one, and that a kill changes nothing."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from landcover_orch import config
from landcover_orch.config.experiments import Experiment
from landcover_orch.config.experiments.search import Search, combinations, problems, variant
from landcover_orch.errors import ConfigError, RecipeError, TrainingError
from landcover_orch.store import publish
from landcover_orch.store.publish import Product
from landcover_orch.training.history import Row
from landcover_orch.training.search import __main__ as command
from landcover_orch.training.search import page as search_page
from landcover_orch.training.search import study as search_study
from landcover_orch.training.search.trials import Repetition, State, Trial, best, draw
from landcover_orch.training.step import Step
from tests import custom_code
from tests.training import classroom

ROOT = Path(__file__).resolve().parents[3]
GRID = {"optimiser.name": ["adam", "rmsprop", "adagrad"], "optimiser.lr": [0.001, 0.01]}
MIXED = {
    "optimiser.lr": {"low": "1e-4", "high": 0.1, "log": True},
    "model.width": {"low": 4, "high": 8},
    "loss": ["cross_entropy", ["cross_entropy", {"name": "jaccard", "weight": 0.5}]],
}


def search(**changed: Any) -> Search:
    return Search.model_validate({"name": "tried", "experiment": "quick", "space": GRID, **changed})


def tpe(**changed: Any) -> Search:
    return search(**{"sampler": "tpe", "trials": 8, "startup": 3, "space": MIXED, **changed})


def run(home: Path, settings: Search, **changed: Any) -> Product:
    with classroom.in_memory():
        recipe = classroom.experiment(**{"epochs": 2, **changed})
        return search_study.run(classroom.published(home), settings, recipe, home)


def table(product: Product) -> list[dict[str, str]]:
    """The trials without what was measured."""
    with product.file("trials.csv").open(encoding="utf-8") as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_code_of_every_choice_counts_and_no_edit_meanwhile_reaches_a_trial(code: Path, home: Path) -> None:
    choices = ["field_maps.networks:Plain", "other.networks:Plain"]
    custom_code.write(code)
    other = {"blocks": custom_code.BLOCKS, "networks": custom_code.NETWORK.replace("field_maps", "other")}
    custom_code.write(code, package="other", **other)

    def edit(line: str) -> None:
        for package in ("field_maps", "other"):
            custom_code.write(code, package=package, networks="raise RuntimeError")

    settings = search(space={"model.build": choices})
    with classroom.in_memory():
        base = classroom.experiment(model=custom_code.MODEL, epochs=1)
        product = search_study.run(classroom.published(home), settings, base, home, progress=edit)
    assert [(row["model.build"], row["state"]) for row in table(product)] == [(name, "complete") for name in choices]
    assert {"code field_maps", "code other"} < {*product.recipe.inputs}
    assert {"code/field_maps/networks.py", "code/other/networks.py"} < {*product.files}


# What a space may say


def test_a_shipped_recipe_unvaried_is_itself() -> None:
    study_settings = search()
    for path in sorted((config.shipped_configs() / "experiments").glob("*.yaml")):
        for recipe in config.load_experiments(path.stem).values():
            assert variant(study_settings, recipe, {}) == recipe


def test_a_variant_has_the_choices_and_all_else_as_it_was() -> None:
    base = classroom.experiment(optimiser={"name": "adam", "lr": 0.1, "weight_decay": 0.5})
    outcome = variant(search(changes={"epochs": 9, "optimiser": "adamw"}), base, {"optimiser.lr": 0.2})
    assert outcome.model_dump() == {
        **base.model_dump(),
        "epochs": 9,
        "optimiser": {**outcome.optimiser.model_dump(), "name": "adamw", "lr": 0.2, "weight_decay": 0.01},
    }


def test_a_part_that_the_recipe_does_not_say_keeps_its_name() -> None:
    base = Experiment.model_validate({"name": "quick", "model": "unet"})
    assert variant(search(), base, {"optimiser.lr": 0.2}).optimiser.model_dump()["name"] == "adam"


@pytest.mark.parametrize(
    ("invalid", "expected_text"),
    [
        ({"space": {"optimiser.lrr": [1, 2]}}, "space: optimiser.lrr: an unknown key"),
        ({"space": {"optimiser.name": ["adam", "adm"]}}, "did you mean 'adam'?"),
        ({"space": {"epochs.two": [1]}}, "`epochs` is 3"),
        ({"space": {"optimiser.lr": [0.1, -1]}}, "space: optimiser.lr"),
        ({"sampler": "tpe", "trials": 2, "space": {"batch_size": {"low": 0, "high": 8}}}, "batch_size: 0"),
        ({"space": {"schedule": ["constant", "one_cycle"], "optimiser.name": ["adam", "adagrad"]}}, "adagrad has none"),
        ({"changes": {"epoch": 3}}, "epoch: an unknown key"),
    ],
)
def test_a_space_that_gives_no_recipe_is_refused(invalid: dict[str, Any], expected_text: str) -> None:
    texts = problems(search(**invalid), classroom.experiment())
    assert any(expected_text in str(problem) for problem in texts), texts


def test_every_wrong_value_is_named_at_once() -> None:
    outcome = problems(search(space={"optimiser.name": ["adm", "sdg"], "epochs": [0, 1]}), classroom.experiment())
    assert sorted(problem.found for problem in outcome) == ["'adm'", "'sdg'", "0"]


def test_tpe_takes_a_space_in_which_some_choices_do_not_meet() -> None:
    space = {"schedule": ["constant", "one_cycle"], "optimiser.name": ["adam", "adagrad"]}
    assert problems(tpe(space=space), classroom.experiment()) == []


def test_an_ensemble_is_not_searched() -> None:
    ensemble = Experiment.model_validate({"name": "both", "model": {"name": "ensemble", "members": ["a"]}})
    assert "an ensemble" in problems(search(space={"model.combine": ["mean", "vote"]}), ensemble)[0].found


@pytest.mark.parametrize(
    ("invalid", "expected_text"),
    [
        ({"trials": 3}, "a grid has no `trials`"),
        ({"space": {"epochs": {"low": 1, "high": 2}}}, "no ranges"),
        ({"sampler": "random"}, "needs `trials`"),
        ({"space": {"metric": ["loss", "mean_iou"]}}, "no search varies that"),
        ({"space": {"epochs": [1, 1]}}, "twice"),
        ({"space": {"epochs": {"low": 2, "high": 2}}}, "a larger `high`"),
        ({"space": {"epochs": {"low": 0, "high": 2, "log": True}}}, "no logarithm of 0"),
        ({"space": {"epochs": {"choices": [1], "low": 2}}}, "give one of them"),
        ({"space": {}}, "at least 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(invalid: dict[str, Any], expected_text: str) -> None:
    with pytest.raises(ValueError, match=expected_text):
        search(**invalid)


def test_a_file_is_checked_when_it_is_loaded(configs: Path) -> None:
    (configs / "searches").mkdir()
    (configs / "experiments" / "quick.yaml").write_text("{name: quick, model: unet}")
    path = configs / "searches" / "tried.yaml"
    path.write_text("{name: tried, experiment: quick, space: {epochs: [1, 2]}}")
    assert config.load_search("tried").number == 2
    path.write_text("{name: tried, experiment: quick, space: {epochs: [0, x]}}")
    with pytest.raises(ConfigError) as caught:
        config.load_search("tried")
    assert [problem.where for problem in caught.value.problems] == [f"{path}: space: epochs"] * 2


@pytest.mark.parametrize("name", sorted(path.stem for path in (config.shipped_configs() / "searches").glob("*.yaml")))
def test_the_shipped_searches_load(name: str) -> None:
    assert config.load_search(name).number > 1


# Which trials are drawn


def _trial(number: int, choices: dict[str, Any], value: float | None, state: State = "complete") -> Trial:
    rows = [Row(1, 1.0, 1.0, {"mean_iou": value or 0.0}, {}, 0.1)]
    return Trial(number, choices, state, value, None, [Repetition("one", rows, [0.1])])


def _drawn(settings: Search, number: int) -> list[dict[str, Any]]:
    done: list[Trial] = []
    while len(done) < number:
        choices = draw(settings, "mean_iou", done).choices
        done.append(_trial(len(done) + 1, choices, choices.get("model.width", 1) / 10))
    return [trial.choices for trial in done]


def test_a_grid_is_every_combination_once_in_order() -> None:
    assert search().number == 6
    expected = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    assert _drawn(search(), 6) == expected == list(combinations(search()))


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_draws_follow_from_the_seed_and_lie_in_the_space(sampler: str) -> None:
    study_settings = tpe(sampler=sampler)
    outcome = _drawn(study_settings, 8)
    assert outcome == _drawn(study_settings, 8) != _drawn(tpe(sampler=sampler, seed=1), 8)
    for choices in outcome:
        assert 1e-4 <= choices["optimiser.lr"] <= 0.1
        assert isinstance(choices["model.width"], int)
        assert 4 <= choices["model.width"] <= 8
        assert choices["loss"] in MIXED["loss"]


def test_tpe_learns_from_the_trials_before() -> None:
    """Where wide models score better, later draws are wider than random ones."""
    widths = [choices["model.width"] for choices in _drawn(tpe(startup=8, trials=40), 40)]
    assert sum(widths[20:]) / 20 > sum(widths[:8]) / 8 + 0.5


def test_the_best_is_the_first_of_the_best_in_the_metrics_direction() -> None:
    trials = [_trial(i, {}, value) for i, value in enumerate([0.5, None, 0.2, 0.5, 0.2], 1)]
    assert [getattr(best(trials, metric), "number", None) for metric in ("mean_iou", "loss", "kl_proportions")] == [
        1,
        3,
        3,
    ]
    assert best(trials[1:2], "loss") is None


# What a search leaves


def test_it_leaves_a_table_figures_and_a_recipe_that_trains(home: Path, configs: Path) -> None:
    product = run(home, search())
    rows = table(product)
    assert [(row["optimiser.name"], float(row["optimiser.lr"])) for row in rows] == [*itertools.product(*GRID.values())]
    assert {row["state"] for row in rows} == {"complete"}
    summary = product.json("summary.json")
    assert summary["best_value"] == max(float(row["value"]) for row in rows)
    assert {"trials.png", "choices.png", "heatmap.png", "index.html"} < set(product.files)
    assert [name for name in product.files if name.startswith("trial-")] == []
    (configs / "experiments" / "tried-best.yaml").write_bytes(product.file("best.yaml").read_bytes())
    recipe = config.load_experiment("tried-best")
    assert f"trial {summary['best_trial']} of 6" in recipe.description
    with classroom.in_memory():
        from landcover_orch.training import product as training

        trained = training.train(classroom.published(home), recipe, home)
    assert trained.json("summary.json")["mean_iou"] == summary["best_value"]


def test_the_same_search_is_found_and_an_other_space_is_another_product(home: Path) -> None:
    study_settings = search(space={"epochs": [1, 2]})
    first = run(home, study_settings)
    assert run(home, study_settings).path == first.path
    assert run(home, search(space={"epochs": [1]})).path != first.path


def test_a_score_is_the_mean_over_repetitions_with_its_spread(home: Path) -> None:
    product = run(home, search(space={"epochs": [1, 2]}, repetitions={"seeds": [1, 2, 3]}))
    (row, _) = table(product)
    rows = [one["rows"] for one in product.json("trials/1.json")["repetitions"]]
    values = [repetition[0]["metrics"]["mean_iou"] for repetition in rows]
    mean = sum(values) / 3
    assert float(row["value"]) == pytest.approx(mean)
    assert float(row["sd"]) == pytest.approx((sum((value - mean) ** 2 for value in values) / 2) ** 0.5)
    assert (row["repetitions"], row["epochs"]) == ("3", "3")
    assert "protocol" not in yaml.safe_load(product.file("best.yaml").read_text())


def test_what_is_minimised_is_minimised(home: Path) -> None:
    product = run(home, search(changes={"metric": "loss"}, space={"optimiser.lr": [0.0001, 0.01]}))
    outcome = [float(row["value"]) for row in table(product)]
    assert product.json("summary.json")["best_value"] == min(outcome)
    assert (product.json("summary.json")["direction"], outcome[0] > outcome[1]) == ("minimise", True)


def test_trials_behind_the_median_are_stopped_after_the_warm_up(home: Path) -> None:
    rates = [0.01, 0.02, 1e-6, 1e-7]
    study_settings = search(space={"optimiser.lr": rates}, pruning={"startup": 2, "warmup": 1})
    rows = table(run(home, study_settings, epochs=4))
    assert [row["state"] for row in rows] == ["complete", "complete", "pruned", "pruned"]
    assert [row["epochs"] for row in rows] == ["4", "4", "2", "2"]
    assert [(row["value"], bool(row["reached"])) for row in rows[2:]] == [("", True)] * 2


def test_a_combination_that_is_refused_is_a_trial_pruned_with_the_reason(home: Path) -> None:
    space = {"schedule": ["constant", "one_cycle"], "optimiser.name": ["adam", "adagrad"]}
    rows = table(run(home, tpe(space=space, trials=10, startup=10), epochs=1))
    refused = [row for row in rows if (row["schedule"], row["optimiser.name"]) == ("one_cycle", "adagrad")]
    assert refused
    assert all(row["state"] == "pruned" and "adagrad has none" in row["reason"] for row in refused)
    assert all(row["state"] == "complete" for row in rows if row not in refused)


def test_a_trial_that_diverges_fails_alone(home: Path) -> None:
    study_settings = search(space={"optimiser": [{"name": "sgd", "lr": 1e30}, {"name": "adam", "lr": 0.01}]})
    rows = table(run(home, study_settings))
    assert [row["state"] for row in rows] == ["failed", "complete"]
    assert "nan" in rows[0]["reason"]


def test_a_trial_that_runs_out_of_memory_fails_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = Step.update

    def limited(step: Step, *arguments: Any) -> Any:
        if step.batch_size > 2:
            step.micro_batches = step.batch_size
            step.halve("no memory")
        return update(step, *arguments)

    monkeypatch.setattr(Step, "update", limited)
    rows = table(run(home, search(space={"batch_size": [8, 2]})))
    assert [row["state"] for row in rows] == ["failed", "complete"]
    assert "one image does not fit (no memory)" in rows[0]["reason"]


def test_a_search_without_a_complete_trial_says_why(home: Path) -> None:
    with pytest.raises(RecipeError, match=r"trial 1 \(optimiser.lr 1e\+30\): diverged at epoch 1: loss"):
        run(home, search(space={"optimiser.lr": [1e30]}), optimiser={"name": "sgd", "lr": 0.1})


def test_a_device_that_is_missing_ends_the_search(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(TrainingError, match="cuda"):
        run(home, search(changes={"device": "cuda"}))


def test_words_and_names_are_escaped_on_the_page(home: Path) -> None:
    product = run(home, search(description="<b>bold</b> $1", space={"epochs": [1, 2]}))
    text = product.file("index.html").read_text()
    assert "&lt;b&gt;bold" in text
    assert "<b>bold" not in text


@pytest.mark.parametrize(
    ("value", "expected_text"),
    [
        (0.00312345, "0.00312"),
        ("adam", "adam"),
        (None, "none"),
        (True, "yes"),
        ({"name": "jaccard", "weight": 0.5}, "jaccard (weight 0.5)"),
        (["cross_entropy", {"name": "jaccard"}], "cross_entropy + jaccard"),
    ],
)
def test_choices_have_words(value: Any, expected_text: str) -> None:
    assert search_page.label(value) == expected_text


# Killed and gone on with

DRIVER = """
import json, os, signal, sys
from pathlib import Path
from tests.training import classroom
from tests.training.search import test_search
from landcover_orch.training import checkpoint
from landcover_orch.training.search import study as search_study

def main(home, kill, number):
    epochs = []
    def progress(line):
        epochs.append(line) if ", epoch " in line else None
        if len(epochs) == kill:
            os.kill(os.getpid(), number)
    with classroom.in_memory():
        recipe = classroom.experiment(epochs=3)
        search_study.run(classroom.published(Path(home)), test_search.LONG, recipe, Path(home), progress=progress)

def child(*arguments):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        main(*arguments)
        status = 0
    finally:
        os._exit(status)

print(json.dumps([child(*run) for run in json.loads(sys.argv[1])]))
"""

LONG = tpe(
    trials=5,
    seed=1,
    pruning={"startup": 1},
    repetitions={"seeds": [0, 1]},
    space={**MIXED, "optimiser.lr": {"low": 1e-6, "high": 0.1, "log": True}},
)
"""15 epochs: two trials run to their end, three are stopped after their first epoch."""


def _statuses(runs: list[list[Any]]) -> list[int]:
    """How searches end, one after another, each in a process: home, after how many new epochs killed, and how."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    driven = [sys.executable, "-c", DRIVER, json.dumps(runs)]
    done = subprocess.run(driven, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    statuses: list[int] = json.loads(done.stdout.splitlines()[-1])
    return statuses


@pytest.mark.slow
@pytest.mark.long
def test_killed_half_way_it_goes_on_and_ends_with_the_same_trials_and_recipe(tmp_path: Path) -> None:
    uninterrupted, cut = tmp_path / "whole", tmp_path / "cut"
    kill = int(signal.SIGKILL)
    runs = [[str(cut), 5, kill], [str(cut), 2, kill], [str(cut), 4, kill], [str(cut), 0, 0], [str(uninterrupted), 0, 0]]
    assert _statuses(runs) == [-kill] * 3 + [0, 0]
    products = [publish.current(home / classroom.NAME / "search", "tried") for home in (uninterrupted, cut)]
    tables = [table(product) for product in products]
    assert tables[0] == tables[1]
    assert {row["state"] for row in tables[0]} == {"complete", "pruned"}
    for name in ("best.yaml", "summary.json", "trials.png", "choices.png"):
        assert len({product.file(name).read_bytes() for product in products}) == 1, name
    assert set(products[0].files) == set(products[1].files)
    for home in (uninterrupted, cut):
        assert not list((home / classroom.NAME).rglob("checkpoint*"))


# MLflow and the command


@pytest.fixture
def prepared(home: Path, configs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder, content in (
        ("experiments", classroom.experiment(epochs=2).explicit_values()),
        ("searches", {"name": "tried", "experiment": "quick", "space": {"optimiser.lr": [0.01, 1e-6, 1e-7]}}),
    ):
        (configs / folder).mkdir(exist_ok=True)
        (configs / folder / f"{content['name']}.yaml").write_text(yaml.safe_dump(content))
    classroom.published(home)
    monkeypatch.setattr(command, "end_when_asked", lambda: None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return home


def _main(home: Path, name: str = "tried") -> int:
    with classroom.in_memory():
        return command.main(["--dataset", classroom.NAME, "--search", name, "--home", str(home)])


def test_what_is_wrong_is_a_sentence(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(prepared, "treid") == 1
    assert "did you mean 'tried'?" in capsys.readouterr().err


def test_each_trial_is_a_run_nested_in_the_searchs(
    prepared: Path, configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from landcover_orch.tracking import client

    path = configs / "searches" / "tried.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "pruning": {"startup": 1}}))
    assert _main(prepared) == 0
    printed = capsys.readouterr()
    assert "trial 1 of 3: optimiser.lr 0.01" in printed.err
    assert yaml.safe_load(printed.out.partition("\n")[2])["optimiser"]["lr"] == 0.01
    mlflow_client = client(prepared)
    runs = mlflow_client.search_runs([mlflow_client.get_experiment_by_name(classroom.NAME).experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    trials = {run.data.tags["landcover.experiment"]: run for run in runs if run is not parent}
    assert sorted(trials) == [f"tried.trial-{number}" for number in (1, 2, 3)]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials.values()} == {parent.info.run_id}
    assert [trials[name].info.status for name in sorted(trials)] == ["FINISHED", "KILLED", "KILLED"]
    first, summary = trials["tried.trial-1"], publish.current(prepared / classroom.NAME / "search", "tried")
    best = summary.json("summary.json")["best_value"]
    assert first.data.metrics["validation/value"] == best == parent.data.metrics["validation/best"]
    assert first.data.params["recipe.optimiser.lr"] == "0.01"
    assert {"trials.csv", "best.yaml"} <= {file.path for file in mlflow_client.list_artifacts(parent.info.run_id)}
    assert len(mlflow_client.get_metric_history(first.info.run_id, "validation/mean_iou")) == 2


def test_without_mlflow_the_search_runs_all_the_same(prepared: Path) -> None:
    (prepared / "mlflow.db").mkdir()
    assert _main(prepared) == 0
    assert publish.current(prepared / classroom.NAME / "search", "tried")
