"""Runs, registry and aliases in MLflow; a training that MLflow cannot stop."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landcover_orch import tracking
from landcover_orch.errors import TrackingError
from landcover_orch.store.publish import Product, Recipe, Stage, publish
from landcover_orch.tracking import Start, Tracker, runs
from landcover_orch.training import product as training
from tests.training import classroom

ROOT = Path(__file__).resolve().parents[2]
NAME = classroom.NAME


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with classroom.in_memory():
        yield


@pytest.fixture
def closed_port() -> str:
    """An address on loopback where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def _train(home: Path, **changed: Any) -> Product:
    def tracker(start: Start) -> Tracker:
        return Tracker(start, home, {"dagster.run_id": "run-1", "dagster.asset_key": "classroom/model"})

    product: Product = training.train(classroom.published(home), classroom.experiment(**changed), home, tracker=tracker)
    return product


def _runs(home: Path) -> list[Any]:
    client = tracking.client(home)
    experiment = client.get_experiment_by_name(NAME)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def _epochs(home: Path, run_id: str, metric: str = "validation/mean_iou") -> list[int]:
    return sorted(point.step for point in tracking.client(home).get_metric_history(run_id, metric))


def test_a_run_holds_parameters_metrics_data_and_tags(home: Path) -> None:
    product = _train(home)
    (run,) = _runs(home)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == f"quick: unet, cross_entropy, adam, constant ({product.fingerprint[:8]})"
    assert run.data.params["recipe.model.width"] == "8"
    assert run.data.params["recipe.loss.0.name"] == "cross_entropy"
    assert run.data.params["recipe.augmentation.flips"] == "true"
    assert run.data.params["dataset.patches.size"] == "16"
    assert run.data.params["dataset.digest"] == classroom.manifest().digest
    assert {name.partition(".")[0] for name in run.data.params} == {"recipe", "dataset"}
    assert run.data.tags["dagster.run_id"] == "run-1"
    assert run.data.tags[tracking.FINGERPRINT] == product.fingerprint
    assert _epochs(home, run.info.run_id) == [1, 2, 3]
    assert {"train/loss", "train/lr", "train/seconds", "train/throughput/read", "validation/loss"} <= set(
        run.data.metrics
    )
    assert {name.partition("/")[0] for name in run.data.metrics} == {"train", "validation"}
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.digest == classroom.manifest().digest
    files = {file.path for file in tracking.client(home).list_artifacts(run.info.run_id)}
    assert {"configuration.json", "curves.png", "history.csv", "throughput.json", "contract.json"} <= files
    assert (home / "mlartifacts").is_dir()


def test_an_interrupted_training_goes_on_in_its_run(home: Path) -> None:
    def lights(line: str) -> None:
        if line.startswith("epoch 2 "):
            raise KeyboardInterrupt

    def tracker(start: Start) -> Tracker:
        return Tracker(start, home)

    with pytest.raises(KeyboardInterrupt):
        training.train(classroom.published(home), classroom.experiment(), home, tracker=tracker, progress=lights)
    assert [run.info.status for run in _runs(home)] == ["KILLED"]
    _train(home)
    (run,) = _runs(home)
    assert run.info.status == "FINISHED"
    assert _epochs(home, run.info.run_id) == [1, 2, 3]


def test_training_ends_without_mlflow_and_registering_tells_it_all(
    home: Path, closed_port: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed_port)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    product = _train(home)
    assert "MLflow does not answer" in caplog.text
    assert "tracking.jsonl" not in product.files
    with pytest.raises(TrackingError, match="looking up a model failed"):
        tracking.register(product, classroom.manifest(), home)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    version = tracking.register(product, classroom.manifest(), home)
    assert _epochs(home, version.run_id) == [1, 2, 3]
    assert tracking.client(home).get_run(version.run_id).info.status == "FINISHED"


def _points(home: Path, run_id: str) -> dict[str, list[int]]:
    """Steps of every metric of a run, each as often as it was logged."""
    names = tracking.client(home).get_run(run_id).data.metrics
    return {name: _epochs(home, run_id, name) for name in names}


