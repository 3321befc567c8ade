"""What training minimises: functions of logits and class arrays that leave ignored pixels out.

All take logits (n, class, y, x) of any floating dtype, compute in float32, and give exactly zero gradient to pixels
that do not count: those of 255, and those of a class whose weight is 0. Where no pixel counts, loss and gradient are 0.
`proportions` counts other pixels: those of polygons that have no class but shares of several.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from landcover_orch.config.experiments import Loss, losses
from landcover_orch.legend import IGNORE

LEAST = 1e-7
"""Smallest 1 - p that focal loss tells from 0: below it a power has no finite slope."""


class Objective(nn.Module):
    """The weighted sum of an experiment's losses, on whatever device it is moved to."""

    def __init__(
        self,
        terms: Sequence[Loss],
        weights: Sequence[tuple[float, ...] | None] = (),
        shares: NDArray[np.float32] | None = None,
    ) -> None:
        """Of each term its settings, and its class weights (None, or none at all: 1 each).

        `shares` (row, class) are those of polygons, for proportions.
        """
        super().__init__()
        self.terms = tuple(terms)
        self.shares: Tensor | None
        self.register_buffer("shares", None if shares is None else torch.from_numpy(shares), persistent=False)
        for i, given in enumerate(weights or [None] * len(self.terms)):
            self.register_buffer(f"weights_{i}", None if given is None else torch.tensor(given), persistent=False)

    def forward(
        self, logits: Tensor, label: Tensor, whole: Tensor | None = None, polygon: Tensor | None = None
    ) -> Tensor:
        """The loss of a batch, or the share that a part of it has in the loss of the whole.

        Cross-entropy, focal and generalised cross-entropy are means over pixels, proportions over the polygons of each
        patch by their pixels, so the shares of a batch's parts add up to the loss of the whole. Jaccard and Dice are
        ratios over the pixels of a batch: there the parts' losses are averaged, each by its labelled pixels, which is
        not the same.

        Args:
            logits: (n, class, y, x).
            label: (n, y, x) uint8, 255 where nothing is labelled.
            whole: the `masses` of the whole batch where `label` is a part of it.
            polygon: (n, y, x) int32 rows of `shares`, 0 for none; where one of the losses is of proportions.
        """
        shares = None if whole is None else self.masses(label, polygon) / whole.where(whole > 0, 1)
        total = logits.new_zeros((), dtype=torch.float32)
        for i, term in enumerate(self.terms):
            if isinstance(term, losses.Proportions):
                value = term.weight * proportions(logits, label, *self._declared(polygon))
            else:
                value = term.weight * one(term, logits, label, getattr(self, f"weights_{i}"))
            total = total + (value if shares is None else value * shares[i])
        return total

    def masses(self, label: Tensor, polygon: Tensor | None = None) -> Tensor:
        """(term,) What each loss divides by: the weights of the pixels that count, summed; of parts they add up."""
        return torch.stack([self._mass(i, label, polygon) for i in range(len(self.terms))])

    def _mass(self, term: int, label: Tensor, polygon: Tensor | None) -> Tensor:
        if isinstance(self.terms[term], losses.Proportions):
            return by_shares(label, self._declared(polygon)[0]).float().sum()
        weights = getattr(self, f"weights_{term}")
        return _pixel_weights(_target(label, weights), weights).sum()

    def _declared(self, polygon: Tensor | None) -> tuple[Tensor, Tensor]:
        if polygon is None or self.shares is None:
            raise ValueError("a loss of proportions needs polygons and their shares")
        return polygon, self.shares


def one(term: Loss, logits: Tensor, label: Tensor, weights: Tensor | None = None) -> Tensor:
    """One loss (its factor left aside) of a batch; shapes as for `Objective`, weights one a class."""
    target = _target(label, weights)
    if isinstance(term, losses.Jaccard | losses.Dice):
        return _overlap(logits, target, weights, twice=isinstance(term, losses.Dice))
    logs = F.log_softmax(logits.float(), dim=1)
    each = F.nll_loss(logs, target, ignore_index=IGNORE, reduction="none")
    weight = _pixel_weights(target, weights)
    total = (_pixelwise(term, each) * weight).sum()
    if isinstance(term, losses.CrossEntropy) and term.label_smoothing:
        total = torch.lerp(total, _spread(logs, target, weights), term.label_smoothing)
    mass = weight.sum()
    return total / mass.where(mass > 0, 1)


