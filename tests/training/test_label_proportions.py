"""Learning from the shares of polygons: by hand, against a plain formula, and in a whole training."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from landcover_orch.config.experiments import Augmentation
from landcover_orch.errors import TrainingError
from landcover_orch.models.networks import Normalised
from landcover_orch.training import cache
from landcover_orch.training.augmentation import draw, on_device, transform_ids_on_device, transform_ids_on_host
from landcover_orch.training.device import Device
from landcover_orch.training.distributed.process_group import ProcessGroup
from landcover_orch.training.fit import Task, fit, train_batches
from landcover_orch.training.loader import Batch
from landcover_orch.training.losses import Objective, proportions
from landcover_orch.training.step import Step
from tests.training import classroom
from tests.training.test_augmentation import BANDS

CPU = Device("cpu", bfloat16=False, name="the CPU")
SHARES = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.2, 0.6]])
NOTHING = torch.full((2, 4, 4), 255, dtype=torch.uint8)


def logits_of(*shares: list[float]) -> Tensor:
    """Logits (1, class, 1, pixel) whose softmax is `shares`, a pixel each."""
    return torch.tensor(shares).log().T[None, :, None, :].requires_grad_()


def scene(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels and polygons of two patches: the first row labelled, polygon 1 in both, 2 in the second."""
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2
    label, polygon = NOTHING.clone(), torch.zeros(2, 4, 4, dtype=torch.int32)
    label[:, 0] = 1
    polygon[0, :2], polygon[1, :, :2], polygon[1, :, 3] = 1, 1, 2
    return logits, label, polygon


def gradient(logits: Tensor, *rest: Tensor) -> Tensor:
    leaf = logits.detach().clone().requires_grad_()
    torch.autograd.backward(proportions(leaf, *rest))
    assert leaf.grad is not None
    return leaf.grad


def kl(shares: Tensor, mean: Tensor) -> Tensor:
    return torch.xlogy(shares, shares).sum() - (shares * mean.log())[shares > 0].sum()


def test_two_polygons_by_hand() -> None:
    shares = torch.tensor([[0, 0], [0.5, 0.5], [1.0, 0.0]])
    # polygon 1: means (0.6, 0.4) of two pixels; polygon 2: (0.25, 0.75) of one
    logits = logits_of([0.8, 0.2], [0.4, 0.6], [0.25, 0.75], [0.9, 0.1])
    polygon = torch.tensor([[[1, 1, 2, 0]]], dtype=torch.int32)
    label = torch.full((1, 1, 4), 255, dtype=torch.uint8)
    first = 0.5 * math.log(0.5 / 0.6) + 0.5 * math.log(0.5 / 0.4)
    value = proportions(logits, label, polygon, shares)
    assert value.item() == pytest.approx((2 * first + math.log(4)) / 3, rel=1e-6)
    outcome = gradient(logits, label, polygon, shares)[0, :, 0].T
    # n_k / N (-s_c / m_c) d m_c / d z, where m_c = sum p_c / n_k and d p_0 / d z_0 = p_0 p_1
    pull = (-0.5 / 0.6 + 0.5 / 0.4) / 3
    np.testing.assert_allclose(outcome[:3, 0], [0.16 * pull, 0.24 * pull, -0.75 / 3], rtol=1e-5)
    np.testing.assert_allclose(outcome[:, 1], -outcome[:, 0], rtol=1e-5)
    assert outcome[3].tolist() == [0, 0]


def test_it_is_the_plain_formula_patch_by_patch() -> None:
    logits, label, polygon = scene()
    leaf = logits.clone().requires_grad_()
    p = leaf.softmax(dim=1)
    bags = [(p[0, :, 1], 1), (p[1, :, 1:, :2].flatten(1), 1), (p[1, :, 1:, 3], 2)]
    pixels = sum(bag.shape[1] for bag, _ in bags)
    plain = torch.stack([bag.shape[1] * kl(SHARES[row], bag.mean(dim=1)) for bag, row in bags]).sum() / pixels
    torch.autograd.backward(plain)
    assert leaf.grad is not None
    assert proportions(logits, label, polygon, SHARES).item() == pytest.approx(plain.item(), rel=1e-6)
    torch.testing.assert_close(gradient(logits, label, polygon, SHARES), leaf.grad)


def test_pixels_with_a_class_or_outside_all_polygons_have_no_gradient() -> None:
    logits, label, polygon = scene()
    outcome = gradient(logits, label, polygon, SHARES).movedim(1, -1)
    counts = (polygon > 0) & (label == 255)
    assert (outcome[~counts] == 0).all()
    assert (outcome[counts] != 0).any(dim=-1).all()


