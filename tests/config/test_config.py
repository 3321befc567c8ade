"""Configurations are read safely, refused with every problem at once, and every field says what it is."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.config.experiments import Classical, Experiment
from landcover_orch.config.yamlfile import MAX_BYTES, parse, read_yaml
from landcover_orch.errors import ConfigError
from landcover_orch.legend import LandClass, Legend
from landcover_orch.store.canonical import digest

DATASET: dict[str, Any] = {
    "name": "town",
    "root": "/data",
    "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"},
    "bands": ["red"],
    "legend": "cover",
    "experiments": ["small"],
}
MODELS = [
    *(m for _, m in inspect.getmembers(config, inspect.isclass) if issubclass(m, BaseModel) and m is not BaseModel),
    LandClass,
    Legend,
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_described_and_every_model_closed(model: type[BaseModel]) -> None:
    assert model.model_config["extra"] == "forbid"
    assert model.model_config["frozen"] is True
    undescribed = [name for name, field in model.model_fields.items() if not field.description]
    assert not undescribed


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        ({"bandz": ["red"]}, "bandz", "did you mean 'bands'"),
        ({"patches": {"stridde": 3}}, "patches.stridde", "did you mean 'stride'"),
        ({"tiles": {**DATASET["tiles"], "overrides": {"a": {"layr": "x"}}}}, "overrides.a.layr", "mean 'layer'"),
        ({"splits": {"test": {"tils": ["a"]}}}, "splits.test.tils", "did you mean 'tiles'"),
        ({"zzz": 1}, "zzz", "delete the key"),
    ],
)
def test_unknown_keys_get_a_proposal(changes: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse({**DATASET, **changes}, Dataset, "test.yaml")
    assert where in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("model", "content", "new"),
    [
        (Dataset, {**DATASET, "floors": []}, "baselines"),
        (Dataset, {**DATASET, "doctor": "unet"}, "label_review"),
        (Dataset, {**DATASET, "proportions": {"without": ["road"]}}, "exclude_classes"),
        (Dataset, {**DATASET, "splits": {"test": {"drawn": 0.2}}}, "random_fraction"),
        (Dataset, {**DATASET, "splits": {"test": {"listed": "a.csv"}}}, "from_csv"),
        (Dataset, {**DATASET, "splits": {"chosen_on": "test"}}, "checkpoint_split"),
        (Dataset, {**DATASET, "limits": {"max_suspect": 0.2}}, "max_flagged"),
        (Experiment, {"name": "e", "model": "unet", "prediction": {"symmetries": 8}}, "tta"),
        (
            Experiment,
            {"name": "e", "model": "unet", "prediction": {"smoothing": {"name": "annealing", "coolest": 0.1}}},
            "final_temperature",
        ),
        (Legend, {"name": "l", "classes": [], "codes": {}, "composites": {"min_share": 0.8}}, "min_fraction"),
        (Legend, {"name": "l", "classes": [], "codes": {}, "composites": {"keep_shares": True}}, "keep_fractions"),
    ],
)
def test_a_key_of_an_earlier_version_is_refused_with_its_new_name(
    model: type[BaseModel], content: dict[str, Any], new: str
) -> None:
    with pytest.raises(ConfigError) as error:
        parse(content, model, "test.yaml")
    (problem,) = (problem for problem in error.value.problems if problem.found == "an unknown key")
    assert problem.fix == f"it is called `{new}` now"


def test_all_problems_of_a_file_come_together() -> None:
    invalid = {**DATASET, "name": "a/b", "patches": {"size": 3, "strid": 1}, "bands": []}
    del invalid["legend"]
    with pytest.raises(ConfigError) as error:
        parse(invalid, Dataset, "test.yaml")
    assert len(error.value.problems) == 5
    assert "add the key `legend`" in str(error.value)


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ({"validation": {"tiles": ["a"]}, "test": {"tiles": ["a"]}}, "both validation and test"),
        ({"validation": {"blocks": 0.5}, "test": {"blocks": 0.5}}, "nothing to train on"),
    ],
)
def test_splits_must_leave_something(splits: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse({**DATASET, "splits": splits}, Dataset, "test.yaml")


def test_prediction_windows_must_meet() -> None:
    experiment = {"name": "small", "model": {"name": "unet"}, "prediction": {"window": 64, "stride": 65}}
    with pytest.raises(ConfigError, match="leaves gaps"):
        parse(experiment, Experiment, "test.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: {b: 1, b: 2}\n", "key 'b' twice"),
        ("a: &x 1\nb: *x\n", "an alias"),
        ("[" * 30 + "]" * 30, "more than 20 levels"),
        ("a: 1\nb: [2,\n", "line 3"),
        ("a: " + "x" * MAX_BYTES, "at most 1000000"),
        ("a: !!python/object/apply:os.system ['true']\n", "python/object"),
    ],
)
def test_hostile_yaml_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_yaml(path)


def test_yaml_must_be_utf8(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("a: caf\xe9\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        read_yaml(tmp_path / "latin.yaml")


@pytest.mark.parametrize("path", ["../out.tif", "/etc/passwd", "images/../../out.tif", "link/secret.tif"])
def test_paths_stay_inside_their_root(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="leaves"):
        config.inside(root, path, "test")
    assert config.inside(root, "images/../a.tif", "test") == root / "a.tif"


def test_files_are_named_like_what_they_hold(configs: Path) -> None:
    (configs / "legends/cover.yaml").write_text(
        'name: covers\nclasses: [{id: 0, name: a, colour: "#000000"}]\ncodes: {}'
    )
    with pytest.raises(ConfigError, match="'cover', as the file is called"):
        config.load_legend("cover")
    with pytest.raises(ConfigError, match="did you mean 'cover'"):
        config.load_legend("covr")
    with pytest.raises(ConfigError, match="no file"):
        config.load_legend("../legends/cover")


def test_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOMEWHERE", str(tmp_path))
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.setenv("LANDCOVER_HOME", "/h")
    assert config.expand("${SOMEWHERE}/a", "x") == f"{tmp_path}/a"
    assert config.expand("${NOWHERE:-/default}/a", "x") == "/default/a"
    assert config.expand("${LANDCOVER_HOME}/a", "x") == "/h/a"
    with pytest.raises(ConfigError, match="export NOWHERE="):
        config.expand("${NOWHERE}/a", "x")


def test_the_home_is_known_without_a_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LANDCOVER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert config.expand("${LANDCOVER_HOME}/landscape", "x") == str(tmp_path / "var/landscape")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=5))
def test_digests_ignore_the_order_of_keys(value: dict[str, Any]) -> None:
    turned = dict(reversed(list(value.items())))
    assert digest(value) == digest(turned)
    assert digest({"x": value}) != digest({"y": value})


def test_digests_of_models_are_those_of_their_fields() -> None:
    data = parse(DATASET, Dataset, "test.yaml")
    assert digest(data) == digest(data.model_dump(mode="json"))
    assert digest(data) != digest(data.model_copy(update={"description": "other"}))
    with pytest.raises(TypeError, match="no canonical form"):
        digest({"a": object()})


def test_a_dataset_has_baselines_without_deep_learning_unless_it_says_otherwise() -> None:
    data = parse(DATASET, Dataset, "test.yaml")
    assert {type(config.load_experiment(baseline).model) for baseline in data.baselines} == set(get_args(Classical))
    assert config.experiments_of(data) == ("small", *data.baselines)


@pytest.mark.parametrize("name", [*config.dataset_names(), *config.names(config.STUDIES)])
def test_the_shipped_datasets_load(name: str) -> None:
    data = config.load_dataset(name)
    assert config.load_legend(data.legend).name == data.legend


TREE = {"image": "dsm/{tile}.tif", "bands": ["dsm"]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tiles": {**DATASET["tiles"], "further": [TREE]}}, "['dsm'], which must be the last of `bands`"),
        ({"tiles": {**DATASET["tiles"], "further": [TREE]}, "bands": ["dsm"]}, "must be the last of `bands`"),
        ({"tiles": {**DATASET["tiles"], "select": [1, 2]}}, "`tiles.select` takes 2 bands, `bands` names 1"),
        ({"tiles": {**DATASET["tiles"], "select": [0]}}, "greater than or equal to 1"),
        ({"crs": "none", "labels": {"kind": "raster"}}, "`crs: none` needs `resolution`"),
        ({"crs": "none", "resolution": 10}, "polygons need a CRS"),
        ({"resolution": 10}, "`resolution` is for `crs: none`"),
        ({"crs": "UTM"}, "expected file, none or EPSG:n"),
    ],
)
def test_images_are_described_without_contradiction(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse({**DATASET, **changes}, Dataset, "test.yaml")
    assert words in str(error.value)


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of a dataset whose validation tiles a file lists; the folder its data lies in."""
    (tmp_path / "datasets").mkdir()
    settings = {
        "name": "town",
        "root": "${TOWN}",
        "tiles": {"image": "images/{tile}.tif", "label": "masks/{tile}.tif"},
        "bands": ["red"],
        "legend": "cover",
        "splits": {"validation": {"tiles": ["a"], "from_csv": "samples.csv"}, "test": {"tiles": ["d"]}},
        "experiments": ["small"],
    }
    (tmp_path / "datasets" / "town.yaml").write_text(json.dumps(settings))
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(tmp_path))
    monkeypatch.setenv("TOWN", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_a_file_may_list_the_tiles_of_a_side(town: Path) -> None:
    (town / "samples.csv").write_text("sample_id,city\nb,x\n\nc,y\nb,x\n")
    validation = config.load_dataset("town").splits.validation
    assert (validation.tiles, validation.from_csv) == (("a", "b", "c"), None)


def test_a_listed_tile_has_one_side(town: Path) -> None:
    (town / "samples.csv").write_text("sample_id\nd\n")
    with pytest.raises(ConfigError, match=r"tiles \['d'\] are both validation and test"):
        config.load_dataset("town")


def test_without_its_data_a_dataset_keeps_the_name_of_the_list(town: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.load_dataset("town").splits.validation.from_csv == "samples.csv"
    monkeypatch.delenv("TOWN")
    assert config.load_dataset("town").splits.validation.from_csv == "samples.csv"


@pytest.mark.parametrize(
    ("tiles", "labels", "outdated"),
    [
        ({}, {}, False),
        ({"year": 2024, "label_year": 2024}, {}, False),
        ({"year": 2024, "label_year": 2021}, {}, True),
        ({"year": 2021, "label_year": 2024}, {}, False),
        ({"year": 2024}, {}, False),
        ({"year": 2021, "label_year": 2021, "overrides": {"a": {"year": 2024}}}, {}, True),
        ({"year": 2024, "overrides": {"a": {"label_year": 2021}}}, {}, True),
        ({"year": 2024, "label_year": 2021}, {"kind": "raster"}, False),
    ],
)
def test_labels_are_outdated_where_an_image_is_stated_to_be_newer(
    tiles: dict[str, Any], labels: dict[str, Any], outdated: bool
) -> None:
    described = {**DATASET, "tiles": {**DATASET["tiles"], **tiles}, "labels": labels}
    assert Dataset.model_validate(described).outdated is outdated


@pytest.mark.parametrize(
    ("load", "old", "new"),
    [
        (config.load_dataset, "demo-doctor", "demo-label-review"),
        (config.load_dataset, "demo-changes", "demo-label-changes"),
        (config.load_experiment, "doctor-small-forest", "label-review-small-forest"),
        (config.load_experiment, "landscape-symmetries", "landscape-tta"),
    ],
)
def test_a_shipped_file_of_an_earlier_version_is_refused_with_its_new_name(load: Any, old: str, new: str) -> None:
    with pytest.raises(ConfigError, match=f"it is called `{new}` now"):
        load(old)
