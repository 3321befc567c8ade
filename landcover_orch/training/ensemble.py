"""Ensemble of trained models: its network, and its score on the validation split. Nothing is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from landcover_orch.config.experiments.models import Ensemble
from landcover_orch.legend import IGNORE
from landcover_orch.models import ensemble
from landcover_orch.models.contract import Member, load_contract
from landcover_orch.models.networks import Normalised, load
from landcover_orch.store.publish import Product
from landcover_orch.training import history
from landcover_orch.training.history import Tally, TrainingHistory
from landcover_orch.training.loader import in_order
from landcover_orch.training.task import EpochCallback, Task

BATCH = 8
"""Patches scored at a time."""

Products = Mapping[str, Product]


def contract_members(products: Products) -> tuple[Member, ...]:
    """The members as the ensemble's contract records them."""
    contracts = {name: load_contract(product.path) for name, product in products.items()}
    return tuple(
        Member(
            experiment=contract.experiment,
            fingerprint=products[name].fingerprint,
            model=contract.model,
            mean=contract.mean,
            std=contract.std,
            fold=contract.fold,
        )
        for name, contract in contracts.items()
    )


def assemble(products: Products, settings: Ensemble, mean: Sequence[float], std: Sequence[float]) -> Normalised:
    """The ensemble's network: members behind the present band statistics, each renormalised to its own."""
    loaded = [load(product.path) for product in products.values()]
    statistics = [(contract.mean, contract.std) for _, contract in loaded]
    networks = [
        ensemble.with_input_statistics(module.network, each, (mean, std))
        for (module, _), each in zip(loaded, statistics, strict=True)
    ]
    return Normalised(ensemble.Ensemble(settings, networks), mean, std).eval()


def score(task: Task, model: Normalised, on_epoch: EpochCallback) -> TrainingHistory:
    """Scores an ensemble on the validation split: one row and its seconds; `model` is back on the CPU afterwards."""
    began, tally, total_loss = time.perf_counter(), Tally(len(task.classes)), 0.0
    model.to(task.device.kind)
    for indices in in_order(np.arange(len(task.validation)), BATCH):
        image, label = task.validation.take(indices)
        with torch.inference_mode(), torch.autocast(task.device.kind, torch.bfloat16, task.device.bfloat16):
            logits = model(torch.from_numpy(np.ascontiguousarray(image)).to(task.device.kind)).float().cpu()
        tally.add(label, logits.argmax(1).to(torch.uint8).numpy())
        target = torch.from_numpy(label.astype(np.int64))
        total_loss += float(torch.nn.functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum"))
    model.cpu()
    row = history.row(1, None, total_loss / max(int(tally.matrix.sum()), 1), tally, task.classes, None)
    seconds = time.perf_counter() - began
    on_epoch(row, seconds)
    return TrainingHistory([row], [seconds])