def proportions(logits: Tensor, label: Tensor, polygon: Tensor, shares: Tensor) -> Tensor:
    """How far the mean prediction over each polygon is from what is declared of it: learning from label proportions.

    L = sum_k n_k KL(s_k || m_k) / sum_k n_k, with KL(s || m) = sum_c s_c ln(s_c / m_c) and m_k = sum_i p_i / n_k: p the
    softmax, i the n_k pixels that polygon k has in one patch, s_k its shares. The divergence of a bag's mean prediction
    from its label proportions is that of Ardehaly and Culotta 2017 (arXiv:1709.04108); bags weigh by their pixels,
    which is ours, as polygons are of any size and patches cut them. What is declared of the whole polygon is taken to
    hold for the part that a patch shows.

    Args:
        logits: (n, class, y, x).
        label: (n, y, x) uint8; only pixels of 255 count here, so that none is learnt from twice.
        polygon: (n, y, x) rows of `shares`, 0 for none.
        shares: (row, class), each row but 0 with a sum of 1.
    """
    patch, y, x = torch.nonzero(by_shares(label, polygon), as_tuple=True)
    row = polygon[patch, y, x].long()
    bags, bag = torch.unique(patch * len(shares) + row, return_inverse=True)
    logs = F.log_softmax(logits.float(), dim=1)[patch, :, y, x]
    pixels = torch.bincount(bag, minlength=len(bags)).float()
    declared = shares[bags % len(shares)]
    each = (torch.xlogy(declared, declared) - declared * _log_means(logs, bag, pixels)).sum(dim=1)
    return (each * pixels).sum() / pixels.sum().clamp(min=1)


def by_shares(label: Tensor, polygon: Tensor) -> Tensor:
    """Which pixels count by the shares of their polygon: those of one that have no class of their own."""
    return (polygon > 0) & (label == IGNORE)


def _log_means(logs: Tensor, bag: Tensor, pixels: Tensor) -> Tensor:
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


def _pixelwise(term: Loss, each: Tensor) -> Tensor:
    """Loss of each pixel from its -log p, which is 0 where the pixel does not count; there all of these are 0.

    Focal: -(1 - p)^gamma log p (Lin et al. 2017, arXiv:1708.02002, without alpha: class weights do that).
    Generalised cross-entropy: (1 - p^q) / q (Zhang and Sabuncu 2018, arXiv:1805.07836).
    """
    if isinstance(term, losses.Focal):
        return each * (-torch.expm1(-each)).clamp(min=LEAST) ** term.gamma
    if isinstance(term, losses.GeneralisedCrossEntropy):
        return -torch.expm1(-term.q * each) / term.q
    return each


def _spread(logs: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    """Sum over pixels of the mean over classes of -w log p: cross-entropy with a target that is equal for all."""
    weighted = logs if weights is None else logs * weights[:, None, None]
    return -weighted.mean(dim=1).masked_fill(target == IGNORE, 0).sum()


def _overlap(logits: Tensor, target: Tensor, weights: Tensor | None, *, twice: bool) -> Tensor:
    """1 - soft IoU, or if `twice` 1 - soft Dice, mean (weighted) over the classes that the batch's labels hold.

    With p the softmax and t the label as 0 or 1, over all pixels that count: I = sum p t, and I / (sum p + sum t - I)
    or 2 I / (sum p + sum t). A class that no label holds has I = 0 whatever the network says, and so no gradient; it
    is left out of the mean. What is wrongly given to it lowers p of the classes that were right.
    """
    counts = (target != IGNORE)[:, None]
    shares = logits.float().softmax(dim=1) * counts
    truth = F.one_hot(target.masked_fill(target == IGNORE, 0), logits.shape[1]).movedim(-1, 1) * counts
    both, predicted, actual = (part.sum(dim=(0, 2, 3)) for part in (shares * truth, shares, truth))
    occurs = actual > 0
    whole = (predicted + actual) / 2 if twice else predicted + actual - both
    ratio = both / whole.where(occurs, 1)
    weight = occurs.float() * (1 if weights is None else weights)
    total = weight.sum()
    return ((1 - ratio) * weight).sum() / total.where(total > 0, 1)
