"""Champion model: of the current one and all challengers, that of the best mean IoU on the same test tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from landcover_orch.config import load_experiment
from landcover_orch.errors import IncompleteError, Problem
from landcover_orch.evaluation import VERSION
from landcover_orch.metrics import confusion
from landcover_orch.metrics.confusion import Matrix
from landcover_orch.models.contract import load_contract
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.store import publish
from landcover_orch.store.products import CHAMPION, REPORT_JSON, SUMMARY
from landcover_orch.store.publish import Product, Recipe, Stage

FILE = "champion.json"


class Champion(BaseModel):
    """Champion model and its score on named test tiles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str
    model: str = Field(description="folder of the model's product, relative to LANDCOVER_HOME")
    fingerprint: str = Field(description="of the model's product")
    data_digest: str = Field(description="digest of the manifest it was trained on")
    test_digest: str = Field(description="of the test tiles and labels of the score")
    mean_iou: float = Field(description="on those tiles, over the classes that occur there")

    def product(self, home: Path) -> Product:
        """The model itself."""
        return publish.load(home / self.model)


def candidate(manifest: DatasetManifest, trained: Product, report: Product, home: Path) -> Champion:
    """Challenger: a freshly reported model; of repetitions the one that validation chose.

    Its score is that on the test split; of a dataset without any, that of its seed's folds together.
    """
    return _scored(manifest, trained, np.array(report.json(REPORT_JSON)["matrix"], np.int64), home)


def _scored(manifest: DatasetManifest, trained: Product, matrix: Matrix, home: Path) -> Champion:
    contract = load_contract(trained.path)
    mean_iou = confusion.summary(matrix, confusion.occurring(matrix))["mean_iou"]
    return Champion(
        experiment=contract.experiment,
        model=trained.path.relative_to(home).as_posix(),
        fingerprint=trained.fingerprint,
        data_digest=contract.data_digest,
        test_digest=manifest.test_digest,
        mean_iou=mean_iou or 0.0,
    )


def rescored(current_champion: Champion, manifest: DatasetManifest, home: Path) -> Champion:
    """Current champion with a score on the manifest's test tiles; predicted anew where they have changed."""
    if current_champion.test_digest == manifest.test_digest:
        return current_champion
    from landcover_orch.evaluation.evaluate import evaluate, tiles_to_predict
    from landcover_orch.prediction.build import build as predict

    trained = current_champion.product(home)
    experiment = load_experiment(current_champion.experiment).model_copy(update={"name": CHAMPION})
    maps = {entry.name: predict(manifest, entry, trained, experiment, home) for entry in tiles_to_predict(manifest)}
    return _scored(manifest, trained, evaluate(manifest, maps, home).pooled, home)


def elect(current_champion: Champion | None, candidates: list[Champion]) -> Champion:
    """Model selection by mean IoU; the current champion stays unless it is beaten.

    All must be scored on the same test tiles.

    Raises:
        IncompleteError: there is nobody to elect.
    """
    models = [*([current_champion] if current_champion else []), *candidates]
    if not models:
        raise IncompleteError(
            Problem("champion", "no report", "one of the current models", "materialise `report` first")
        )
    return max(models, key=lambda model: model.mean_iou)


def build(dataset: str, elected: Champion, home: Path) -> Product:
    """Publishes the election's result as home/<dataset>/champion/champion."""

    def write(stage: Stage) -> None:
        stage.write_json(FILE, elected.model_dump())
        stage.write_json(SUMMARY, elected.model_dump())

    recipe = Recipe(
        asset=CHAMPION,
        version=VERSION,
        inputs={"model": elected.fingerprint},
        configuration={"test_digest": elected.test_digest, "mean_iou": elected.mean_iou},
    )
    return publish.publish(home / dataset / CHAMPION, CHAMPION, recipe, write)


def load(dataset: str, home: Path) -> Champion:
    """The champion of a dataset.

    Raises:
        IncompleteError: there is none yet.
    """
    return Champion.model_validate(publish.current(home / dataset / CHAMPION, CHAMPION).json(FILE))


def find(dataset: str, home: Path) -> Champion | None:
    """The champion of a dataset; None where nobody was elected yet."""
    try:
        return load(dataset, home)
    except IncompleteError:
        return None
