"""The base installation, without the extra `zoo`."""

from __future__ import annotations

import sys

import pytest

from landcover_orch.config.experiments import models
from landcover_orch.errors import TrainingError
from landcover_orch.models import networks


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(TrainingError, match=r"pip install 'landcover-orch\[zoo\]'"):
        networks.build(models.Zoo(), 3, 2)
