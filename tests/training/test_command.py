"""The training command, at a terminal and as the child of a Dagster asset."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from landcover_orch.pages.facts import rounded
from landcover_orch.store import publish
from landcover_orch.training import __main__ as command
from tests.training import classroom


@pytest.fixture(autouse=True)
def _prepared(home: Path, configs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    recipe = classroom.experiment(epochs=1).model_dump(mode="json")
    (configs / "experiments" / "quick.yaml").write_text(yaml.safe_dump(recipe))
    classroom.published(home)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for name in ("end_when_asked", "end_with_parent"):
        monkeypatch.setattr(command, name, lambda *_: None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with classroom.in_memory():
        yield


def _main(home: Path, experiment: str = "quick", *more: str) -> int:
    return command.main(["--dataset", classroom.NAME, "--experiment", experiment, "--home", str(home), *more])


def test_at_a_terminal_it_prints_lines_the_product_and_the_version(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(home) == 0
    printed = capsys.readouterr()
    assert "epoch 1 of 1: loss" in printed.err
    folder = Path(printed.out.splitlines()[0])
    assert publish.load(folder, deep=True).json("summary.json")["epochs"] == 1
    assert f"registered as {classroom.NAME}, version 1" in printed.out


def test_what_is_wrong_is_a_sentence(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(home, "quikc") == 1
    assert "did you mean 'quick'?" in capsys.readouterr().err


def _auto(configs: Path, **changed: Any) -> None:
    recipe = classroom.experiment(
        **{"name": "auto", "epochs": 1, "optimiser": {"name": "adam", "lr": "auto"}, **changed}
    )
    plain = recipe.model_dump(mode="json")
    (configs / "experiments" / "auto.yaml").write_text(yaml.safe_dump(plain))


def test_find_lr_prints_a_rate_draws_the_test_and_trains_nothing(
    home: Path, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _auto(configs)
    picture = tmp_path / "new" / "test.png"
    assert _main(home, "auto", "--find-lr", str(picture)) == 0
    rate, shown = capsys.readouterr().out.split()
    assert 1e-5 < float(rate) < 1
    assert (Path(shown), picture.read_bytes()[:4]) == (picture, b"\x89PNG")
    assert not (home / classroom.NAME / "model").exists()


def test_find_lr_refuses_what_takes_no_steps(home: Path, configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (configs / "experiments" / "trees.yaml").write_text("{name: trees, model: random_forest}")
    assert _main(home, "trees", "--find-lr") == 1
    assert "random_forest, which takes no steps; expected a network" in capsys.readouterr().err


def test_without_mlflow_the_model_is_trained_all_the_same(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "mlflow.db").mkdir()
    assert _main(home) == 0
    assert "not registered: MLflow at sqlite:" in capsys.readouterr().err
    assert publish.current(home / classroom.NAME / "model", "quick")


def test_under_dagster_it_reports_log_metadata_and_data_version(
    home: Path, configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster_pipes import encode_param

    context, messages = tmp_path / "context.json", tmp_path / "messages.jsonl"
    key = f"{classroom.NAME}/model"
    facts = ("partition_key_range", "partition_time_window", "job_name")
    context.write_text(
        json.dumps(
            {
                **dict.fromkeys(facts),
                "asset_keys": [key],
                "code_version_by_asset_key": {key: None},
                "provenance_by_asset_key": {key: None},
                "partition_key": "auto",
                "run_id": "run-1",
                "retry_number": 0,
                "extras": {},
            }
        )
    )
    monkeypatch.setenv(command.UNDER_DAGSTER, encode_param({"path": str(context)}))
    monkeypatch.setenv("DAGSTER_PIPES_MESSAGES", encode_param({"path": str(messages)}))
    _auto(configs)
    assert _main(home, "auto") == 0
    messages_sent: list[dict[str, Any]] = [json.loads(line) for line in messages.read_text().splitlines()]
    lines = [message["params"]["message"] for message in messages_sent if message["method"] == "log"]
    assert any(line.startswith("epoch 1 of 1: loss") for line in lines)
    (done,) = [message["params"] for message in messages_sent if message["method"] == "report_asset_materialization"]
    product = publish.current(home / classroom.NAME / "model", "auto")
    assert done["data_version"] == product.fingerprint
    metadata = done["metadata"]
    assert metadata["validation mean_iou"]["raw_value"] == rounded(product.json("summary.json")["mean_iou"])
    assert metadata["MLflow run"]["type"] == "url"
    for picture in ("curves", "lr_finder"):
        link = f"/pages/{classroom.NAME}/model/{product.path.name}/{picture}.png"
        assert metadata[picture]["raw_value"] == f"![{picture}]({link})"
    lr_found = rounded(product.json("summary.json")["lr_found"])
    assert metadata["lr_found"] == {"raw_value": lr_found, "type": "__infer__"}
    assert metadata["path"]["raw_value"] == str(product.path)
