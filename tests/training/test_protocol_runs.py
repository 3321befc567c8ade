"""Recipes that repeat: a model a repetition, a summary of all, and ensembles of them."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from landcover_orch import config
from landcover_orch.config.experiments import Fold, Folds
from landcover_orch.errors import ConfigError, ContractError
from landcover_orch.models.contract import load_contract
from landcover_orch.models.networks import load
from landcover_orch.patches import dataset, folds, manifest
from landcover_orch.patches.read import open_split
from landcover_orch.store import publish
from landcover_orch.store.publish import Product
from landcover_orch.tracking import Log, Start
from landcover_orch.training import protocol
from landcover_orch.training.members import require_compatible
from tests.patches.fields import LEGEND, Fields, write_fields
from tests.training import classroom

SMALL = {"model": {"name": "unet", "width": 8, "levels": 1}, "epochs": 2, "batch_size": 8, "device": "cpu"}
SEEDS = {"seeds": [1, 2]}


@pytest.fixture
def recipes(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes: `seeds` with two seeds, `cv` with three folds of blocks, `out` that leaves one tile out."""
    folder = home / "configs" / "experiments"
    folder.mkdir(parents=True)
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(home / "configs"))
    for name, repeats in {"seeds": SEEDS, "cv": {"folds": {"count": 3}}, "out": {"folds": {"by": "tiles"}}}.items():
        write(folder, name, **SMALL, protocol=repeats)
    return folder


def write(folder: Path, name: str, **recipe: Any) -> None:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **recipe}))


@pytest.fixture
def in_memory(recipes: Path) -> Iterator[None]:
    """The classroom's patches."""
    with classroom.in_memory():
        yield


def run(home: Path, name: str, **more: Any) -> Product:
    return protocol.train(classroom.published(home), config.load_experiment(name), home, **more)


@pytest.mark.usefixtures("in_memory")
def test_two_seeds_are_two_models_and_a_summary(home: Path) -> None:
    product = run(home, "seeds")
    models = protocol.models_of(product, home)
    assert list(models) == ["seeds.seed-1", "seeds.seed-2"]
    assert {entry.path for entry in models.values()} == {
        publish.current(home / classroom.NAME / "model", name).path for name in models
    }
    assert set(product.files) == {"repetitions.json", "summary.json", "curves.png"}
    first, second = product.json("repetitions.json")
    assert (first["name"], first["seed"], first["fold"]) == ("seeds.seed-1", 1, None)
    assert (
        publish.load(home / second["path"]).fingerprint == second["fingerprint"] == models["seeds.seed-2"].fingerprint
    )
    summary = product.json("summary.json")
    assert (summary["repetitions"], summary["chosen_by"], summary["model"]) == (2, "mean_iou", "unet")
    values = [entry["metrics"]["accuracy"] for entry in (first, second)]
    spread = summary["spread"]["accuracy"]
    assert (spread["mean"], spread["sd"], spread["n"]) == (statistics.fmean(values), statistics.stdev(values), 2)
    for name, model in models.items():
        row = next(row for row in (first, second) if row["name"] == name)
        assert row["metrics"]["mean_iou"] == model.json("summary.json")["mean_iou"]


@pytest.mark.usefixtures("in_memory")
def test_the_chosen_one_is_the_best_by_the_recipes_metric(home: Path, recipes: Path) -> None:
    for metric, best in (("accuracy", max), ("loss", min)):
        write(recipes, "seeds", **SMALL, protocol={"seeds": [1, 2, 3]}, metric=metric)
        product = run(home, "seeds")
        key = "validation_loss" if metric == "loss" else metric
        expected = best(product.json("repetitions.json"), key=lambda entry: entry["metrics"][key])
        name, model = protocol.chosen_of(product, home)
        assert (name, model.fingerprint) == (expected["name"], expected["fingerprint"])
        assert product.json("summary.json")[key] == expected["metrics"][key]


@pytest.mark.usefixtures("in_memory")
def test_a_recipe_that_does_not_repeat_is_its_model(home: Path, recipes: Path) -> None:
    write(recipes, "one", **SMALL)
    product = run(home, "one")
    assert protocol.models_of(product, home) == {"one": product}
    assert protocol.chosen_of(product, home) == ("one", product)
    single = run(home, "seeds.seed-2")
    assert protocol.chosen_of(single, home) == ("seeds.seed-2", single)
    assert not (home / classroom.NAME / "model" / "seeds").exists()


