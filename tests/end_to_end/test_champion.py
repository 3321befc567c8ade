"""The whole lineage of the tiny dataset: registry, aliases, links both ways, and a champion on other test tiles."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.materialise import materialise
from landcover_orch import config, tracking
from landcover_orch.evaluation import champion
from landcover_orch.evaluation.decisions import load_decisions
from landcover_orch.patches import manifest
from landcover_orch.store import publish
from tests import tiny

pytestmark = pytest.mark.slow


def test_a_champion_is_elected_and_compared_anew_where_test_tiles_change(
    configs: Path, home: Path, tmp_path: Path
) -> None:
    dataset = tiny.write(configs, tmp_path / "raw", tiles=4)
    with dg.DagsterInstance.ephemeral() as dagster:
        assert materialise(dagster, dataset).runs == 7
        _registered_and_linked(dagster, home)
        first = champion.load(tiny.NAME, home)
        _move_the_test_tile(configs)
        materialise(dagster, config.load_dataset(tiny.NAME))
    second, described = champion.load(tiny.NAME, home), _manifest(home)
    assert first.test_digest != second.test_digest == described.test_digest
    again = champion.present_score(first, [], described, home).model
    assert again.fingerprint == first.fingerprint
    reason = load_decisions(tiny.NAME, home)[-1].reason
    assert second.mean_iou == (again.mean_iou if "stays" in reason else _reported(home))
    assert f"{tiny.EXPERIMENT} " in reason


def _registered_and_linked(dagster: dg.DagsterInstance, home: Path) -> None:
    version = tracking.champion(tiny.NAME, home)
    assert version is not None
    run = tracking.client(home).get_run(version.run_id)
    event = dagster.get_latest_materialization_event(dg.AssetKey([tiny.NAME, "model"]))
    assert event is not None
    assert event.asset_materialization is not None
    assert run.data.tags["dagster.run_id"] == event.run_id
    assert f"/runs/{event.run_id})" in run.data.tags["mlflow.note.content"]
    assert version.run_id in str(event.asset_materialization.metadata["MLflow run"].value)
    assert run.data.metrics["test/mean_iou"] == pytest.approx(_reported(home))


def _reported(home: Path) -> float:
    return float(publish.current(home / tiny.NAME / "report", tiny.EXPERIMENT).json("summary.json")["mean_iou"])


def _manifest(home: Path) -> manifest.DatasetManifest:
    return manifest.load(publish.current(home / tiny.NAME / "dataset_manifest", "dataset").path)


def _move_the_test_tile(configs: Path) -> None:
    path = configs / "datasets" / "tiny.yaml"
    described = yaml.safe_load(path.read_text())
    described["splits"]["test"]["tiles"] = ["t0"]
    path.write_text(yaml.safe_dump(described))
