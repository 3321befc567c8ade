"""What Dagster loads: light, complete, described."""

from __future__ import annotations

import subprocess
import sys

import dagster as dg
import pytest

from assets import jobs
from assets.definitions import defs
from landcover_orch import config

HEAVY = ("torch", "mlflow", "dask", "rasterio", "geopandas", "lightning", "zarr", "tensorstore", "matplotlib", "optuna")
DATASETS = [config.load_dataset(name) for name in config.dataset_names()]
OPTIONAL = ("label_review", "label_changes")
ASSETS = (*(asset for asset in jobs.EVERYTHING if asset not in OPTIONAL), "orthophoto", "labels", "experiment")


def test_loading_imports_nothing_heavy() -> None:
    code = f"import sys, assets.definitions; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_definitions_are_loadable() -> None:
    dg.Definitions.validate_loadable(defs)


def test_every_dataset_has_the_whole_lineage() -> None:
    keys = {tuple(key.path) for key in defs.resolve_asset_graph().get_all_asset_keys()}
    searched = {(dataset.name, "search") for dataset in DATASETS if dataset.searches}
    reviewed = {(dataset.name, "label_review") for dataset in DATASETS if dataset.label_review}
    outdated = {(dataset.name, "label_changes") for dataset in DATASETS if dataset.outdated}
    assert ("demo", "search") in searched
    assert ("demo-label-review", "label_review") in reviewed
    assert ("demo-label-changes", "label_changes") in outdated
    own = searched | reviewed | outdated
    assert keys == own | {(dataset, asset) for dataset in config.dataset_names() for asset in ASSETS}


def test_searches_run_when_asked_to_alone() -> None:
    assert "search" not in jobs.EVERYTHING
    graph = defs.resolve_asset_graph()
    assert graph.get(dg.AssetKey(["demo", "search"])).automation_condition is None


def test_every_asset_is_described_owned_and_versioned() -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        assert node.is_external or node.code_version, key


def test_tile_assets_share_one_backfill_policy() -> None:
    graph = defs.resolve_asset_graph()
    tiled = [graph.get(key) for key in graph.materializable_asset_keys if key.path[-1] in jobs.STAGES[0]]
    assert len(tiled) == len(jobs.STAGES[0]) * len(config.dataset_names())
    policies = {node.backfill_policy for node in tiled}
    assert len(policies) == 1
    policy = policies.pop()
    assert policy is not None
    assert -(-100 // policy.max_partitions_per_run) <= 4


@pytest.mark.parametrize("name", ["prepare", "train", "predict_and_report", "everything"])
def test_jobs_are_there(name: str) -> None:
    assert defs.resolve_job_def(f"demo_{name}").name == f"demo_{name}"


def test_automation_is_off_until_switched_on() -> None:
    repository = defs.get_repository_def()
    assert repository.schedule_defs
    assert all(s.default_status == dg.DefaultScheduleStatus.STOPPED for s in repository.schedule_defs)
    assert all(s.default_status == dg.DefaultSensorStatus.STOPPED for s in repository.sensor_defs)
