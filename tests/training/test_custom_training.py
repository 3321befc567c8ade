"""A network, loss and sampler of a person's own train; the model is of the text that its recipe names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from landcover_orch import config, custom
from landcover_orch.config.experiments import losses
from landcover_orch.config.experiments.sampling import CustomSampling
from landcover_orch.errors import CodeError
from landcover_orch.models import networks
from landcover_orch.training import product as training
from landcover_orch.training import throughput
from landcover_orch.training.losses import Objective, term_value
from landcover_orch.training.sampling import custom_draws, order
from tests import custom_code, tiny
from tests.training import classroom

LOSS = {"name": "custom", "build": "field_maps.losses:SquaredError"}


@pytest.fixture(autouse=True)
def package(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is there."""
    custom_code.write(code)
    monkeypatch.setattr(throughput, "PATIENCE_S", 0.01)


def _experiment(**changed: Any) -> Any:
    return classroom.experiment(**{**custom_code.PARTS, "epochs": 1, **changed})


def test_it_trains_and_the_model_holds_its_code(code: Path, home: Path) -> None:
    manifest = classroom.published(home)
    with classroom.in_memory():
        trained = training.train(manifest, _experiment(epochs=4), home)
        assert training.train(manifest, _experiment(epochs=4), home).path == trained.path
    rows = trained.json("history.json")
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert {f"code/field_maps/{file}" for file in custom_code.FILES} < {*trained.files}
    assert trained.recipe.inputs["code field_maps"] == custom.read(_experiment().model, code).fingerprint
    custom_code.write(code, networks="raise RuntimeError")
    module, _ = networks.load(trained.path)
    assert module.network.layers[1].weight.shape == (3, 6, 1, 1)  # type: ignore[union-attr,index]


def test_code_that_is_edited_while_it_trains_counts_for_the_next_training(code: Path, home: Path) -> None:
    """The recipe is of the text before; the edit comes after it was read, and before anything is imported."""
    manifest = classroom.published(home)
    other = {"blocks": custom_code.BLOCKS.replace("GAIN = 1.0", "GAIN = 3.0")}
    broken = dict.fromkeys(("networks", "losses", "sampling"), "raise RuntimeError")

    def edit(line: str) -> None:
        custom_code.write(code, **other, **broken)

    with classroom.in_memory():
        before = training.train(manifest, _experiment(), home, progress=edit)
        custom_code.write(code, **other)
        assert "GAIN = 1.0" in before.file("code/field_maps/blocks.py").read_text()
        after = training.train(manifest, _experiment(), home)
        custom_code.write(code)
        assert training.train(manifest, _experiment(), home).path == before.path
    assert "GAIN = 3.0" in after.file("code/field_maps/blocks.py").read_text()
    assert before.json("history.json") != after.json("history.json")


def test_an_ensemble_holds_the_code_of_its_members(code: Path, home: Path, configs: Path) -> None:
    manifest = classroom.published(home)
    plain = {"device": "cpu", "epochs": 1, "batch_size": 8}
    both = {"name": "both", "model": {"name": "ensemble", "members": ["mine", "plain"]}, "device": "cpu"}
    for content in ({"name": "mine", **plain, **custom_code.PARTS}, {"name": "plain", **plain, "model": "unet"}, both):
        tiny.save(configs, "experiments", content)
    with classroom.in_memory():
        ensemble = training.train(manifest, config.load_experiment("both"), home)
    custom_code.write(code, networks="raise RuntimeError")
    fingerprint = ensemble.recipe.inputs["member mine"]
    assert f"code/{fingerprint}/field_maps/networks.py" in ensemble.files
    module, contract = networks.load(ensemble.path)
    assert [member.model.name for member in contract.members] == ["custom", "unet"]
    assert module(torch.zeros(1, 2, 16, 16)).shape == (1, 3, 16, 16)


