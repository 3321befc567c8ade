"""The asset `search`: a partition a search, in a process of its own, never part of 'everything'."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from assets.definitions import collect
from assets.lineage import search
from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.checks.experiments import experiment_problems
from landcover_orch.config import Dataset
from landcover_orch.errors import ConfigError
from landcover_orch.store import publish
from tests import tiny
from tests.planned import PREPARE

SEARCH = {
    "name": "rates",
    "experiment": tiny.EXPERIMENT,
    "space": {"optimiser.lr": [0.01, 0.0001]},
    "repetitions": {"folds": {"by": "tiles"}},
}


@pytest.fixture
def dataset(configs: Path, home: Path, tmp_path: Path) -> Dataset:
    found = tiny.write(configs, tmp_path / "raw", tiles=4)
    (configs / "searches").mkdir()
    tiny.save(configs, "searches", SEARCH)
    return found.model_copy(update={"searches": ("rates",)})


def test_a_dataset_without_searches_has_no_such_asset(dataset: Dataset) -> None:
    assert search.definitions(dataset.model_copy(update={"searches": ()})) == []


def test_it_depends_on_manifest_and_recipe_and_is_partitioned_by_search(dataset: Dataset) -> None:
    (asset,) = search.definitions(dataset)
    key = dg.AssetKey([tiny.NAME, "search"])
    assert asset.asset_deps[key] == {dg.AssetKey([tiny.NAME, name]) for name in ("dataset_manifest", "experiment")}
    assert asset.partitions_def.get_partition_keys() == ["rates"]
    mapping = asset.get_partition_mapping(dg.AssetKey([tiny.NAME, "experiment"]))
    assert mapping == dg.StaticPartitionMapping({tiny.EXPERIMENT: ["rates"]})


def test_a_recipe_that_the_dataset_does_not_run_is_no_dependency(dataset: Dataset, configs: Path) -> None:
    tiny.save(configs, "experiments", {**tiny.RECIPE, "name": "other"})
    tiny.save(configs, "searches", {**SEARCH, "experiment": "other"})
    (asset,) = search.definitions(dataset)
    assert asset.asset_deps[asset.key] == {dg.AssetKey([tiny.NAME, "dataset_manifest"])}


def test_a_wrong_search_is_said_where_the_dataset_is_checked_and_leaves_the_lineage_loadable(
    dataset: Dataset, configs: Path
) -> None:
    tiny.save(configs, "searches", {**SEARCH, "space": {"optimiser.lrr": [1]}})
    assert [problem.where for problem in experiment_problems(dataset)] == [
        f"{configs}/searches/rates.yaml: space: optimiser.lrr"
    ]
    with pytest.raises(ConfigError, match="did you mean 'lr'"):
        config.load_search("rates")
    dg.Definitions.validate_loadable(collect([dataset]))


@pytest.mark.slow
def test_asked_for_it_runs_in_its_own_process_and_shows_its_trials(
    dagster: dg.DagsterInstance, dataset: Dataset
) -> None:
    materialise(dagster, dataset, PREPARE)
    assert not (config.home() / tiny.NAME / "search").exists()
    key = dg.AssetKey([tiny.NAME, "search"])
    job = dg.define_asset_job("asked", selection=dg.AssetSelection.assets(key))
    definitions = dg.Definitions.merge(collect([dataset]), dg.Definitions(jobs=[job]))
    done = definitions.resolve_job_def("asked").execute_in_process(instance=dagster, partition_key="rates")
    (event,) = done.get_asset_materialization_events()
    materialised = event.materialization
    product = publish.current(config.home() / tiny.NAME / "search", "rates")
    assert (materialised.tags or {})["dagster/data_version"] == product.fingerprint
    shown = materialised.metadata
    assert shown["best_value"].value == pytest.approx(product.json("summary.json")["best_value"], abs=1e-4)
    assert [row.data["optimiser.lr"] for row in shown["trials"].value.records] == [0.01, 0.0001]
    assert [row.data["repetitions"] for row in shown["trials"].value.records] == [3.0, 3.0]
    assert shown["best_sd"].value is not None
    for name in ("trials", "choices"):
        link = f"/pages/{tiny.NAME}/search/{product.path.name}/{name}.png"
        assert shown[f"preview of {name}"].value == f"![picture]({link})"
    assert str(shown["page"].value).endswith("index.html")
