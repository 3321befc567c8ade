"""A network of a person's own: held to its logits, stored with its code, loaded and served with that code alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from landcover_orch import custom, tracking
from landcover_orch.config.experiments.models import CustomNetwork, Ensemble
from landcover_orch.errors import CodeError
from landcover_orch.models import networks
from landcover_orch.models.contract import Contract, Member
from tests import custom_code
from tests.models.test_networks import contract

SETTINGS = CustomNetwork.model_validate(custom_code.MODEL)
IMAGE = np.arange(2 * 2 * 9 * 7, dtype=np.uint8).reshape(2, 2, 9, 7)


@pytest.fixture(autouse=True)
def package(code: Path) -> None:
    """The package is there."""
    custom_code.write(code)


def _stored(folder: Path, code: Path, settings: CustomNetwork = SETTINGS) -> Contract:
    """A folder with an untrained model and its code, as a training writes it."""
    described = contract().model_copy(update={"model": settings})
    torch.manual_seed(0)
    network = networks.build(settings, len(described.bands), len(described.legend.classes))
    folder.mkdir()
    custom.read(settings, code).write(folder / custom.FOLDER)
    networks.save(folder, networks.Normalised(network, described.mean, described.std), described)
    return described


def _logits(folder: Path, *, trusted: bool = False) -> torch.Tensor:
    module, _ = networks.load(folder, trusted=trusted)
    with torch.inference_mode():
        return module(torch.from_numpy(IMAGE))


def test_it_is_built_with_bands_classes_and_its_arguments() -> None:
    network = networks.build(SETTINGS, 3, 5)
    assert {tuple(value.shape) for value in network.parameters()} == {(6, 3, 3, 3), (6,), (5, 6, 1, 1), (5,)}
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 5, 8, 8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("return GAIN * self.layers(x)", "return self.layers(x)[..., 1:]"), "(2, 5, 8, 7) of images (2, 3, 8, 8)"),
        (("return GAIN * self.layers(x)", "return self.layers(x)[:, 1:]"), "(n, class, y, x) (2, 5, 8, 8)"),
        (("return GAIN * self.layers(x)", "return [self.layers(x)]"), "list of images (2, 3, 8, 8)"),
    ],
)
def test_other_logits_are_refused(code: Path, change: tuple[str, str], words: str) -> None:
    """A class too many would give the map a value that the legend lacks."""
    custom_code.write(code, networks=custom_code.NETWORK.replace(*change))
    with pytest.raises(CodeError) as caught:
        networks.build(SETTINGS, 3, 5)(torch.zeros(2, 3, 8, 8))
    assert words in str(caught.value)


def test_what_is_no_module_is_refused(code: Path) -> None:
    custom_code.write(code, networks="def Plain(bands, classes, width):\n    return bands\n")
    with pytest.raises(CodeError, match="gives a int; expected a torch module"):
        networks.build(SETTINGS, 3, 5)


def test_a_stored_model_runs_the_code_it_was_stored_with(code: Path, tmp_path: Path) -> None:
    _stored(tmp_path / "model", code)
    before = _logits(tmp_path / "model")
    custom_code.write(code, blocks=custom_code.BLOCKS.replace("GAIN = 1.0", "GAIN = 3.0"))
    torch.testing.assert_close(_logits(tmp_path / "model"), before, rtol=0, atol=0)
    custom_code.write(tmp_path / "model/code", blocks=custom_code.BLOCKS.replace("GAIN = 1.0", "GAIN = 3.0"))
    torch.testing.assert_close(_logits(tmp_path / "model"), 3 * before)


def test_a_stored_model_is_refused_where_code_is_off(
    code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stored(tmp_path / "model", code)
    before = _logits(tmp_path / "model")
    monkeypatch.delenv("LANDCOVER_CUSTOM")
    with pytest.raises(CodeError, match="LANDCOVER_CUSTOM is not set"):
        _logits(tmp_path / "model")
    torch.testing.assert_close(_logits(tmp_path / "model", trusted=True), before, rtol=0, atol=0)


def test_shared_weights_are_stored_and_loaded(code: Path, tmp_path: Path) -> None:
    tied = custom_code.NETWORK.replace("def forward", "    self.again = self.layers[0]\n\n    def forward")
    custom_code.write(code, networks=tied)
    _stored(tmp_path / "model", code)
    assert _logits(tmp_path / "model").isfinite().all()


def test_members_of_an_ensemble_run_their_own_versions(code: Path, tmp_path: Path) -> None:
    """The member's code lies below its fingerprint; each of both versions gives what it gave alone."""
    described = _stored(tmp_path / "first", code)
    custom_code.write(code, blocks=custom_code.BLOCKS.replace("GAIN = 1.0", "GAIN = -2.0"))
    _stored(tmp_path / "second", code)
    alone = [_logits(tmp_path / name).softmax(1) for name in ("first", "second")]
    members = tuple(
        Member(experiment=name, fingerprint=name, model=SETTINGS, mean=described.mean, std=described.std)
        for name in ("first", "second")
    )
    ensemble = described.model_copy(update={"model": Ensemble(members=("first", "second")), "members": members})
    for name in ("first", "second"):
        custom.read(SETTINGS, tmp_path / name / "code").write(tmp_path / "both/code" / name)
    network = networks.untrained(ensemble, tmp_path / "both")
    for index, name in enumerate(("first", "second")):
        network.members[index].load_state_dict(networks.load(tmp_path / name)[0].network.state_dict())  # type: ignore[index,union-attr]
    module = networks.Normalised(network, described.mean, described.std).eval()
    with torch.inference_mode():
        together = module(torch.from_numpy(IMAGE)).softmax(1)
    torch.testing.assert_close(together, (alone[0] + alone[1]) / 2)
    assert not torch.allclose(*alone)


@pytest.mark.slow
def test_it_is_served_with_its_code_where_nothing_of_it_is(code: Path, tmp_path: Path) -> None:
    """In a process without the project's settings, as on another machine: MLflow's model brings all of it."""
    custom_code.write(code, networks=f"import scipy\n{custom_code.NETWORK}")
    _stored(tmp_path / "model", code)
    expected = _logits(tmp_path / "model").softmax(1).numpy()
    tracking.export(tmp_path / "model", tmp_path / "served")
    assert "scipy==" in (tmp_path / "served" / "requirements.txt").read_text()
    np.save(tmp_path / "image.npy", IMAGE)
    script = (
        "import json, sys, numpy as np, mlflow.pyfunc\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print(json.dumps(model.predict(np.load(sys.argv[2])).tolist()))\n"
    )
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("LANDCOVER", "PYTHONPATH"))
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "served"), str(tmp_path / "image.npy")],
        cwd=tmp_path,
        env={**environment, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), expected, atol=1e-6)
