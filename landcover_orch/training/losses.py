"""Loss functions of logits and class arrays that leave ignored pixels out.

All take logits (n, class, y, x) of any floating dtype, compute in float32, and give exactly zero gradient to pixels
that do not count: those of 255, and those of a class whose weight is 0. Where no pixel counts, loss and gradient are 0.
`proportions` counts other pixels: those of polygons that have no class but fractions of several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import assert_never

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from landcover_orch import config, custom
from landcover_orch.config.experiments import Loss, losses
from landcover_orch.errors import CodeError, Problem
from landcover_orch.legend import IGNORE

LEAST = 1e-7
"""Smallest 1 - p of focal loss: below it a power has no finite slope."""


CustomFunction = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""A custom loss: logits (n, class, y, x) float32, label (n, y, x) int64 with 255 where a pixel does not count, and the
classes' weights (class,), or None -> the mean over the pixels that count, a number."""


class Objective(nn.Module):
    """The weighted sum of an experiment's losses, on whatever device it is moved to."""

    def __init__(
        self,
        terms: Sequence[Loss],
        weights: Sequence[tuple[float, ...] | None] = (),
        fractions: NDArray[np.float32] | None = None,
        code: Path | None = None,
    ) -> None:
        """Of each term its settings, and its class weights (None, or none at all: 1 each).

        `fractions` (row, class) are those of polygons, for proportions; `code` is the folder of custom code, by default
        that of the configurations.

        Raises:
            CodeError: a custom loss is switched off, or cannot be built.
        """
        super().__init__()
        self.terms = tuple(terms)
        self.custom: dict[int, CustomFunction] = {
            i: custom.create(term, code or config.code_folder())
            for i, term in enumerate(self.terms)
            if isinstance(term, losses.CustomLoss)
        }
        self.custom_modules = nn.ModuleList(each for each in self.custom.values() if isinstance(each, nn.Module))
        self.fractions: Tensor | None
        self.register_buffer("fractions", None if fractions is None else torch.from_numpy(fractions), persistent=False)
        for i, values in enumerate(weights or [None] * len(self.terms)):
            self.register_buffer(f"weights_{i}", None if values is None else torch.tensor(values), persistent=False)

    def forward(
        self, logits: Tensor, label: Tensor, batch_masses: Tensor | None = None, polygon: Tensor | None = None
    ) -> Tensor:
        """The loss of a batch, or the part that a micro-batch has in the loss of the whole batch.

        Cross-entropy, focal and generalised cross-entropy are means over pixels, proportions over the polygons of each
        patch by their pixels, so the micro-batches' parts add up to the loss of the batch. Jaccard and Dice are ratios
        over the pixels of a batch: there the micro-batches' losses are averaged, each by its labelled pixels, which is
        not the same. A custom loss is taken to be a mean over pixels.

        Args:
            logits: (n, class, y, x).
            label: (n, y, x) uint8, 255 where nothing is labelled.
            batch_masses: the `masses` of the whole batch where `label` is a micro-batch of it.
            polygon: (n, y, x) int32 rows of `fractions`, 0 for none; where one of the losses is of proportions.
        """
        ratios = None if batch_masses is None else self.masses(label, polygon) / batch_masses.where(batch_masses > 0, 1)
        total = logits.new_zeros((), dtype=torch.float32)
        for i, term in enumerate(self.terms):
            match term:
                case losses.Proportions():
                    value = proportions(logits, label, *self._declared(polygon))
                case losses.CustomLoss():
                    value = custom_value(term, self.custom[i], logits, label, getattr(self, f"weights_{i}"))
                case _:
                    value = term_value(term, logits, label, getattr(self, f"weights_{i}"))
            value = term.weight * value
            total = total + (value if ratios is None else value * ratios[i])
        return total

    def masses(self, label: Tensor, polygon: Tensor | None = None) -> Tensor:
        """(term,) Divisors of the losses: the summed weights of the pixels that count; of micro-batches they add up."""
        masses = []
        for i, term in enumerate(self.terms):
            match term:
                case losses.Proportions():
                    masses.append(soft_label_mask(label, self._declared(polygon)[0]).float().sum())
                case _:
                    weights = getattr(self, f"weights_{i}")
                    masses.append(_pixel_weights(_target(label, weights), weights).sum())
        return torch.stack(masses)

    def _declared(self, polygon: Tensor | None) -> tuple[Tensor, Tensor]:
        if polygon is None or self.fractions is None:
            raise ValueError("a loss of proportions needs polygons and their class fractions")
        return polygon, self.fractions


