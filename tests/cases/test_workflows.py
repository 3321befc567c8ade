"""Workflows of the cases' README that no case writes: what people do to a project that was materialised once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pytest
import rasterio

from assets import definitions, launcher
from landcover_orch import config, tracking
from landcover_orch.evaluation.decisions import load_decisions
from landcover_orch.models.contract import load_contract
from landcover_orch.pages.facts import name_scores, rounded
from landcover_orch.store import products
from landcover_orch.store.publish import MANIFEST, Product
from landcover_orch.tracking.server import client
from tests.cases import lineage
from tests.cases.case import MAKE, NAME, REPOSITORY, Case, case_names
from tests.cases.compare import CaseRun
from tests.cases.lineage import LAST, Attempt
from tests.cases.runner import PROJECT, Runner
from tests.in_process import train

pytestmark = pytest.mark.skipif(PROJECT not in case_names(), reason=f"no case {PROJECT}: {MAKE} is not there")

TIMES = "throughput.json"
"""The file of a model that holds seconds: of no two trainings the same."""


@pytest.fixture
def project(cases: dict[str, Case], scratch: Path) -> Iterator[CaseRun]:
    """The case `project`, materialised whole."""
    with Runner(scratch / LAST, cases[PROJECT], LAST).opened_project(cases[PROJECT]) as run:
        yield run


def materialised(run: CaseRun, **settings: Any) -> Attempt:
    """What `landcover materialise` says, which ends well, and leaves nothing to be done."""
    attempt = lineage.guarded(lambda: lineage.run(run.dagster, **settings))
    assert attempt.failed is None, attempt.failed
    assert lineage.stale(run.dagster) == set()
    return attempt


def published(run: CaseRun) -> dict[str, tuple[str, int]]:
    """Every file of every product below the dataset's folder: SHA-256 and time of its last change."""
    index = run.products / products.PAGE  # is no product: made anew, with the time
    paths = [path for path in run.products.rglob("*") if path.is_file() and path != index]
    names = {path.relative_to(run.products): path for path in paths}
    return {
        name.as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for name, path in names.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def links(run: CaseRun) -> dict[str, str]:
    """Which product each name of each asset points to."""
    paths = [path for path in run.products.rglob("*") if path.is_symlink()]
    return {path.relative_to(run.products).as_posix(): path.readlink().name for path in paths}


def current(asset: str, name: str) -> Product:
    """The current product of an asset."""
    return products.current(config.home(), NAME, asset, name)


def test_a_product_that_is_gone_is_built_again_and_nothing_else(project: CaseRun) -> None:
    for asset, name in (("ground_truth", "a"), ("patches", "a"), ("model", "small")):
        product, before, pointing = current(asset, name), published(project), links(project)
        runs = lineage.run_ids(project.dagster)
        shutil.rmtree(product.path)
        materialised(project)
        after, folder = published(project), f"{asset}/{product.path.name}/"
        assert {path: entry for path, entry in after.items() if not path.startswith(folder)} == {
            path: entry for path, entry in before.items() if not path.startswith(folder)
        }, f"made of {asset} {name}, which came out the same, and built again"
        files = {path.removeprefix(folder) for path in before if path.startswith(folder)}
        assert files == {path.removeprefix(folder) for path in after if path.startswith(folder)}
        timed = {TIMES, MANIFEST} if TIMES in files else set()
        digests = {(before[folder + path][0], after[folder + path][0]) for path in files - timed}
        assert all(old == new for old, new in digests), f"{asset} {name}: other bytes"
        rebuilt = current(asset, name)
        assert rebuilt.recipe == product.recipe
        assert {path: rebuilt.files[path] for path in {*rebuilt.files} - timed} == {
            path: product.files[path] for path in {*product.files} - timed
        }
        assert links(project) == pointing
        assert f"{asset} {name}" in lineage.materialised(project.dagster, runs), "Dagster is not told"


def test_a_tile_that_is_taken_away_is_trained_on_no_more(project: CaseRun) -> None:
    before = lineage.training_digest()
    for name in ("d.tif", "d.gpkg"):
        (project.folder / "raw" / name).unlink()
    materialised(project)
    manifest = current("dataset_manifest", "dataset").json("dataset.json")
    assert [tile["name"] for tile in manifest["tiles"]] == ["a", "b", "c"]
    digest = lineage.training_digest()
    assert digest != before
    for experiment in ("small", "second"):
        model = current("model", experiment)
        assert model.recipe.inputs["manifest"] == load_contract(model.path).data_digest == digest
        assert current("report", experiment).json("report.json")["data_digest"] == digest
    assert sorted(project.dagster.get_dynamic_partitions(f"{NAME}_tiles")) == ["a", "b", "c"]
    before_runs = lineage.run_ids(project.dagster)
    materialised(project)
    assert lineage.run_ids(project.dagster) == before_runs, "the next run is up to date"


def champion_alias() -> Any:
    """The version that bears the alias `champion`."""
    version = tracking.champion(NAME, config.home())
    assert version is not None
    return version


def require_agreement(run: CaseRun) -> str:
    """The champion's experiment: champion.json, the alias, the last decision and all maps are about one model."""
    elected = current("champion", "champion").json("champion.json")
    assert champion_alias().tags[tracking.FINGERPRINT] == elected["fingerprint"]
    assert load_decisions(NAME, config.home())[-1].champion.fingerprint == elected["fingerprint"]
    maps = {tile: current("land_cover_map", tile).recipe.inputs["model"] for tile in "abcd"}
    assert maps == dict.fromkeys("abcd", elected["fingerprint"])
    return str(elected["experiment"])


def test_an_alias_that_a_person_moved_is_followed_and_a_later_rule_says_why(project: CaseRun) -> None:
    assert require_agreement(project) == "small"
    registry = client(config.home())
    chosen = next(
        version
        for version in registry.search_model_versions(f"name = '{NAME}'")
        if version.tags[tracking.EXPERIMENT] == "second"
    )
    registry.set_registered_model_alias(NAME, "champion", chosen.version)
    past = load_decisions(NAME, config.home())
    attempt = materialised(project)
    told = f"the alias `champion` was moved to version {chosen.version} by hand"
    assert any(told in line for line in attempt.lines), attempt.lines
    assert require_agreement(project) == "second"
    by_hand = [decision for decision in load_decisions(NAME, config.home())[len(past) :] if decision.by == "person"]
    assert [decision.champion.experiment for decision in by_hand] == ["second"]
    assert by_hand[0].reason
    assert by_hand[0].previous == past[-1].champion.fingerprint
    assert materialised(project).lines == (), "the alias is moved back, or followed twice"
    assert require_agreement(project) == "second"

    with rasterio.open(project.folder / "raw" / "d.tif", "r+") as file:
        file.write(file.read() + 1)
    past = load_decisions(NAME, config.home())
    materialised(project)
    elected = require_agreement(project)
    (decision,) = load_decisions(NAME, config.home())[len(past) :]
    assert (decision.by, decision.champion.experiment) == ("rule", elected)
    assert decision.previous == past[-1].champion.fingerprint
    assert {elected, past[-1].champion.experiment} <= {*re.findall(r"\w+", decision.reason)}
    assert current("champion", "champion").json("summary.json")["reason"] == decision.reason


@contextlib.contextmanager
def reported_by(looks: Path | None) -> Iterator[None]:
    """Trainings run here, and a process stands in for theirs: it reports them in half lines, or not at all.

    Args:
        looks: file that gets a byte at each look of the reader; None: the process ends without a message.
    """
    started = launcher.run

    class Looks(threading.Event):
        """The event at which the reader waits between its looks."""

        def wait(self, timeout: float | None = None) -> bool:
            """Counts the look that follows."""
            ended = super().wait(timeout)
            if looks is not None:
                with looks.open("ab") as file:
                    file.write(b".")
            return ended

    def run(context: Any, pipes: Any, settings: Any, module: list[str]) -> Any:
        product = train(module)
        files = [str(product.path), *([str(looks)] if looks else [])]
        return started(context, pipes, settings, ["tests.cases.stand_in", *files])

    with (
        mock.patch("assets.launcher.run", run),
        mock.patch("assets.launcher.Event", Looks),
        mock.patch.dict(os.environ, {"PYTHONPATH": str(REPOSITORY)}),
    ):
        yield


def model_events(run: CaseRun) -> list[dg.AssetMaterialization]:
    """Materialisations of the model `small` that Dagster knows, the last first."""
    key = dg.AssetKey([NAME, "model"])
    only = dg.AssetRecordsFilter(key, asset_partitions=["small"])
    records = run.dagster.fetch_materializations(only, limit=9).records
    return [record.asset_materialization for record in records if record.asset_materialization]


def data_version(event: dg.AssetMaterialization) -> str:
    """The fingerprint that an event holds."""
    return (event.tags or {})["dagster/data_version"]


def test_half_a_message_is_read_once_the_rest_of_it_is_there(project: CaseRun, tmp_path: Path) -> None:
    before, looks = len(model_events(project)), tmp_path / "looks"
    looks.touch()
    materialised(project, force=["model/small"], training=lambda: reported_by(looks))
    event, *rest = model_events(project)
    assert len(rest) == before
    product = current("model", "small")
    assert data_version(event) == product.fingerprint
    summary = {name: value for name, value in product.json("summary.json").items() if value is not None}
    assert {"mean_iou", "validation_loss", "loss"} <= summary.keys()
    shown = {name: metadata.value for name, metadata in event.metadata.items()}
    for name, value in name_scores(summary, "validation").items():
        assert shown[name] == (rounded(value) if isinstance(value, float) else value)


def test_a_training_without_a_message_is_an_error_and_the_next_one_reports_it(project: CaseRun) -> None:
    before = len(model_events(project))
    attempt = lineage.guarded(
        lambda: lineage.run(project.dagster, force=["model/small"], training=lambda: reported_by(None))
    )
    product = current("model", "small")
    assert attempt.crash is None
    (problem,) = attempt.problems
    assert product.path.name in problem
    assert "nothing" in problem
    assert product.fingerprint in problem
    assert "Fix: " in problem
    assert len(model_events(project)) == before

    job = definitions.collect([config.load_dataset(NAME)]).resolve_job_def(f"{NAME}_train")
    with lineage.training_in_process():
        assert job.execute_in_process(instance=project.dagster, partition_key="small").success
    assert len(model_events(project)) == before + 1
    assert data_version(model_events(project)[0]) == product.fingerprint
    assert lineage.stale(project.dagster) == set()
