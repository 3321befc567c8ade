"""A champion by a person's word, for tests that need one without an election."""

from __future__ import annotations

from pathlib import Path

from landcover_orch.evaluation import VERSION
from landcover_orch.evaluation.champion import FILE
from landcover_orch.evaluation.decisions import Champion, Decision, record
from landcover_orch.store import publish
from landcover_orch.store.products import CHAMPION, SUMMARY
from landcover_orch.store.publish import Product, Recipe, Stage


def crown(dataset: str, champion: Champion, home: Path) -> Product:
    """Publishes a champion, with the decision that made it one."""

    def write(stage: Stage) -> None:
        for name in (FILE, SUMMARY):
            stage.write_json(name, champion.model_dump())

    decision = Decision(at="2026-01-01T00:00:00+00:00", by="person", champion=champion, reason="a test says so")
    record(dataset, decision, home)
    recipe = Recipe(CHAMPION, VERSION, {"model": champion.fingerprint}, {"mean_iou": champion.mean_iou})
    return publish.publish(home / dataset / CHAMPION, CHAMPION, recipe, write)
