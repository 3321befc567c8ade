"""One batch is one update, in as many parts as memory asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landcover_orch.errors import RecipeError
from landcover_orch.models.networks import Normalised
from landcover_orch.training import product as training
from landcover_orch.training import setup
from landcover_orch.training.device import Device
from landcover_orch.training.loader import Batch
from landcover_orch.training.losses import Objective
from landcover_orch.training.step import Step, dropout_seed
from tests.training import classroom

CPU = Device("cpu", bfloat16=False, name="the CPU")


class Small(nn.Module):
    """Convolutions that fail above so many images, in the way a device or the CPU's allocator does."""

    def __init__(
        self, images: int = 99, says: type[Exception] = torch.OutOfMemoryError, text: str = "no memory"
    ) -> None:
        super().__init__()
        self.most_images, self.error = images, says(text)
        self.layers = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(8, 3, 1))
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        if len(x) > self.most_images:
            raise self.error
        logits: Tensor = self.layers(x)
        return logits


def _step(network: nn.Module, batch_size: int = 6, **changed: Any) -> Step:
    objective = Objective(classroom.experiment().loss)
    return Step(Normalised(network, [100, 100], [66, 66]), objective, CPU, batch_size, **changed)


def _batch(count: int = 6) -> Batch:
    source = classroom.patches(count)
    label = source.label.copy()
    label[0] = 255  # parts of one batch differ in what is labelled
    return Batch(torch.from_numpy(source.image), torch.from_numpy(label), 0, count)


def _updated(parts: int, **changed: Any) -> tuple[float, list[Tensor]]:
    torch.manual_seed(0)
    network = Small()
    network.layers[2].p = 0.0
    taken = _step(network, micro_batches=parts, **changed)
    loss = taken.update(_batch(), torch.optim.SGD(network.parameters(), 0.5), seed=1)
    return float(loss), [value.detach().clone() for value in network.parameters()]


@pytest.mark.parametrize("parts", [2, 3, 4, 6])
@pytest.mark.parametrize("clip", [None, 0.01])
def test_parts_add_up_to_the_whole(parts: int, clip: float | None) -> None:
    (loss, gradient), (again, accumulated) = _updated(1, clip=clip), _updated(parts, clip=clip)
    assert again == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(accumulated, gradient)


def test_gradients_are_clipped_by_their_norm() -> None:
    torch.manual_seed(0)
    network = Small()
    before = torch.cat([value.detach().reshape(-1).clone() for value in network.parameters()])
    _step(network, clip=0.01).update(_batch(), torch.optim.SGD(network.parameters(), 1.0), seed=1)
    after = torch.cat([value.detach().reshape(-1) for value in network.parameters()])
    assert float((after - before).norm()) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("says", "text"),
    [(torch.OutOfMemoryError, "CUDA out of memory"), (RuntimeError, "DefaultCPUAllocator: can't allocate memory")],
)
def test_out_of_memory_is_answered_by_smaller_parts_from_then_on(says: type[Exception], text: str) -> None:
    lines: list[str] = []
    network = Small(2, says, text)
    taken = _step(network, log_line=lines.append)
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    taken.update(_batch(), optimiser, seed=0)
    assert network.seen == [6, 3, 2, 2, 2]
    assert (taken.micro_batches, len(lines)) == (4, 2)
    assert lines[-1] == "out of memory: from now on a batch of 6 passes in 4 micro-batches"
    network.seen.clear()
    _, predicted = taken.evaluate(_batch(5))
    assert network.seen == [2, 2, 1]
    assert predicted.shape == (5, 16, 16)


def test_a_retried_batch_has_the_update_of_one_that_fitted() -> None:
    states = []
    for images, parts in ((3, 1), (99, 2)):
        torch.manual_seed(0)
        network = Small(images)
        _step(network, micro_batches=parts).update(_batch(), torch.optim.SGD(network.parameters(), 0.5), seed=5)
        states.append([value.detach().clone() for value in network.parameters()])
    assert all(torch.equal(first, other) for first, other in zip(*states, strict=True))


def test_when_not_even_one_image_fits_it_says_what_to_do() -> None:
    taken = _step(Small(0))
    with pytest.raises(RecipeError, match=r"one image does not fit \(no memory\).*lower `patches.size`"):
        taken.update(_batch(), None, seed=0)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    taken = _step(Small(1, RuntimeError, "shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        taken.update(_batch(), None, seed=0)
    assert taken.micro_batches == 1


def test_dropout_follows_from_seed_epoch_and_step() -> None:
    assert len({dropout_seed(seed, epoch, step) for seed in (0, 1) for epoch in range(3) for step in range(3)}) == 18
    losses = []
    for seed in (dropout_seed(0, 1, 2), dropout_seed(0, 1, 2), dropout_seed(0, 1, 3)):
        torch.manual_seed(0)
        network = Small()
        torch.rand(int(seed % 7))  # whatever was drawn before
        losses.append(float(_step(network).update(_batch(), torch.optim.SGD(network.parameters(), 0.1), seed)))
    assert losses[0] == losses[1] != losses[2]


@pytest.fixture
def _patches() -> Iterator[None]:
    with classroom.in_memory():
        yield


@pytest.mark.usefixtures("_patches")
def test_a_training_that_runs_out_of_memory_goes_on_and_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "build", lambda *_: Small(3))
    lines: list[str] = []
    product = training.train(classroom.published(home), classroom.experiment(epochs=2), home, progress=lines.append)
    assert product.json("summary.json")["accumulate"] == 4
    assert [line for line in lines if line.startswith("out of memory")] == [
        "out of memory: from now on a batch of 8 passes in 2 micro-batches",
        "out of memory: from now on a batch of 8 passes in 4 micro-batches",
    ]
    assert np.isfinite([row["loss"] for row in product.json("history.json")]).all()


def test_processes_that_share_statistics_do_not_split_on_the_way() -> None:
    network = Small(2)
    network.layers.append(nn.SyncBatchNorm(3))
    with pytest.raises(RecipeError, match=r"a batch of 6 in 1 micro-batch does not fit.*set `accumulate: 2`"):
        _step(network).update(_batch(), None, seed=0)
