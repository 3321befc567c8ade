"""Recipes that repeat, in MLflow: nested runs, a version each, told again where MLflow was silent."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from landcover_orch import tracking
from landcover_orch.evaluation import registration
from landcover_orch.pages.facts import rounded
from landcover_orch.store import publish
from landcover_orch.store.publish import Product, Recipe, Stage
from landcover_orch.tracking.registry import product_of
from landcover_orch.training import __main__ as command
from landcover_orch.training import protocol
from tests.training import classroom

NAME = classroom.NAME
BOTH = ["quick.seed-1", "quick.seed-2"]


@pytest.fixture(autouse=True)
def _prepared(home: Path, configs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    recipe = classroom.experiment(epochs=1, protocol={"seeds": [1, 2]}).model_dump(mode="json")
    (configs / "experiments" / "quick.yaml").write_text(yaml.safe_dump(recipe))
    classroom.published(home)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with classroom.in_memory():
        yield


def _train(home: Path, experiment: str = "quick") -> Product:
    return command.train(NAME, experiment, home, command.Console())


def _runs(home: Path) -> dict[str, Any]:
    """Name of the recipe -> its run; there is one each."""
    client = tracking.client(home)
    runs = client.search_runs([client.get_experiment_by_name(NAME).experiment_id])
    by_name = {run.data.tags["landcover.experiment"]: run for run in runs}
    assert len(by_name) == len(runs)
    return by_name


def _require_nested(home: Path, product: Product) -> None:
    runs = _runs(home)
    assert set(runs) == {"quick", *BOTH}
    parent = runs["quick"]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert parent.data.tags.get("mlflow.parentRunId") is None
    assert parent.data.tags[tracking.FINGERPRINT] == product.fingerprint
    assert {runs[name].data.tags["mlflow.parentRunId"] for name in BOTH} == {parent.info.run_id}
    spread = product.json("summary.json")["spread"]["mean_iou"]
    assert (
        parent.data.metrics["validation/mean/mean_iou"],
        parent.data.metrics["validation/sd/mean_iou"],
    ) == pytest.approx((spread["mean"], spread["sd"]))
    files = {file.path for file in tracking.client(home).list_artifacts(parent.info.run_id)}
    assert {"repetitions.json", "curves.png"} <= files


def test_one_run_of_all_with_the_repetitions_below_it_however_often_it_is_asked_for(home: Path) -> None:
    product = _train(home)
    _require_nested(home, product)
    versions = tracking.client(home).search_model_versions(f"name = '{NAME}'")
    assert sorted(version.tags["landcover.experiment"] for version in versions) == BOTH
    _train(home)
    _require_nested(home, product)
    assert len(tracking.client(home).search_model_versions(f"name = '{NAME}'")) == 2


def test_the_chosen_one_is_challenger_whichever_is_registered_last(home: Path) -> None:
    product = _train(home)
    name, model = protocol.chosen_of(product, home)
    for order in (BOTH, BOTH[::-1]):
        (home / "mlflow.db").unlink()
        models = {each: protocol.models_of(product, home)[each] for each in order}
        tracking.register_repetitions(product, models, "quick", {}, classroom.manifest(), home)
        client = tracking.client(home)
        challenger = client.get_model_version_by_alias(NAME, "challenger").tags
        assert (challenger["landcover.experiment"], challenger[tracking.FINGERPRINT]) == (name, model.fingerprint)


def test_a_version_of_a_repetition_leads_to_its_product(home: Path) -> None:
    models = protocol.models_of(_train(home), home)
    products = {number: product_of(f"models:/{NAME}/{number}", home) for number in (1, 2)}
    assert {product.fingerprint for product in products.values()} == {model.fingerprint for model in models.values()}


def test_where_mlflow_was_down_the_next_command_tells_it_all(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "mlflow.db").mkdir()
    product = _train(home)
    assert "not registered: MLflow at sqlite:" in capsys.readouterr().err
    (home / "mlflow.db").rmdir()
    assert _train(home).path == product.path
    _require_nested(home, product)


@pytest.mark.parametrize("version", [None, "2"])
def test_what_mlflow_has_lost_is_made_again_from_disk_as_it_was(home: Path, version: str | None) -> None:
    """The whole database, or the version of one repetition."""
    product = _train(home)
    if version is None:
        (home / "mlflow.db").unlink()
    else:
        tracking.client(home).delete_model_version(NAME, version)
    dataset = classroom.manifest().dataset.model_copy(update={"experiments": ("quick",), "baselines": ()})
    assert registration.mend(dataset, home) == [f"MLflow had no version of {product.path.name}: registered from disk"]
    _require_nested(home, product)
    versions = tracking.client(home).search_model_versions(f"name = '{NAME}'")
    assert sorted(version.tags["landcover.experiment"] for version in versions) == BOTH
    name, _ = protocol.chosen_of(product, home)
    challenger = tracking.client(home).get_model_version_by_alias(NAME, "challenger")
    assert challenger.tags["landcover.experiment"] == name
    assert registration.mend(dataset, home) == []


def test_a_repetition_trained_by_itself_joins_the_others_later(home: Path) -> None:
    _train(home, "quick.seed-2")
    assert _runs(home)["quick.seed-2"].data.tags.get("mlflow.parentRunId") is None
    _require_nested(home, _train(home))


def test_a_report_is_with_the_chosen_one_and_with_the_run_of_all(home: Path) -> None:
    _, model = protocol.chosen_of(_train(home), home)
    version = tracking.register(model, classroom.manifest(), home)

    def build(stage: Stage) -> None:
        stage.write_json("summary.json", {"mean_iou": 0.5})

    report = publish.publish(home / NAME / "report", "quick", Recipe("report", 1, {}, {}), build)
    for _ in range(2):
        tracking.log_report(version.run_id, report, home)
    runs = _runs(home)
    other = next(name for name in BOTH if runs[name].info.run_id != version.run_id)
    metrics = {name: run.data.metrics.get("test/mean_iou") for name, run in runs.items()}
    assert metrics == {**dict.fromkeys(runs, 0.5), other: None}


def test_the_run_of_all_says_mean_and_spread_of_its_report(home: Path) -> None:
    product = _train(home)
    chosen, model = protocol.chosen_of(product, home)
    version = tracking.register(model, classroom.manifest(), home)
    metrics = {"pixels": 10, "mean_iou": 0.5, "accuracy": 0.75}
    content = {
        "dataset": NAME,
        "experiment": "quick",
        "chosen": chosen,
        "models": {name: each.fingerprint for name, each in protocol.models_of(product, home).items()},
        "metrics": metrics,
        "repetitions": [{"name": name, "metrics": metrics} for name in BOTH],
        "spread": {name: {"mean": value, "sd": 0.125, "n": 2} for name, value in metrics.items()},
        "scored_on": "test split",
        "verdict": "quick: mean IoU 0.500.",
        "test_digest": "t",
    }

    def build(stage: Stage) -> None:
        stage.write_json("report.json", content)
        stage.write_json("summary.json", metrics)

    report = publish.publish(home / NAME / "report", "quick", Recipe("report", 1, {}, {}), build)
    tracking.log_report(version.run_id, report, home)
    note = _runs(home)["quick"].data.tags["mlflow.note.content"]
    assert note.startswith(
        "quick: mean IoU 0.500.\n\nExperiment **quick**, 2 repetitions, each a run below this one and a version;"
    )
    assert f"validation chose {chosen}." in note
    assert "mean IoU 0.500 ± 0.125, accuracy 0.750 ± 0.125" in note
    assert "- train: 10 pixels of only" in note


def test_a_killed_command_goes_on_in_its_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lights(self: command.Console, line: str) -> None:
        if line.startswith("quick.seed-2: repetition 2"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command.Console, "line", lights)
        with pytest.raises(KeyboardInterrupt):
            _train(home)
    assert {name: run.info.status for name, run in _runs(home).items()} == {"quick": "KILLED", BOTH[0]: "FINISHED"}
    assert publish.current(home / NAME / "model", BOTH[0])
    _require_nested(home, _train(home))


def test_dagster_is_told_mean_spread_and_a_row_a_repetition(home: Path) -> None:
    materialised: dict[str, Any] = {}

    class Context:
        """What the command says to Dagster."""

        run_id, asset_key = "run-1", f"{NAME}/model"

        class log:  # noqa: N801 - as Dagster names it
            """Nobody listens."""

            @staticmethod
            def info(line: str) -> None:
                """One line."""

        @staticmethod
        def report_asset_materialization(metadata: dict[str, Any], data_version: str) -> None:
            """The end."""
            materialised.update(metadata, data_version=data_version)

    product = command.train(NAME, "quick", home, command.Pipes(Context()))
    spread = product.json("summary.json")["spread"]
    assert materialised["data_version"] == product.fingerprint
    assert materialised["mean validation mean_iou"] == rounded(spread["mean_iou"]["mean"])
    assert materialised["curves"]["raw_value"].startswith(f"![curves](/pages/{NAME}/model/")
    rows = materialised["repetitions"]["raw_value"]["records"]
    assert [(row["name"], row["seed"], row["fold"], row["version"]) for row in rows] == [
        (BOTH[0], 1, "", "1"),
        (BOTH[1], 2, "", "2"),
    ]
    metrics = {row["validation metric"]: row for row in materialised["spread"]["raw_value"]["records"]}
    assert list(metrics["accuracy"].items())[1:4] == [(key, spread["accuracy"][key]) for key in ("mean", "sd", "n")]
    assert _runs(home)["quick"].info.run_id in materialised["MLflow run"]["raw_value"]