def _all_once(home: Path, run_id: str, epochs: list[int]) -> bool:
    return all(steps in (epochs, [0]) for steps in _points(home, run_id).values())


def _interruptible(
    home: Path, monkeypatch: pytest.MonkeyPatch, address: str, *, down_from: str, up_from: str = "never"
) -> Product:
    """A training whose MLflow stops answering and answers again as lines with these beginnings are told."""

    def line(text: str) -> None:
        if text.startswith(down_from):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        if text.startswith(up_from):
            monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    recipe, described = classroom.experiment(), classroom.published(home)
    product: Product = training.train(
        described, recipe, home, tracker=lambda start: Tracker(start, home), progress=line
    )
    return product


def test_down_at_the_start_and_back_at_the_end_it_is_all_told_once(
    home: Path, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed_port)
    product = _interruptible(home, monkeypatch, closed_port, down_from="training on", up_from="epoch 3 ")
    (run,) = _runs(home)
    assert run.info.status == "FINISHED"
    assert run.data.tags[tracking.FINGERPRINT] == product.fingerprint
    assert _epochs(home, run.info.run_id) == [1, 2, 3]
    assert _all_once(home, run.info.run_id, [1, 2, 3])


def test_dying_midway_and_never_back_the_next_materialisation_tells_the_rest_once(
    home: Path, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = _interruptible(home, monkeypatch, closed_port, down_from="epoch 1 ")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (run,) = _runs(home)
    assert (run.info.status, _epochs(home, run.info.run_id)) == ("RUNNING", [1])
    for _ in range(2):
        version = tracking.register(product, classroom.manifest(), home)
        assert version.run_id == run.info.run_id
    (run,) = _runs(home)
    assert run.info.status == "FINISHED"
    assert _epochs(home, run.info.run_id) == [1, 2, 3]
    assert _all_once(home, run.info.run_id, [1, 2, 3])


def test_dying_midway_and_back_before_the_end_nothing_is_lost_or_doubled(
    home: Path, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _interruptible(home, monkeypatch, closed_port, down_from="epoch 1 ", up_from="epoch 2 ")
    (run,) = _runs(home)
    assert run.info.status == "FINISHED"
    assert _all_once(home, run.info.run_id, [1, 2, 3])
    assert _epochs(home, run.info.run_id) == [1, 2, 3]


def test_an_epoch_that_a_kill_kept_from_the_log_is_told_by_the_next_start(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    log_epoch = Tracker.epoch
    monkeypatch.setattr(Tracker, "epoch", dies)
    with pytest.raises(KeyboardInterrupt):
        _train(home)
    monkeypatch.setattr(Tracker, "epoch", log_epoch)
    _train(home)
    (run,) = _runs(home)
    assert _all_once(home, run.info.run_id, [1, 2, 3])
    assert _epochs(home, run.info.run_id) == [1, 2, 3]


def test_a_run_logged_afterwards_has_the_same_metrics(home: Path) -> None:
    product = _train(home)
    (run,) = _runs(home)
    client = tracking.client(home)
    client.delete_run(run.info.run_id)
    version = tracking.register(product, classroom.manifest(), home)
    later = client.get_run(version.run_id)
    assert later.info.run_id != run.info.run_id
    assert later.data.metrics == run.data.metrics
    for name in run.data.metrics:
        histories = [client.get_metric_history(each.info.run_id, name) for each in (run, later)]
        first, second = ([(point.step, point.value) for point in history] for history in histories)
        assert first == second, name
    assert later.data.params == run.data.params
    assert later.info.run_name == run.info.run_name
    origin = {"mlflow.user", "mlflow.source.git.commit"}
    assert origin <= run.data.tags.keys()
    assert not origin & later.data.tags.keys()  # those of the process that logs are not those of the training


def test_an_experiment_s_runs_have_different_names(home: Path) -> None:
    for seed in (0, 1):
        _train(home, epochs=1, seed=seed)
    assert len({run.info.run_name for run in _runs(home)}) == 2


def test_registering_leaves_mlflow_s_settings_as_they_are(home: Path) -> None:
    tracking.register(_train(home, epochs=1), classroom.manifest(), home)
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_found_rate_and_its_picture_are_in_the_run(home: Path) -> None:
    _train(home, epochs=1, optimiser={"name": "adam", "lr": "auto"})
    (run,) = _runs(home)
    files = {file.path for file in tracking.client(home).list_artifacts(run.info.run_id)}
    assert {"lr_finder.png", "lr_finder.csv"} <= files
    assert run.data.params["recipe.optimiser.lr"] == "auto"


def test_the_journal_is_told_once_mlflow_answers(
    home: Path, tmp_path: Path, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_recipe = training.recipe(classroom.manifest(), classroom.experiment())
    start = Start.of(classroom.manifest(), "quick", build_recipe, tmp_path / "journal.jsonl")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed_port)
    with Tracker(start, home) as run_log:
        run_log.epoch(1, {"validation/mean_iou": 0.25})
        run_log.epoch(2, {"validation/mean_iou": 0.5})
    assert [json.loads(line)["step"] for line in start.journal.read_text().splitlines()] == [1, 2]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with Tracker(start, home) as run_log:
        run_log.epoch(3, {"validation/mean_iou": 0.75})
        assert run_log.finish(tmp_path, {})
    assert start.journal.read_text() == ""
    (run,) = _runs(home)
    assert _epochs(home, run.info.run_id) == [1, 2, 3]


def test_a_journal_cut_by_a_kill_loses_its_last_line_alone(home: Path, tmp_path: Path) -> None:
    build_recipe = training.recipe(classroom.manifest(), classroom.experiment())
    start = Start.of(classroom.manifest(), "quick", build_recipe, tmp_path / "journal.jsonl")
    start.journal.write_text('{"metrics":{"loss":1.0},"step":1,"time":1}\n{"metrics":{"lo')
    with Tracker(start, home):
        pass
    assert _epochs(home, _runs(home)[0].info.run_id, "loss") == [1]


def test_registering_is_idempotent_and_gives_the_alias_challenger(home: Path) -> None:
    product = _train(home)
    version = tracking.register(product, classroom.manifest(), home)
    assert tracking.register(product, classroom.manifest(), home) == version
    assert tracking.find_version(NAME, product, home) == version
    assert (version.name, version.version) == (NAME, "1")
    assert version.url.endswith(f"/#/models/{NAME}/versions/1?workflowType=machine_learning")
    assert version.run_url.endswith(f"/runs/{version.run_id}?workflowType=machine_learning")
    assert tracking.client(home).get_model_version_by_alias(NAME, "challenger").version == 1
    run = tracking.client(home).get_run(version.run_id)
    assert {"landcover.dataset", "landcover.model", "dagster.run_id", "mlflow.source.git.commit"} <= version.tags.keys()
    assert version.tags.items() <= run.data.tags.items()
    stored = [path.suffix for path in (home / "mlartifacts").rglob("*") if path.is_file()]
    assert not {".pkl", ".pickle", ".pt", ".pth", ".ckpt"} & set(stored)


def test_the_interfaces_address_can_be_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _train(home)
    monkeypatch.setenv("LANDCOVER_MLFLOW_UI", "https://mlflow.example/")
    (run,) = _runs(home)
    assert tracking.run_url(run.info.run_id, home).startswith("https://mlflow.example/#/experiments/")


def test_promotion_moves_the_alias_and_says_after_whom(home: Path) -> None:
    assert tracking.champion(NAME, home) is None
    first, second = _train(home), _train(home, seed=1)
    for product in (first, second):
        tracking.register(product, classroom.manifest(), home)
    tracking.promote(NAME, first, {"mean_iou": 0.5, "test_digest": "t"}, "dagster-1", home)
    promoted = tracking.promote(NAME, second, {"mean_iou": 0.6, "test_digest": "t"}, "dagster-2", home)
    assert promoted == tracking.champion(NAME, home)
    assert promoted.version == "2"
    expected = {
        "landcover.champion.previous": "1",
        "landcover.champion.run": "dagster-2",
        "landcover.champion.mean_iou": "0.6",
        "landcover.champion.test_digest": "t",
    }
    assert expected.items() <= promoted.tags.items()
    assert "landcover.champion.at" in promoted.tags
    again = tracking.promote(NAME, second, {"mean_iou": 0.6}, "dagster-3", home)
    assert again.tags["landcover.champion.run"] == "dagster-2"


def test_a_model_that_is_not_registered_is_by_its_promotion_while_its_manifest_is_there(home: Path) -> None:
    product = _train(home)
    version = tracking.promote(NAME, product, {}, "run-1", home)
    assert version.model == product.path.name
    tracking.client(home).delete_model_version(NAME, version.version)
    shutil.rmtree(home / NAME / "dataset_manifest")
    with pytest.raises(TrackingError, match=r"no version of quick-.*landcover promote classroom VERSION"):
        tracking.promote(NAME, product, {}, "run-1", home)


def test_a_report_is_logged_once(home: Path) -> None:
    version = tracking.register(_train(home), classroom.manifest(), home)

    def build(stage: Stage) -> None:
        stage.write_json("summary.json", {"mean_iou": 0.5, "iou dark": 0.25, "iou none": None, "name": "x"})
        (stage.path / "report.html").write_text("<p>report")

    report = publish(home / NAME / "report", "quick", Recipe("report", 1, {}, {}), build)
    for _ in range(2):
        tracking.log_report(version.run_id, report, home)
    metrics = tracking.client(home).get_run(version.run_id).data.metrics
    assert (metrics["test/mean_iou"], metrics["test/iou/dark"]) == (0.5, 0.25)
    assert "test/iou/none" not in metrics
    assert _epochs(home, version.run_id, "test/mean_iou") == [0]
    assert "report/report.html" in {
        file.path for file in tracking.client(home).list_artifacts(version.run_id, "report")
    }


@pytest.mark.slow
def test_a_fresh_process_predicts_with_the_champion(home: Path, tmp_path: Path) -> None:
    product = _train(home, epochs=6)
    tracking.register(product, classroom.manifest(), home)
    tracking.promote(NAME, product, {}, "r", home)
    seen = classroom.patches(4, seed=2)
    np.save(tmp_path / "image.npy", seen.image)
    script = f"""
import sys
import numpy as np, mlflow
shares = mlflow.pyfunc.load_model("models:/{NAME}@champion").predict(np.load("image.npy"))
assert "dagster" not in sys.modules
np.save("shares.npy", shares)
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DAGSTER", "LANDCOVER", "PYTHONPATH"))}
    environment |= {"MLFLOW_TRACKING_URI": tracking.address(home), "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shares = np.load(tmp_path / "shares.npy")
    assert shares.shape == (4, 3, 16, 16)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert (shares.argmax(1) == seen.label)[seen.label != 255].mean() > 0.8


@pytest.mark.slow
def test_processes_that_meet_a_fresh_database_all_get_it(home: Path) -> None:
    script = f"""
from pathlib import Path
from landcover_orch import tracking
print(len(tracking.client(Path({str(home)!r})).search_experiments()))
"""
    children = [
        subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    answers = [child.communicate()[0].strip() for child in children]
    assert answers == [b"1", b"1", b"1"]


def test_long_and_nested_parameters_become_flat_and_short() -> None:
    flat = runs.flattened({"a": {"b": [1, 2], "c": "x" * 7000}, "d (e)": None})
    assert flat == {"a.b": "[1, 2]", "a.c": "x" * 6000, "d _e_": "null"}
    assert runs.flattened({"loss": [{"name": "dice", "weight": 1.0}, {"name": "focal"}]}) == {
        "loss.0.name": "dice",
        "loss.0.weight": "1.0",
        "loss.1.name": "focal",
    }
