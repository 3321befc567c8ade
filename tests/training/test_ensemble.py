"""Experiments that train nothing: their members, and how well they do together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from landcover_orch import config
from landcover_orch.config.experiments import Experiment, models
from landcover_orch.errors import ConfigError, ContractError
from landcover_orch.legend import LandClass, Legend
from landcover_orch.models.contract import load_contract
from landcover_orch.models.networks import load
from landcover_orch.store import publish
from landcover_orch.store.publish import Product
from landcover_orch.training.members import require_compatible
from landcover_orch.training.product import train
from tests.training import classroom

SMALL = {"model": {"name": "unet", "width": 8, "levels": 1}, "epochs": 2, "batch_size": 8, "device": "cpu"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home whose configuration has two recipes and one of both."""
    (tmp_path / "configs" / "experiments").mkdir(parents=True)
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(tmp_path / "configs"))
    _write(tmp_path, "one", **SMALL)
    _write(tmp_path, "other", **SMALL, seed=1)
    _write(tmp_path, "both", model={"name": "ensemble", "members": ["one", "other"]}, device="cpu")
    with classroom.in_memory():
        yield tmp_path


def _write(home: Path, name: str, **recipe: Any) -> None:
    (home / "configs" / "experiments" / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, **recipe}))


def _run(home: Path, name: str) -> Product:
    return train(classroom.published(home), config.load_experiment(name), home)


def test_members_that_are_not_there_are_trained_and_answer_together(home: Path) -> None:
    product = _run(home, "both")
    together, contract = load(product.path)
    members = [publish.current(home / classroom.NAME / "model", name) for name in ("one", "other")]
    image = torch.from_numpy(classroom.patches(3, seed=5).image)
    with torch.inference_mode():
        alone = torch.stack([load(member.path)[0](image).softmax(1) for member in members]).mean(0)
        assert torch.allclose(together(image).softmax(1), alone, atol=1e-6)
    assert [(m.experiment, m.fingerprint) for m in contract.members] == [
        (name, member.fingerprint) for name, member in zip(("one", "other"), members, strict=True)
    ]


def test_its_score_is_that_of_the_validation_patches(home: Path) -> None:
    product = _run(home, "both")
    together, _ = load(product.path)
    patches = classroom.patches(8, seed=2)
    with torch.inference_mode():
        predicted = together(torch.from_numpy(patches.image)).argmax(1).numpy()
    labelled = patches.label != 255
    summary = product.json("summary.json")
    assert summary["accuracy"] == pytest.approx((predicted == patches.label)[labelled].mean(), abs=1e-6)
    assert summary["loss"] is None
    assert summary["validation_loss"] > 0
    assert summary["parameters"] == 2 * _run(home, "one").json("summary.json")["parameters"]
    assert (summary["model"], summary["epochs"]) == ("ensemble", 1)
    assert len(product.json("history.json")) == 1


def test_another_member_is_another_ensemble_and_the_same_is_found(home: Path) -> None:
    first = _run(home, "both")
    assert _run(home, "both").path == first.path
    _write(home, "other", **SMALL, seed=2)
    second = _run(home, "both")
    assert second.fingerprint != first.fingerprint
    assert second.recipe.inputs["member one"] == first.recipe.inputs["member one"]
    assert second.recipe.inputs["member other"] != first.recipe.inputs["member other"]


def test_a_member_trained_before_is_taken_as_it_is(home: Path) -> None:
    member = _run(home, "one")
    changed = member.file("model.safetensors").stat().st_mtime_ns
    product = _run(home, "both")
    assert product.recipe.inputs["member one"] == member.fingerprint
    assert member.file("model.safetensors").stat().st_mtime_ns == changed


def test_members_of_another_kind_are_refused_all_at_once(home: Path) -> None:
    contract = load_contract(_run(home, "one").path)
    foreign = Legend(name="x", classes=(LandClass(id=0, name="sea", colour="#0000ff"),), codes={})
    contracts = {
        "one": contract,
        "models:/classroom/3": contract.model_copy(update={"legend": foreign, "bands": ("nir", "red")}),
        "old": contract.model_copy(update={"data_digest": "before", "dtype": "uint16"}),
    }
    with pytest.raises(ContractError) as caught:
        require_compatible(contracts, classroom.manifest(), config.load_experiment("both"))
    named = [(problem.where.rsplit(": ")[-1], problem.found) for problem in caught.value.problems]
    assert named == [
        ("models:/classroom/3", "classes ('sea',)"),
        ("models:/classroom/3", "bands ('nir', 'red')"),
        ("old", "dtype uint16"),
        ("old", "training data before"),
    ]
    assert "configs/experiments/both.yaml: model.members" in str(caught.value)


def test_an_ensemble_of_ensembles_is_refused(home: Path) -> None:
    _write(home, "nested", model={"name": "ensemble", "members": ["both", "one"]})
    with pytest.raises(ConfigError, match="both, an ensemble; expected models that were trained"):
        _run(home, "nested")
    assert not (home / classroom.NAME / "model").exists()


@pytest.mark.parametrize(
    ("invalid", "text"),
    [
        ({"epochs": 3}, "learns nothing and takes no epochs"),
        ({"seed": 3, "loss": "dice"}, "takes no loss, seed"),
        ({"model": {"name": "ensemble", "members": ["a", "a"]}}, "listed twice"),
        ({"model": {"name": "ensemble", "members": []}}, "at least 1 item"),
        ({"model": {"name": "ensemble", "members": ["../a"]}}, "pattern"),
        ({"model": {"name": "ensemble", "members": ["e", "a"]}}, "a member of itself"),
    ],
)
def test_recipes_that_make_no_sense_are_refused_at_load(invalid: dict[str, Any], text: str) -> None:
    plain = {"name": "e", "model": {"name": "ensemble", "members": ["a", "b"]}}
    assert isinstance(Experiment.model_validate(plain).model, models.Ensemble)
    with pytest.raises(ValueError, match=text):
        Experiment.model_validate({**plain, **invalid})


def test_votes_and_means_are_different_ensembles(home: Path) -> None:
    _write(home, "vote", model={"name": "ensemble", "members": ["one", "other"], "combine": "vote"}, device="cpu")
    together, _ = load(_run(home, "vote").path)
    with torch.inference_mode():
        shares = together(torch.from_numpy(classroom.patches(2).image)).softmax(1).numpy()
    assert np.abs(shares * 2 - (shares * 2).round()).max() < 0.02
    assert _run(home, "both").fingerprint != _run(home, "vote").fingerprint
