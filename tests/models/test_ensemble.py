"""Members' answers as one network's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from landcover_orch.config.experiments import models
from landcover_orch.models.contract import Member
from landcover_orch.models.ensemble import TIE, Ensemble
from landcover_orch.models.networks import Normalised, load, save
from tests.prediction.untrained import CONTRACT, module


class _Says(nn.Module):
    """The same probabilities at every pixel."""

    def __init__(self, *shares: float) -> None:
        super().__init__()
        self.shares = torch.tensor(shares)

    def forward(self, x: Tensor) -> Tensor:
        return self.shares.log()[None, :, None, None].expand(len(x), -1, *x.shape[-2:]).clone()


def _settings(combine: Any) -> models.Ensemble:
    return models.Ensemble(members=("a", "b", "c"), combine=combine)


def _shares(combine: str, *members: tuple[float, ...]) -> list[float]:
    together = Ensemble(_settings(combine), [_Says(*shares) for shares in members])
    probabilities: Tensor = together(torch.zeros(2, 4, 3, 5)).softmax(1)
    assert probabilities.shape == (2, 3, 3, 5)
    # every pixel alike, to float32's last place: processors without AVX-512 take the last pixels of a row one by one
    torch.testing.assert_close(probabilities, probabilities[:1, :, :1, :1].expand_as(probabilities), rtol=2e-7, atol=0)
    return list(probabilities[0, :, 0, 0].tolist())


MEMBERS = ((0.5, 0.3, 0.2), (0.1, 0.8, 0.1), (0.4, 0.25, 0.35))


def test_the_mean_of_the_probabilities() -> None:
    assert _shares("mean", *MEMBERS) == pytest.approx([1 / 3, 0.45, 0.65 / 3], abs=1e-6)


def test_a_vote_counts_heads_not_how_sure_they_are() -> None:
    assert _shares("vote", *MEMBERS) == pytest.approx([2 / 3, 1 / 3, 0], abs=TIE)


def test_the_probabilities_decide_between_as_many_votes_and_nothing_else() -> None:
    first, second, _ = _shares("vote", (0.51, 0.49, 0.0), (0.0, 0.9, 0.1))
    assert (first, second) == pytest.approx((0.5, 0.5), abs=TIE)
    assert second > first
    sure = (0.0, 1.0, 0.0)
    outvoted = _shares("vote", *[(0.34, 0.33, 0.33)] * 32, *[sure] * 31)
    assert outvoted[0] > outvoted[1]


def test_one_member_says_what_it_said_alone() -> None:
    assert _shares("mean", (0.7, 0.3, 0.0)) == pytest.approx([0.7, 0.3, 0.0], abs=1e-6)


def test_a_saved_ensemble_answers_as_its_members_did(tmp_path: Path) -> None:
    settings = _settings("mean")
    networks = [module(seed=seed).network for seed in (1, 2, 3)]
    members = tuple(Member(experiment=n, fingerprint="f", model=CONTRACT.model) for n in settings.members)
    contract = CONTRACT.model_copy(update={"model": settings, "members": members})
    together = Normalised(Ensemble(settings, networks), contract.mean, contract.std).eval()
    save(tmp_path, together, contract)
    loaded, loaded_contract = load(tmp_path)
    image = torch.randint(0, 256, (2, 4, 20, 24), dtype=torch.uint8)
    with torch.inference_mode():
        alone = torch.stack([module(seed=seed)(image).softmax(1) for seed in (1, 2, 3)]).mean(0)
        assert torch.allclose(loaded(image).softmax(1), alone, atol=1e-6)
    assert loaded_contract == contract


def test_a_contract_names_the_families_in_it() -> None:
    assert CONTRACT.families == ("unet",)
    kinds = (models.SwinUNet(), models.UNet(), models.SwinUNet(width=48))
    members = tuple(Member(experiment="e", fingerprint="f", model=kind) for kind in kinds)
    together = CONTRACT.model_copy(update={"model": _settings("mean"), "members": members})
    assert together.families == ("swin_unet", "unet")
