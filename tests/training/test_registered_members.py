"""Ensembles of registered versions: found by number, refused with what there is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from landcover_orch import config, tracking
from landcover_orch.errors import TrackingError
from landcover_orch.store.publish import Product
from landcover_orch.tracking.registry import product_of
from landcover_orch.training.product import train
from tests.training import classroom


@pytest.fixture
def trained(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Product]:
    """A registered model, the first version of its dataset."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with classroom.in_memory():
        product = train(classroom.published(home), classroom.experiment(epochs=1), home)
        tracking.register(product, classroom.manifest(), home)
        yield product


def test_a_version_leads_to_its_product_and_becomes_a_member(
    trained: Product, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = f"models:/{classroom.NAME}/1"
    assert product_of(version, home).fingerprint == trained.fingerprint
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(home / "configs"))
    (home / "configs" / "experiments").mkdir(parents=True)
    recipe = {"name": "alone", "model": {"name": "ensemble", "members": [version]}, "device": "cpu"}
    (home / "configs" / "experiments" / "alone.yaml").write_text(yaml.safe_dump(recipe))
    product = train(classroom.published(home), config.load_experiment("alone"), home)
    assert product.recipe.inputs[f"member {version}"] == trained.fingerprint
    registered = tracking.register(product, classroom.manifest(), home)
    assert product_of(f"models:/{classroom.NAME}/{registered.version}", home).fingerprint == product.fingerprint


def test_a_version_that_is_not_there_is_refused(trained: Product, home: Path) -> None:
    for version, text in (
        (f"models:/{classroom.NAME}/7", rf"versions \[1\] of {classroom.NAME}"),
        ("models:/elsewhere/1", r"versions \[\] of elsewhere"),
        (f"models:/{classroom.NAME}/latest", "not a registered version"),
    ):
        with pytest.raises(TrackingError, match=text):
            product_of(version, home)