def test_the_recipe_is_of_the_packages_that_it_names_alone(code: Path) -> None:
    def recipe(**changed: Any) -> dict[str, Any]:
        return dict(training.recipe(classroom.manifest(), _experiment(**changed)).inputs)

    custom_code.write(code, package="other")
    plain = {"model": "unet", "loss": "dice", "sampling": "uniform"}
    first = recipe(loss={**LOSS, "build": "other.losses:SquaredError"}, sampling="uniform")
    assert set(first) == {"manifest", "code field_maps", "code other"}
    assert set(recipe(**{**plain, "sampling": custom_code.PARTS["sampling"]})) == {"manifest", "code field_maps"}
    assert set(recipe(**plain)) == {"manifest"}
    custom_code.write(code, package="other", losses="raise RuntimeError\n")
    changed = recipe(loss={**LOSS, "build": "other.losses:SquaredError"}, sampling="uniform")
    assert {key for key in first if first[key] != changed[key]} == {"code other"}


def test_what_cannot_be_imported_is_recorded_as_the_failure_of_its_text(code: Path, home: Path) -> None:
    custom_code.write(code, networks="import absent_library\n")
    manifest = classroom.published(home)
    with classroom.in_memory(), pytest.raises(CodeError, match=r"No module named 'absent_library' \(field_maps/net"):
        training.train(manifest, _experiment(), home)
    custom_code.write(code)
    with classroom.in_memory():
        assert training.train(manifest, _experiment(), home).files


PAIR = torch.tensor([[0.5, 0.5], [0.25, 0.75]]).log().T[None, :, None, :]
"""Logits of two pixels: the classes 0 and 1 with p = 0.5 and 0.75."""


def test_a_loss_is_called_with_pixels_that_count_and_weights_by_class(code: Path) -> None:
    custom_code.write(
        code,
        losses="calls = []\n\n\ndef make():\n    return lambda *given: calls.append(given) or given[0].sum() * 0 + 7\n",
    )
    terms = [losses.CustomLoss(build="field_maps.losses:make", weight=0.5)]
    objective = Objective(terms, [(1.0, 0.0)], code=code)
    label = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    logits = torch.zeros(1, 2, 1, 3, dtype=torch.bfloat16)
    assert float(objective(logits, label)) == 3.5
    (given,) = objective.custom[0].__globals__["calls"]  # type: ignore[attr-defined]
    assert given[0].dtype == torch.float32
    assert given[1].tolist() == [[[0, 255, 255]]]  # class 1 has weight 0
    assert given[2].tolist() == [1, 0]
    label[:] = 255
    logits.requires_grad_()
    loss = objective(logits, label)
    torch.autograd.backward(loss)
    assert float(loss.detach()) == 0
    assert len(objective.custom[0].__globals__["calls"]) == 1  # type: ignore[attr-defined]


def test_a_loss_is_what_its_formula_says(code: Path) -> None:
    objective = Objective([losses.CustomLoss.model_validate(LOSS)], code=code)
    label = torch.tensor([[[0, 1]]], dtype=torch.uint8)
    assert float(objective(PAIR, label)) == pytest.approx((2 * 0.5**2 + 2 * 0.25**2) / 2)
    tenfold = losses.CustomLoss.model_validate({**LOSS, "arguments": {"factor": 10}})
    both = Objective([losses.CrossEntropy(), losses.CustomLoss.model_validate(LOSS), tenfold], code=code)
    expected = 11 * objective(PAIR, label) + term_value(losses.CrossEntropy(), PAIR, label)
    assert float(both(PAIR, label)) == pytest.approx(float(expected))


def test_micro_batches_have_the_gradient_of_the_batch(code: Path) -> None:
    objective = Objective([losses.CustomLoss.model_validate(LOSS)], code=code)
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, 5, generator=random)
    label = torch.randint(4, (3, 5, 5), generator=random, dtype=torch.uint8)
    label[0, :3], label[1] = 255, 255
    together, parts = (logits.clone().requires_grad_() for _ in range(2))
    torch.autograd.backward(objective(together, label))
    for part in (slice(0, 1), slice(1, 2), slice(2, 3)):
        torch.autograd.backward(objective(parts[part], label[part], objective.masses(label)))
    torch.testing.assert_close(parts.grad, together.grad)


