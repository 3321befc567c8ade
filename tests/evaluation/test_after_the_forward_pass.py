"""What is said of ensembles, symmetries and smoothing where maps are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landcover_orch.config.experiments import Experiment, models
from landcover_orch.evaluation import leaderboard
from landcover_orch.models.contract import Member, load_contract
from landcover_orch.store import publish
from landcover_orch.store.publish import Product, Recipe
from tests.evaluation.scored import EXPERIMENT, Scored, scored

TOGETHER = Experiment.model_validate(
    {
        "name": "together",
        "model": {"name": "ensemble", "members": ["one", "other"], "combine": "vote"},
        "prediction": {"tta": 8, "smoothing": {"name": "icm", "beta": 2}},
    }
)


@pytest.fixture
def scene(home: Path) -> Scored:
    labels = (np.arange(400) % 7 > 3).astype(np.uint8).reshape(20, 20)
    return scored(home, {"a": labels}, {"a": labels}, names=("field", "forest"))


def _ensemble(scene: Scored) -> Product:
    members = tuple(Member(experiment=n, fingerprint="f", model=models.UNet(width=8)) for n in ("one", "other"))
    changed = {"model": TOGETHER.model, "members": members, "experiment": TOGETHER.name}
    contract = load_contract(scene.model.path).model_copy(update=changed)

    def write(stage: publish.Stage) -> None:
        contract.save(stage.path)
        stage.write_json("summary.json", {"parameters": 24690, "epochs": 1})

    return publish.publish(
        scene.home / "scored" / "model", TOGETHER.name, Recipe("test", 1, {}, {"of": "members"}), write
    )


def test_the_page_names_the_members_and_what_followed(scene: Scored) -> None:
    report = scene.report(TOGETHER, _ensemble(scene))
    page = report.file("index.html").read_text(encoding="utf-8")
    assert "votes of one (unet, width 8), other (unet, width 8)" in page
    assert "test-time augmentation over all 8 symmetries of the square; then smoothed by icm, beta 2.0" in page
    assert "adam" not in page
    assert "1 epochs" not in page


def test_the_leaderboard_compares_them_with_plain_maps(scene: Scored) -> None:
    trained = {"small": {"small": scene.model}, "together": {"together": _ensemble(scene)}}
    reports = {
        experiment.name: scene.report(experiment, trained[experiment.name][experiment.name])
        for experiment in (EXPERIMENT, TOGETHER)
    }
    product = leaderboard.build(scene.manifest, reports, trained, scene.home)
    rows = {row["experiment"]: row for row in product.json("summary.json")["leaderboard"]}
    assert rows["small"]["prediction"] == "window 256, stride 192"
    assert rows["together"]["prediction"] == "window 256, stride 192, tta 8, smoothing (icm, beta 2.0)"
    assert rows["together"]["model"] == "ensemble, members one/other, combine vote"
    assert rows["together"]["epochs"] is None
    assert "stride 192, tta 8, smoothing (icm, beta 2.0)" in product.file("index.html").read_text("utf-8")