def test_what_is_right_costs_nothing_and_the_least_likely_still_pulls() -> None:
    polygon, label = torch.ones(1, 1, 2, dtype=torch.int32), torch.full((1, 1, 2), 255, dtype=torch.uint8)
    shares = torch.tensor([[0, 0], [0.5, 0.5]])
    assert proportions(logits_of([0.9, 0.1], [0.1, 0.9]), label, polygon, shares).item() == pytest.approx(0, abs=1e-6)
    certain = torch.tensor([[[[900.0, 900]], [[0.0, 0]]]])
    outcome = gradient(certain, label, polygon, shares)
    np.testing.assert_allclose(outcome[0, :, 0], [[0.25, 0.25], [-0.25, -0.25]])


@pytest.mark.parametrize("labelled", [True, False])
def test_a_batch_without_such_polygons_is_zero(labelled: bool) -> None:
    logits, label, polygon = scene()
    label, polygon = (label * 0, polygon) if labelled else (label, polygon * 0)
    assert proportions(logits, label, polygon, SHARES).item() == 0
    assert (gradient(logits, label, polygon, SHARES) == 0).all()
    nobody = proportions(logits[:0], label[:0], polygon[:0], SHARES)
    assert nobody.item() == 0


def test_bfloat16_is_summed_in_float32() -> None:
    logits, label, polygon = scene()
    rough = logits.bfloat16()
    value = proportions(rough, label, polygon, SHARES)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, proportions(rough.float(), label, polygon, SHARES))
    assert gradient(rough, label, polygon, SHARES).isfinite().all()


MIXED = ["cross_entropy", {"name": "proportions", "weight": 0.5}]


def objective(shares: NDArray[np.float32]) -> Objective:
    return Objective(classroom.experiment(loss=MIXED).loss, fractions=shares)


