"""Label review in the lineage: where a dataset names an experiment for it, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.definitions import collect
from assets.lineage import label_review
from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.checks.experiments import experiment_problems
from landcover_orch.config import Dataset
from landcover_orch.errors import ConfigError
from landcover_orch.store import publish
from landcover_orch.store.canonical import digest
from landcover_orch.store.publish import Recipe
from tests import tiny

FOREST: dict[str, object] = {
    "name": "forest",
    "model": {"name": "random_forest", "trees": 4, "texture": [3], "pixels": 1000},
    "protocol": {"folds": {"by": "tiles", "count": 3}},
}


@pytest.fixture
def dataset(configs: Path, home: Path, tmp_path: Path) -> Dataset:
    return _write(configs, tmp_path / "raw", label_review="forest")


def _write(configs: Path, raw: Path, **said: object) -> Dataset:
    tiny.write(configs, raw, tiles=3)
    tiny.save(configs, "experiments", FOREST)
    path = configs / "datasets" / f"{tiny.NAME}.yaml"
    more = {"experiments": ["forest"], "splits": {}, **said}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | more))
    return config.load_dataset(tiny.NAME)


def _keys(dataset: Dataset) -> set[str]:
    return {key.path[-1] for key in collect([dataset]).resolve_asset_graph().get_all_asset_keys()}


def test_only_a_dataset_that_names_its_reviewer_has_the_asset(dataset: Dataset) -> None:
    assert "label_review" in _keys(dataset)
    assert "label_review" not in _keys(dataset.model_copy(update={"label_review": None}))
    node = collect([dataset]).resolve_asset_graph().get(dg.AssetKey([tiny.NAME, "label_review"]))
    assert {key.path[-1] for key in node.parent_keys} == {"dataset_manifest", "prediction"}
    assert node.partitions_def is None


@pytest.mark.parametrize(("experiment", "words"), [("forrest", "'forrest'"), (tiny.EXPERIMENT, "no folds")])
def test_a_reviewer_without_folds_is_a_problem_of_the_dataset(
    configs: Path, home: Path, tmp_path: Path, experiment: str, words: str
) -> None:
    known = _write(configs, tmp_path / "raw", label_review=experiment, experiments=["forest", tiny.EXPERIMENT])
    (problem,) = experiment_problems(known)
    assert problem.where.endswith("label_review")
    assert words in problem.found


def test_a_reviewer_is_for_polygons(configs: Path, home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`label_review` is of polygons"):
        _write(configs, tmp_path / "raw", label_review="forest", labels={"kind": "raster"})


def test_label_review_changes_no_other_product(dataset: Dataset) -> None:
    assert digest(dataset) == digest(dataset.model_copy(update={"label_review": None}))


@pytest.mark.parametrize(("share", "passed"), [(0.1, True), (0.11, False)])
def test_much_that_is_flagged_is_a_warning(dataset: Dataset, share: float, passed: bool) -> None:
    told = {"flagged_fraction_of_area": share, "flagged": 1, "worst": [{"rank": 1, "tile": "t0"}]}
    folder = config.home() / tiny.NAME / "label_review"
    publish.publish(
        folder, "forest", Recipe("label_review", 1, told, {}), lambda stage: stage.write_json("summary.json", told)
    )
    _, check = label_review.definitions(dataset)
    found = check()
    assert (found.passed, found.severity) == (passed, dg.AssetCheckSeverity.WARN)
    assert "the worst" in found.metadata


def test_the_list_is_materialised_and_checked(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    materialise(dagster, dataset)
    assert materialise(dagster, dataset).runs == 0, "nothing of it is stale"
    home = config.home()
    product = publish.current(home / tiny.NAME / "label_review", "forest")
    assert product.json("summary.json")["polygons"] == 6
    key = dg.AssetCheckKey(dg.AssetKey([tiny.NAME, "label_review"]), "labels_plausible")
    (found,) = dagster.event_log_storage.get_latest_asset_check_execution_by_key([key]).values()
    assert found.status.value == "SUCCEEDED"
