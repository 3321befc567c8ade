"""A file with a matrix stands for its combinations: their names, their settings, and what is wrong with any of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch import config
from landcover_orch.checks.experiments import experiment_problems
from landcover_orch.config import Dataset
from landcover_orch.config.experiments import Experiment, matrix
from landcover_orch.config.experiments.matrix import expand, label
from landcover_orch.config.yamlfile import parse
from landcover_orch.errors import ConfigError
from tests import tiny

GRID = {
    "model.skips": [3, 4, 5],
    "model.residual": {"plain": False, "residual": True},
    "loss": ["cross_entropy", "jaccard"],
}
EXPERIMENT: dict[str, Any] = {"name": "grid", "model": "resunet", "epochs": 3}


def _save(configs: Path, file: str = "grid", **changed: Any) -> None:
    content = {**EXPERIMENT, "matrix": GRID, **changed, "name": file}
    (configs / f"experiments/{file}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def _problems(content: dict[str, Any], file: str = "grid") -> str:
    with pytest.raises(ConfigError) as caught:
        expand({**EXPERIMENT, **content}, file, "grid.yaml")
    return str(caught.value)


def test_every_combination_is_a_recipe_whose_name_carries_every_choice(configs: Path) -> None:
    _save(configs)
    experiments = config.load_experiments("grid")
    assert list(experiments) == [
        f"grid__{skips}-{block}-{loss}"
        for skips, block, loss in itertools.product((3, 4, 5), ("plain", "residual"), ("cross_entropy", "jaccard"))
    ]
    experiment = experiments["grid__4-residual-jaccard"]
    assert isinstance(experiment, Experiment)
    assert experiment.model_dump()["model"] == {
        "name": "resunet", "width": 32, "skips": 4, "residual": True, "centre": "serial"
    }  # fmt: skip
    assert [loss.name for loss in experiment.loss] == ["jaccard"]
    assert (experiment.name, experiment.epochs) == ("grid__4-residual-jaccard", 3)
    assert config.load_experiment(experiment.name) == experiment


def test_rows_are_those_combinations_alone(configs: Path) -> None:
    _save(configs, matrix={**GRID, "rows": [[3, "plain", "jaccard"], [5, "residual", "cross_entropy"]]})
    assert list(config.load_experiments("grid")) == ["grid__3-plain-jaccard", "grid__5-residual-cross_entropy"]


def test_a_combination_repeats_as_any_recipe(configs: Path) -> None:
    _save(configs, protocol={"seeds": [1, 2]})
    repeated = config.load_experiment("grid__3-plain-jaccard.seed-2")
    assert (repeated.name, repeated.seed) == ("grid__3-plain-jaccard.seed-2", 2)
    with pytest.raises(ConfigError, match=r"no repetition grid__3-plain-jaccard\.seed-7"):
        config.load_experiment("grid__3-plain-jaccard.seed-7")


def test_a_dataset_names_the_file_or_one_of_its_recipes(configs: Path) -> None:
    _save(configs)
    tiny.save(configs, "experiments", tiny.RECIPE)
    plain = {
        "name": "town",
        "root": "/data",
        "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"},
        "bands": ["red"],
        "legend": "cover",
        "baselines": [],
    }
    all_of_file = parse({**plain, "experiments": ["quick", "grid"]}, Dataset, "town.yaml")
    assert config.experiments_of(all_of_file) == ("quick", *config.load_experiments("grid"))
    assert experiment_problems(all_of_file) == []
    single = parse({**plain, "experiments": ["grid__3-plain-jaccard"]}, Dataset, "town.yaml")
    assert config.experiments_of(single) == ("grid__3-plain-jaccard",)
    assert experiment_problems(single) == []


def test_a_whole_setting_is_set_before_its_parts_whatever_the_order() -> None:
    content = {**EXPERIMENT, "matrix": {"optimiser.lr": [0.5], "optimiser": ["sgd"]}}
    assert expand(content, "grid", "grid.yaml") == {
        "grid__0_5-sgd": {**EXPERIMENT, "name": "grid__0_5-sgd", "optimiser": {"name": "sgd", "lr": 0.5}}
    }


def test_without_a_matrix_a_file_is_its_recipe() -> None:
    assert expand(EXPERIMENT, "grid", "grid.yaml") == {"grid": EXPERIMENT}


def test_combinations_share_nothing() -> None:
    deep = {"trunk": {"depth": 18}}
    content = {"name": "grid", "model": deep, "matrix": {"model.trunk.width": [8, 16]}}
    first, second = expand(content, "grid", "grid.yaml").values()
    assert (first["model"]["trunk"]["width"], second["model"]["trunk"]["width"]) == (8, 16)
    assert deep == {"trunk": {"depth": 18}}


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True)))
def test_any_grid_gives_the_product_of_its_axes(axes: dict[str, list[int]]) -> None:
    experiments = expand({"name": "grid", **({"matrix": axes} if axes else {})}, "grid", "grid.yaml")
    values = {tuple(experiment[key] for key in axes) for experiment in experiments.values()}
    assert values == set(itertools.product(*axes.values()))
    assert all(matrix.file_of(name) == "grid" for name in experiments)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(4, "4"), (0.001, "0_001"), (True, "true"), (None, "none"), ("one_cycle", "one_cycle"), ([1], ""), ({}, "")],
)
def test_what_a_value_is_called(value: object, expected: str) -> None:
    assert label(value) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "settings and their values"),
        ({}, "settings and their values"),
        ({"rows": [[1]]}, "settings and their values"),
        ({"epochs": 3}, "matrix: epochs: 3; expected a list of values"),
        ({"epochs": []}, "a list of values, or label: value"),
        ({"name": ["a"]}, "`name` as a choice"),
        ({"zoom": [[1, 2]]}, "give the value a label"),
        ({"loss": [{"name": "focal"}]}, "give the value a label"),
        ({"epochs": {"a b": 3}}, "'a b' as part of a name"),
        ({"epochs": [3, 3]}, "2 with the label 3"),
        ({"epochs": {"a-b": 1, "a": 2}, "seed": {"c": 3, "b-c": 4}}, "2 with the name grid__a-b-c"),
        ({"epochs": [3, 4], "rows": []}, "a list of rows, each [epochs]"),
        ({"epochs": [3, 4], "rows": [3]}, "a list of rows"),
        ({"epochs": [3, 4], "rows": [[3, 4]]}, "row 1: 2 choices; expected one each of epochs"),
        ({"epochs": [3, 4], "rows": [[3], [5]]}, "row 2: '5'; expected one of ['3', '4'] for epochs"),
        ({"epochs": [3, 4], "rows": [[3], [3]]}, "2 with the name grid__3"),
        ({"epochs.of.what": [3]}, "`epochs` is 3; expected a part with settings"),
    ],
)
def test_a_matrix_that_says_nothing_clear_is_refused(content: Any, words: str) -> None:
    assert words in _problems({"matrix": content})


def test_all_problems_of_a_matrix_come_together() -> None:
    message = _problems({"name": "other", "matrix": {"epochs": 3, "seed": [1, 1], "rows": [[1, 2, 3]]}})
    assert message.startswith("4 problems")


@pytest.mark.parametrize("file", ["a__b", "a_"])
def test_a_file_whose_name_reads_as_choices_is_refused(configs: Path, file: str) -> None:
    _save(configs, file)
    with pytest.raises(ConfigError, match="rename the file"):
        config.load_experiments(file)
    with pytest.raises(ConfigError, match="rename the file"):
        config.load_experiment(file)


def test_the_file_has_its_own_name(configs: Path) -> None:
    (configs / "experiments/grid.yaml").write_text(yaml.safe_dump({**EXPERIMENT, "name": "other", "matrix": GRID}))
    with pytest.raises(ConfigError, match="'grid', as the file is called"):
        config.load_experiments("grid")


def test_problems_of_all_combinations_are_named_at_once_each_with_those_that_have_it(configs: Path) -> None:
    _save(
        configs,
        batch_sze=4,
        matrix={"optimiser": ["sgd", "adagrad", "adadelta"], "schedule": ["constant", "one_cycle"], "epochs": [2, 0]},
    )
    with pytest.raises(ConfigError) as caught:
        config.load_experiments("grid")
    lines = [str(problem) for problem in caught.value.problems]
    assert sum("batch_sze" in line for line in lines) == 1
    assert "grid.yaml: batch_sze: an unknown key" in str(caught.value)
    epochs = next(line for line in lines if ": epochs" in line)
    assert epochs.count("grid__") == 6
    assert "grid__sgd-constant-0" in epochs


def test_parts_that_do_not_go_together_name_their_combination(configs: Path) -> None:
    _save(configs, matrix={"optimiser": ["sgd", "adagrad"], "schedule": ["constant", "one_cycle"]})
    with pytest.raises(ConfigError) as caught:
        config.load_experiments("grid")
    (problem,) = caught.value.problems
    assert problem.where == "configs/experiments/grid.yaml (grid__adagrad-one_cycle)"
    assert "adagrad has none" in problem.found
    assert config.load_experiment("grid__sgd-one_cycle").name == "grid__sgd-one_cycle"
    with pytest.raises(ConfigError, match=r"\(grid__adagrad-one_cycle\)"):
        config.load_experiment("grid__adagrad-one_cycle")


def test_a_recipe_that_the_matrix_has_not_is_named(configs: Path) -> None:
    _save(configs)
    with pytest.raises(ConfigError, match=r"a matrix of 12 experiments; .* and 9 more"):
        config.load_experiment("grid")
    with pytest.raises(ConfigError, match="did you mean 'grid__4-plain-jaccard'"):
        config.load_experiment("grid__4-plain-jacard")


def test_a_file_that_is_wrong_stands_for_itself_until_it_is_loaded(configs: Path) -> None:
    _save(configs, matrix={"epochs": []})
    assert config.experiment_names("grid") == ("grid",)
    assert config.experiment_names("nowhere") == ("nowhere",)
    with pytest.raises(ConfigError, match="a list of values"):
        config.load_experiment("grid")