def test_parts_add_up_to_the_whole() -> None:
    logits, label, polygon = scene()
    aim = objective(SHARES.numpy())
    masses = aim.masses(label, polygon)
    assert masses.tolist() == [8, 4 + 6 + 3]
    parts = [aim(logits[i : i + 1], label[i : i + 1], masses, polygon[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(sum(parts), aim(logits, label, None, polygon))
    with pytest.raises(ValueError, match="needs polygons"):
        aim(logits, label)


@pytest.mark.parametrize("parts", [2, 4])
def test_an_update_in_parts_is_that_of_the_whole(parts: int) -> None:
    source = Shared(8, seed=1)

    def updated(number: int) -> tuple[float, list[Tensor]]:
        torch.manual_seed(0)
        network = nn.Conv2d(2, 3, 1)
        taken = Step(Normalised(network, [100, 100], [66, 66]), objective(source.fractions()), CPU, 8, number)
        batch = next(iter(train_batches(task(source, loss=MIXED), 0)))
        loss = taken.update(batch, torch.optim.SGD(network.parameters(), 0.5), seed=1)
        return float(loss), [value.detach().clone() for value in network.parameters()]

    (loss, whole_batch), (again, other) = updated(1), updated(parts)
    assert again == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(other, whole_batch)


WARPED = Augmentation(rotation=40, zoom=(0.7, 1.5), brightness=0, contrast=0)
STILL = Augmentation(brightness=0, contrast=0)


@pytest.mark.parametrize("settings", [WARPED, STILL])
def test_polygons_move_as_labels_do_however_large_their_number(settings: Augmentation) -> None:
    label = np.random.default_rng(0).integers(1, 200, (6, 8, 8), np.uint8)
    image = np.zeros((6, 2, 8, 8), np.uint8)
    drawn = draw((6, 2), settings, 1, 2, 3)
    _, varied_label = on_device(torch.from_numpy(image), torch.from_numpy(label), drawn, BANDS)
    expected = np.where(varied_label == 255, 0, varied_label.numpy().astype(np.int32) + 2**30)
    numbers = label.astype(np.int32) + 2**30
    np.testing.assert_array_equal(transform_ids_on_host(numbers, drawn), expected)
    np.testing.assert_array_equal(transform_ids_on_device(torch.from_numpy(numbers), drawn).numpy(), expected)
    assert (expected == 0).any() == (settings is WARPED)


class Shared(classroom.Memory):
    """Patches whose left half has labels; each right half is a polygon of known shares."""

    keeps_fractions = True

    def __init__(self, count: int, seed: int) -> None:
        whole_batch = classroom.patches(count, seed)
        label = whole_batch.label.copy()
        label[:, :, 8:] = 255
        super().__init__(whole_batch.image, label)
        right = whole_batch.label[:, :, 8:].reshape(count, -1)
        fractions = np.stack([(right == c).mean(axis=1) for c in range(3)], axis=1)
        self._shares = np.concatenate([np.zeros((1, 3)), fractions / fractions.sum(axis=1, keepdims=True)]).astype(
            np.float32
        )

    def polygon(self, indices: NDArray[np.int64]) -> NDArray[np.int32]:
        """Rows of the shares."""
        rows = np.zeros((len(indices), classroom.SIZE, classroom.SIZE), np.int32)
        rows[:, :, 8:] = (indices + 1)[:, None, None]
        return rows

    def fractions(self) -> NDArray[np.float32]:
        """Known shares."""
        return self._shares


def task(train: classroom.Memory | None = None, **changed: Any) -> Task:
    source = train or Shared(8, seed=1)
    unit, outcome = np.ones(2, np.float32), BANDS
    bands = type(outcome)(unit * 100, unit * 66, unit * 0, unit * 250)
    recipe = classroom.experiment(**{"model": "pixel_classifier", "augmentation": STILL, **changed})
    return Task(recipe, source, source, classroom.CLASSES, bands, (1, 1, 1), CPU)


def test_batches_bring_polygons_that_were_moved_with_their_pixels() -> None:
    outcome = task(loss=MIXED)
    for batch in train_batches(outcome, 0):
        assert batch.polygon is not None
        assert ((batch.polygon > 0).sum(dim=(1, 2)) == 128).all()
        assert not ((batch.polygon > 0) & (batch.label != 255)).any()
        assert batch.to("cpu").polygon is not None
    assert all(batch.polygon is None for batch in train_batches(task(), 0))


def test_a_cache_keeps_what_polygons_there_are() -> None:
    source = Shared(8, seed=1)
    resident = cache.in_memory(source, "here")
    assert resident.keeps_fractions
    np.testing.assert_array_equal(resident.polygon(np.array([3])), source.polygon(np.array([3])))
    np.testing.assert_array_equal(resident.fractions(), source.fractions())
    assert not cache.in_memory(classroom.patches(8), "here").keeps_fractions


def test_shares_alone_teach_what_no_label_tells(tmp_path: Path) -> None:
    source = Shared(24, seed=1)
    source.label[source.label == 1] = 255  # the middle class is only ever part of a polygon
    truth = classroom.patches(24, seed=1).label
    right = {}
    for name, loss in {"labels": ["cross_entropy"], "mixed": ["cross_entropy", "proportions"]}.items():
        outcome = task(source, loss=loss, epochs=30, metric="loss")
        torch.manual_seed(0)
        model = Normalised(nn.Sequential(nn.Conv2d(2, 16, 1), nn.ReLU(), nn.Conv2d(16, 3, 1)), [100, 100], [66, 66])
        (tmp_path / name).mkdir()
        fit(outcome, model, tmp_path / name, lambda row, seconds: None, lr=0.02)
        with torch.no_grad():
            predicted = model(torch.from_numpy(source.image)).argmax(dim=1).numpy()
        right[name] = (predicted == truth)[truth == 1].mean()
    assert right["labels"] < 0.1
    assert right["mixed"] > 0.8


def test_a_dataset_that_keeps_no_shares_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"keeps no class fractions.*composites\.rule: soft"):
        train_batches(task(classroom.patches(8), loss=MIXED), 0)


def test_shares_take_no_class_weights() -> None:
    with pytest.raises(ValueError, match="class_weights"):
        classroom.experiment(loss=[{"name": "proportions", "class_weights": "median"}])


def test_a_batch_without_polygons_stays_as_it_was() -> None:
    single = Batch(torch.zeros(1, 2, 4, 4), NOTHING[:1], 0, 1)
    assert single.to("cpu").polygon is None


def test_processes_share_what_one_would_take() -> None:
    outcome = task(loss=MIXED, batch_size=8)
    (whole_batch,) = train_batches(outcome, 0)
    both = [next(iter(train_batches(replace(outcome, group=ProcessGroup(rank, 2, 2)), 0))) for rank in range(2)]
    for name in ("image", "label", "polygon"):
        assert torch.equal(torch.cat([getattr(batch, name) for batch in both]), getattr(whole_batch, name))
    aim = objective(outcome.train.fractions())  # type: ignore[attr-defined]
    masses = sum(aim.masses(batch.label, batch.polygon) for batch in both)
    torch.testing.assert_close(masses, aim.masses(whole_batch.label, whole_batch.polygon))