def term_value(term: losses.LabelLoss, logits: Tensor, label: Tensor, weights: Tensor | None = None) -> Tensor:
    """Value of one loss (without its factor) of a batch; shapes as for `Objective`, weights one a class."""
    target = _target(label, weights)
    match term:
        case losses.CrossEntropy() | losses.Focal() | losses.GeneralisedCrossEntropy():
            return mean_pixel_loss(term, logits, target, weights)
        case losses.Jaccard():
            return overlap_loss(logits, target, weights, twice=False)
        case losses.Dice():
            return overlap_loss(logits, target, weights, twice=True)
        case _:
            assert_never(term)


def mean_pixel_loss(term: losses.PixelLoss, logits: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of a pixel-wise loss over the pixels that count, each by the weight of its class."""
    logs = F.log_softmax(logits.float(), dim=1)
    each = F.nll_loss(logs, target, ignore_index=IGNORE, reduction="none")
    weight = _pixel_weights(target, weights)
    total = (pixel_loss(term, each) * weight).sum()
    if isinstance(term, losses.CrossEntropy) and term.label_smoothing:
        total = torch.lerp(total, uniform_cross_entropy(logs, target, weights), term.label_smoothing)
    mass = weight.sum()
    return total / mass.where(mass > 0, 1)


def custom_value(
    term: losses.CustomLoss, function: CustomFunction, logits: Tensor, label: Tensor, weights: Tensor | None
) -> Tensor:
    """Value of a custom loss of a batch, without its factor; 0 without a call where no pixel counts.

    Raises:
        CodeError: it is no number.
    """
    target = _target(label, weights)
    if not bool((target != IGNORE).any()):
        return (logits.float() * 0).sum()
    value = function(logits.float(), target, weights)
    if not isinstance(value, Tensor) or value.numel() != 1:
        text = f"gives a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"gives {value!r}"[:80]
        fix = "return the mean over the pixels that count"
        raise CodeError(Problem(f"`build: {term.build}`", text, "a tensor of one number", fix))
    return value.float().reshape(())


def proportions(logits: Tensor, label: Tensor, polygon: Tensor, fractions: Tensor) -> Tensor:
    """Learning from label proportions: KL divergence of the mean prediction over each polygon from its class fractions.

    L = sum_k n_k KL(s_k || m_k) / sum_k n_k, with KL(s || m) = sum_c s_c ln(s_c / m_c) and m_k = sum_i p_i / n_k: p the
    softmax, i the n_k pixels that polygon k has in one patch, s_k its fractions. The divergence of a bag's mean
    prediction from its label proportions is that of Ardehaly and Culotta 2017 (arXiv:1709.04108); bags weigh by their
    pixels, which is ours, as polygons are of any size and patches cut them. What is declared of the whole polygon is
    taken to hold for the part that a patch shows.

    Args:
        logits: (n, class, y, x).
        label: (n, y, x) uint8; only pixels of 255 count here, so that none is learnt from twice.
        polygon: (n, y, x) rows of `fractions`, 0 for none.
        fractions: (row, class), each row but 0 with a sum of 1.
    """
    patch, y, x = torch.nonzero(soft_label_mask(label, polygon), as_tuple=True)
    row = polygon[patch, y, x].long()
    bags, bag = torch.unique(patch * len(fractions) + row, return_inverse=True)
    logs = F.log_softmax(logits.float(), dim=1)[patch, :, y, x]
    pixels = torch.bincount(bag, minlength=len(bags)).float()
    declared = fractions[bags % len(fractions)]
    each = (torch.xlogy(declared, declared) - declared * log_mean_probability(logs, bag, pixels)).sum(dim=1)
    return (each * pixels).sum() / pixels.sum().clamp(min=1)


def soft_label_mask(label: Tensor, polygon: Tensor) -> Tensor:
    """Soft-label mask: the pixels that count by their polygon's class fractions, as they have no class of their own."""
    return (polygon > 0) & (label == IGNORE)


def log_mean_probability(logs: Tensor, bag: Tensor, pixels: Tensor) -> Tensor:
    """(bag, class) ln of the mean of p over each bag's pixels, from ln p (pixel, class); finite however small p is."""
    empty = logs.new_full((len(pixels), logs.shape[1]), -torch.inf)
    most = empty.scatter_reduce(0, bag[:, None].expand_as(logs), logs.detach(), "amax")
    sums = torch.zeros_like(most).index_add(0, bag, (logs - most[bag]).exp())
    return sums.log() + most - pixels.log()[:, None]


def _target(label: Tensor, weights: Tensor | None) -> Tensor:
    """Classes as int64, 255 where a pixel does not count."""
    target = label.long()
    if weights is None:
        return target
    unlearnt = F.pad(weights == 0, (0, IGNORE + 1 - len(weights)))
    return target.masked_fill(unlearnt[target], IGNORE)


def _pixel_weights(target: Tensor, weights: Tensor | None) -> Tensor:
    """(n, y, x): the weight of each pixel's class, 0 where it does not count."""
    if weights is None:
        return (target != IGNORE).float()
    return F.pad(weights, (0, IGNORE + 1 - len(weights)))[target]


def pixel_loss(term: losses.PixelLoss, each: Tensor) -> Tensor:
    """Pixel-wise loss from -log p, which is 0 where the pixel does not count; there all of these are 0.

    Focal: -(1 - p)^gamma log p (Lin et al. 2017, arXiv:1708.02002, without alpha: class weights do that).
    Generalised cross-entropy: (1 - p^q) / q (Zhang and Sabuncu 2018, arXiv:1805.07836).
    """
    match term:
        case losses.CrossEntropy():
            return each
        case losses.Focal():
            return each * (-torch.expm1(-each)).clamp(min=LEAST) ** term.gamma
        case losses.GeneralisedCrossEntropy():
            return -torch.expm1(-term.q * each) / term.q
        case _:
            assert_never(term)


def uniform_cross_entropy(logs: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    """Label smoothing: sum over pixels of the mean over classes of -w log p, cross-entropy with a uniform target."""
    weighted = logs if weights is None else logs * weights[:, None, None]
    return -weighted.mean(dim=1).masked_fill(target == IGNORE, 0).sum()


def overlap_loss(logits: Tensor, target: Tensor, weights: Tensor | None, *, twice: bool) -> Tensor:
    """Jaccard or Dice loss: 1 - soft IoU, or if `twice` 1 - soft Dice, weighted mean over the classes in the labels.

    With p the softmax and t the label as 0 or 1, over all pixels that count: I = sum p t, and I / (sum p + sum t - I)
    or 2 I / (sum p + sum t). A class that no label holds has I = 0 whatever the prediction, and so no gradient; it
    is left out of the mean. What is wrongly given to it lowers p of the classes that were right.
    """
    counts = (target != IGNORE)[:, None]
    probabilities = logits.float().softmax(dim=1) * counts
    truth = F.one_hot(target.masked_fill(target == IGNORE, 0), logits.shape[1]).movedim(-1, 1) * counts
    both, predicted, actual = (part.sum(dim=(0, 2, 3)) for part in (probabilities * truth, probabilities, truth))
    occurs = actual > 0
    denominator = (predicted + actual) / 2 if twice else predicted + actual - both
    ratio = both / denominator.where(occurs, 1)
    weight = occurs.float() * (1 if weights is None else weights)
    total = weight.sum()
    return ((1 - ratio) * weight).sum() / total.where(total > 0, 1)
