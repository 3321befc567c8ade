"""Prediction settings of a trained model: those of its experiment's file; where that is gone, of the model's copy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from landcover_orch.config import load_experiment
from landcover_orch.config.experiments import Experiment
from landcover_orch.config.experiments.prediction import Prediction
from landcover_orch.config.experiments.repetitions import base_of
from landcover_orch.config.yamlfile import parse
from landcover_orch.errors import IncompleteError, MissingConfigError
from landcover_orch.models.contract import load_contract
from landcover_orch.store import publish
from landcover_orch.store.products import LAND_COVER_MAP, PREDICTION
from landcover_orch.store.publish import MANIFEST, Product


def experiment_of(model: Product) -> Experiment:
    """The experiment of a model, by which it predicts; where no configuration has it any more, the model's own copy.

    The copy is the model's build recipe. A recipe does not say how whole tiles are predicted, so that this is as in the
    last map that the model made, or the default.

    Raises:
        ConfigError: the experiment's file is invalid, or the copy is of another version.
    """
    name = load_contract(model.path).experiment
    try:
        return load_experiment(name)
    except MissingConfigError:
        copy = {**model.recipe.configuration, "name": base_of(name), "prediction": recorded_prediction(model)}
        return parse(copy, Experiment, str(model.path / MANIFEST)).model_copy(update={"name": name})


def recorded_prediction(model: Product) -> dict[str, Any]:
    """Prediction settings of the last map that a model made; none where it made none."""
    for product in published_maps(model):
        if product.recipe.inputs.get("model") == model.fingerprint:
            configuration = product.recipe.configuration
            return {key: configuration[key] for key in Prediction.model_fields if key in configuration}
    return {}


def published_maps(model: Product) -> Iterator[Product]:
    """The current maps of a model's dataset, the last first: land-cover maps, then those of its experiment."""
    dataset, name = model.path.parents[1], load_contract(model.path).experiment
    for folder in (dataset / LAND_COVER_MAP, dataset / PREDICTION / name):
        links = [link for link in folder.glob("[!.]*") if link.is_symlink() and link.exists()]
        for link in sorted(links, key=lambda link: link.stat().st_mtime, reverse=True):
            try:
                yield publish.load(link.resolve())
            except IncompleteError:
                continue
