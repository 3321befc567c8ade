"""What a registered model needs where it is served: public versions, and no package beyond those of its family."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement

from landcover_orch import tracking
from landcover_orch.config.experiments import models
from landcover_orch.legend import LandClass, Legend
from landcover_orch.models import networks
from landcover_orch.models.contract import Contract
from landcover_orch.tracking.registry import input_example, requirements
from tests.tracking import champions

FAMILIES: dict[str, models.Network | models.Classical] = {
    "unet": models.UNet(width=4, levels=2),
    "random_forest": models.RandomForest(trees=2, leaves=4),
    "swin_unet": models.SwinUNet(width=8, depths=(2, 2), heads=(2, 4), window=4, patch=2),
}

SCRIPT = """
import importlib.machinery, importlib.metadata, json, sys

allowed = set(json.load(open("allowed.json")))
owners = importlib.metadata.packages_distributions()

class OnlyWhatIsRequired:
    find_distributions = importlib.machinery.PathFinder.find_distributions

    @staticmethod
    def find_spec(name, path=None, target=None):
        owning = {owner.lower().replace("_", "-") for owner in owners.get(name.partition(".")[0], ())}
        missing = owning and not owning & allowed
        return None if missing else importlib.machinery.PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = OnlyWhatIsRequired
import numpy as np, mlflow
model = mlflow.pyfunc.load_model("served")
example = model.input_example
assert example.dtype == np.uint8, example.dtype
np.save("example.npy", example)
np.save("probabilities.npy", model.predict(example))
"""


def _contract(family: str) -> Contract:
    classes = tuple(LandClass(id=i, name=f"class {i}", colour=f"#{i:06x}") for i in range(3))
    return Contract(
        model=FAMILIES[family],
        bands=("red", "nir"),
        dtype="uint8",
        resolution=1.0,
        mean=(100.0, 20.0),
        std=(66.0, 40.0),
        legend=Legend(name="three", classes=classes, codes={}),
        patch_size=256,
        dataset="d",
        data_digest="x",
        experiment="e",
    )


def _closure(names: list[str]) -> set[str]:
    """Distributions that come with some, by what each requires of this platform."""
    closure: set[str] = set()
    waiting = [name.lower().replace("_", "-") for name in names]
    while waiting:
        name = waiting.pop()
        if name in closure:
            continue
        closure.add(name)
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        needed = [Requirement(line) for line in lines]
        waiting += [
            requirement.name.lower().replace("_", "-")
            for requirement in needed
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        ]
    return closure


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_loads_and_predicts_its_example_with_what_it_requires_alone(family: str, tmp_path: Path) -> None:
    contract = _contract(family)
    torch.manual_seed(0)
    module = networks.Normalised(networks.build(contract.model, 2, 3), contract.mean, contract.std).eval()
    trained = tmp_path / "trained"
    trained.mkdir()
    networks.save(trained, module, contract)
    tracking.export(trained, tmp_path / "served")
    lines = (tmp_path / "served" / "requirements.txt").read_text().split()
    assert all(re.fullmatch(r"[A-Za-z-]+==[0-9.]+(?:\.?(?:post|rc)[0-9]+)?", line) for line in lines), lines
    assert sorted(lines) == sorted(requirements(contract))
    assert ("transformers" in {line.partition("==")[0] for line in lines}) == (family == "swin_unet")
    (tmp_path / "allowed.json").write_text(json.dumps(sorted(_closure([line.partition("==")[0] for line in lines]))))
    champions.run_script(tmp_path, SCRIPT, champions.outside())
    example = np.load(tmp_path / "example.npy")
    np.testing.assert_array_equal(example, input_example(contract))
    with torch.inference_mode():
        expected = module(torch.from_numpy(example)).float().softmax(1).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), expected, atol=1e-5)


def test_a_local_version_is_on_no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0+cpu" if name == "torch" else "1.0")
    assert "torch==2.13.0" in requirements(_contract("unet"))


def test_an_input_example_is_within_the_dtype_and_short() -> None:
    example = input_example(_contract("unet"))
    assert (example.shape, example.dtype) == ((1, 2, 32, 32), np.dtype("uint8"))
    assert (example[0, 0].min(), example[0, 0].max()) == (34, 166)
    assert (example[0, 1].min(), example[0, 1].max()) == (0, 60)