@pytest.mark.usefixtures("in_memory")
def test_killed_between_repetitions_and_gone_on_with_it_gives_the_same_bytes(home: Path, tmp_path: Path) -> None:
    def lights(line: str) -> None:
        if line.startswith("seeds.seed-2: repetition 2 of 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(home, "seeds", progress=lights)
    assert not (home / classroom.NAME / "model" / "seeds").exists()
    first = publish.current(home / classroom.NAME / "model", "seeds.seed-1").path.stat().st_mtime_ns
    product = run(home, "seeds")
    assert publish.current(home / classroom.NAME / "model", "seeds.seed-1").path.stat().st_mtime_ns == first
    elsewhere = tmp_path / "elsewhere"
    assert run(elsewhere, "seeds").files == product.files
    assert run(home, "seeds").path == product.path


@pytest.mark.usefixtures("in_memory")
def test_a_model_that_somebody_removed_is_trained_again(home: Path) -> None:
    product = run(home, "seeds")
    lost = protocol.models_of(product, home)["seeds.seed-1"]
    shutil.rmtree(lost.path)
    assert run(home, "seeds").path == product.path
    again = protocol.models_of(product, home)["seeds.seed-1"]
    assert again.file("model.safetensors").read_bytes()
    assert again.files["model.safetensors"] == lost.files["model.safetensors"]


@pytest.mark.usefixtures("in_memory")
def test_what_the_summary_is_made_of_follows_from_the_repetitions(home: Path, recipes: Path) -> None:
    product = run(home, "seeds")
    found = {name: value for name, value in product.recipe.inputs.items() if name.startswith("repetition ")}
    assert found == {f"repetition {n}": entry.fingerprint for n, entry in protocol.models_of(product, home).items()}
    write(recipes, "seeds", **{**SMALL, "epochs": 3}, protocol=SEEDS)
    assert run(home, "seeds").fingerprint != product.fingerprint


@dataclass
class RecordingLog:
    """A tracker that keeps what it hears."""

    starts: list[Start] = field(default_factory=list)
    finished: dict[str, dict[str, float]] = field(default_factory=dict)

    @contextmanager
    def __call__(self, start: Start) -> Iterator[Log]:
        self.starts.append(start)
        yield _Listener(self, start)


@dataclass
class _Listener:
    log: RecordingLog
    start: Start

    run_id: str | None = None

    def __post_init__(self) -> None:
        self.run_id = f"run of {self.start.experiment}"

    def epoch(self, epoch: int, metrics: Any) -> None:
        pass

    def finish(self, folder: Path, metrics: Any, status: Any = "FINISHED") -> bool:
        self.log.finished[self.start.experiment] = dict(metrics)
        return True


@pytest.mark.usefixtures("in_memory")
def test_repetitions_belong_to_the_run_of_the_recipe_which_hears_mean_and_spread(home: Path) -> None:
    log = RecordingLog()
    product = run(home, "seeds", tracker=log)
    assert [(start.experiment, start.parent) for start in log.starts] == [
        ("seeds", None),
        ("seeds.seed-1", "run of seeds"),
        ("seeds.seed-2", "run of seeds"),
    ]
    assert log.starts[0].fingerprint == product.fingerprint
    assert log.starts[0].parameters["recipe.protocol.seeds"] == "[1, 2]"
    spread = product.json("summary.json")["spread"]
    ended = log.finished["seeds"]
    assert (ended["validation/mean/mean_iou"], ended["validation/sd/mean_iou"]) == (
        spread["mean_iou"]["mean"],
        spread["mean_iou"]["sd"],
    )
    assert ended["train/repetitions"] == 2
    run(home, "seeds", tracker=log)
    assert len(log.starts) == 3


@pytest.fixture
def fields(home: Path, tmp_path: Path, recipes: Path) -> Fields:
    """Four tiles with patches; d is test, c validation."""
    sides = {"test": {"tiles": ["d"]}, "validation": {"tiles": ["c"]}, "block": 30}
    found = write_fields(tmp_path / "raw", home, names=("a", "b", "c", "d"), splits=sides)
    for i in range(4):
        found.cut(i)
    return found


def run_on(fields: Fields, name: str) -> Product:
    return protocol.train(whole_of(fields), config.load_experiment(name), fields.home)


def whole_of(fields: Fields) -> Product:
    return dataset.build(fields.dataset, LEGEND, fields.tiles, fields.home)


@pytest.mark.parametrize(("name", "by"), [("cv", "blocks"), ("out", "tiles")])
def test_each_fold_has_a_model_that_learnt_from_the_folds_own_manifest(fields: Fields, name: str, by: Any) -> None:
    product = run_on(fields, name)
    full = manifest.load(whole_of(fields).path)
    models = protocol.models_of(product, fields.home)
    assert list(models) == [f"{name}.fold-{index}" for index in (1, 2, 3)]
    for index, model in enumerate(models.values(), 1):
        contract = load_contract(model.path)
        fold = Fold(by=by, index=index, count=3)
        fold_manifest = manifest.load(publish.current(fields.home / "fields" / "dataset_manifest", fold.name).path)
        assert contract.fold == fold
        assert contract.data_digest == fold_manifest.digest == folds.described(full, fold).digest
        assert contract.mean == tuple(band.mean for band in fold_manifest.bands)
    assert [entry["fold"] for entry in product.json("repetitions.json")] == [1, 2, 3]
    assert len({load_contract(model.path).mean for model in models.values()}) == 3


def test_an_ensemble_of_a_recipe_has_the_voices_of_all_its_repetitions(fields: Fields, recipes: Path) -> None:
    write(recipes, "all", model={"name": "ensemble", "members": ["seeds", "cv"]}, device="cpu")
    product = run_on(fields, "all")
    together, contract = load(product.path)
    names = ["seeds.seed-1", "seeds.seed-2", "cv.fold-1", "cv.fold-2", "cv.fold-3"]
    assert [member.experiment for member in contract.members] == names
    members = [publish.current(fields.home / "fields" / "model", name) for name in names]
    assert [member.fingerprint for member in contract.members] == [member.fingerprint for member in members]
    assert contract.informed == ("cv.fold-1", "cv.fold-2", "cv.fold-3")
    assert product.json("summary.json")["validation_known_to"] == list(contract.informed)
    image, _ = open_split(manifest.load(whole_of(fields).path), fields.home, "test").take(np.arange(3))
    seen = torch.from_numpy(image)
    with torch.inference_mode():
        alone = torch.stack([load(member.path)[0](seen).softmax(1) for member in members]).mean(0)
        assert torch.allclose(together(seen).softmax(1), alone, atol=1e-5)
    ensemble_product = protocol.train(whole_of(fields), config.load_experiment("all"), fields.home)
    assert ensemble_product.path == product.path


def test_an_ensemble_may_repeat_itself_with_the_same_repetition_of_each_member(fields: Fields, recipes: Path) -> None:
    write(
        recipes, "smooth", model={"name": "ensemble", "members": ["cv"]}, device="cpu", protocol={"folds": {"count": 3}}
    )
    models = protocol.models_of(run_on(fields, "smooth"), fields.home)
    contracts = {name: load_contract(model.path) for name, model in models.items()}
    assert {name: [m.experiment for m in contract.members] for name, contract in contracts.items()} == {
        f"smooth.fold-{index}": [f"cv.fold-{index}"] for index in (1, 2, 3)
    }
    assert [contract.fold.index for contract in contracts.values() if contract.fold] == [1, 2, 3]
    assert not any(contract.informed for contract in contracts.values())


def test_folds_of_other_data_are_refused_as_members(fields: Fields, recipes: Path) -> None:
    model = run_on(fields, "cv.fold-2")
    contract = load_contract(model.path)
    full = manifest.load(whole_of(fields).path)
    ensemble = config.load_experiment("seeds")
    require_compatible({"cv.fold-2": contract}, full, ensemble)
    shifted = manifest.load(whole_of(fields.changed(splits={"test": {"tiles": ["a"]}, "block": 30})).path)
    with pytest.raises(ContractError, match="training data"):
        require_compatible({"cv.fold-2": contract}, shifted, ensemble)
    for fold_settings in (
        Folds(count=3),
        Folds(by="tiles"),
    ):  # fold 2's model has learnt from the ground that fold 3 tests on
        third = manifest.load(folds.build(whole_of(fields), fold_settings, 3, fields.home).path)
        with pytest.raises(ContractError, match="training data"):
            require_compatible({"cv.fold-2": contract}, third, ensemble)


def test_a_repetition_beside_its_recipe_would_have_two_voices(recipes: Path, home: Path) -> None:
    write(recipes, "twice", model={"name": "ensemble", "members": ["seeds", "seeds.seed-1"]}, device="cpu")
    with pytest.raises(ConfigError, match=r"seeds.seed-1 twice; expected each model once"):
        run(home, "twice")


def test_contracts_of_before_are_still_read(fields: Fields) -> None:
    contract = load_contract(run_on(fields, "seeds.seed-1").path)
    plain = contract.model_dump(mode="json")
    del plain["fold"]
    assert type(contract).model_validate(plain) == contract