def test_a_loss_that_is_a_module_moves_with_the_objective(code: Path) -> None:
    module = (
        "import torch\n\n\nclass Weighted(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.register_buffer('factor', torch.tensor(2.0), persistent=False)\n\n"
        "    def forward(self, logits, label, class_weights):\n        return self.factor * logits.mean()\n"
    )
    custom_code.write(code, losses=module)
    objective = Objective([losses.CustomLoss(build="field_maps.losses:Weighted")], code=code).to(torch.float64)
    assert [value.dtype for value in objective.buffers()] == [torch.float64]
    assert isinstance(objective.custom[0], nn.Module)


@pytest.mark.parametrize(
    ("value", "words"),
    [("None", "gives None"), ("logits", r"gives a tensor \(1, 2, 1, 2\)"), ("3.5", "gives 3.5")],
)
def test_a_loss_that_is_no_number_is_refused(code: Path, value: str, words: str) -> None:
    custom_code.write(code, losses=f"def make():\n    return lambda logits, label, weights: {value}\n")
    objective = Objective([losses.CustomLoss(build="field_maps.losses:make")], code=code)
    with pytest.raises(CodeError, match=f"{words}; expected a tensor of one number"):
        objective(PAIR, torch.zeros(1, 1, 2, dtype=torch.uint8))


def test_a_sampler_gives_the_patches_of_each_epoch(code: Path) -> None:
    source = classroom.patches(10)
    experiment = _experiment(batch_size=4, sampling={**custom_code.PARTS["sampling"], "arguments": {"label": 2}})
    fullest = np.argsort(-source.class_count()[:, 2], kind="stable")
    assert [step.tolist() for step in order(source, experiment, 0)] == [
        fullest[:4].tolist(),
        fullest[4:8].tolist(),
        fullest[8:].tolist(),
    ]
    drawn = order(source, experiment.model_copy(update={"steps_per_epoch": 3}), 0)
    assert np.concatenate(drawn).tolist() == [*fullest, *fullest[:2]]


def test_a_sampler_draws_by_seed_and_epoch(code: Path) -> None:
    sampler = (
        "def make(used=0):\n    return lambda count, draws, epoch, random: random.integers(used * epoch, 90, draws)\n"
    )
    custom_code.write(code, sampling=sampler)
    count = np.ones((99, 3), np.int64)

    def drawn(seed: int, epoch: int, **arguments: int) -> list[int]:
        settings = CustomSampling(build="field_maps.sampling:make", arguments=arguments)
        return custom_draws(settings, code, count, 40, seed, epoch).tolist()

    assert drawn(0, 0) == drawn(0, 0)
    assert len({tuple(drawn(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    assert min(drawn(3, 80, used=1)) >= 80


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("count[:, 0] * 0 + len(count)", "gives int64 (4,) from 4 to 4; expected 4 indices of patches"),
        ("count[:, 0] * 0 - 1", "from -1 to -1; expected 4 indices of patches, whole numbers from 0 to 3"),
        ("count[:2, 0] * 0", "gives int64 (2,) from 0 to 0"),
        ("count[:, 0] * 0.5", "gives float64 (4,)"),
        ("[]", "gives float64 (0,); expected"),
    ],
)
def test_draws_that_are_no_patches_are_refused(code: Path, value: str, words: str) -> None:
    custom_code.write(code, sampling=f"def make():\n    return lambda count, draws, epoch, random: {value}\n")
    with pytest.raises(CodeError) as caught:
        custom_draws(CustomSampling(build="field_maps.sampling:make"), code, np.ones((4, 2), np.int64), 4, 0, 0)
    assert words in str(caught.value)
