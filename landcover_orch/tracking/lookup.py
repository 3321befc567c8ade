"""The product behind a registered version."""

from __future__ import annotations

import re
from pathlib import Path

from landcover_orch.errors import Problem, TrackingError
from landcover_orch.store import publish
from landcover_orch.store.publish import Product
from landcover_orch.tracking.runs import EXPERIMENT, FINGERPRINT
from landcover_orch.tracking.server import reachable


def product_of(version: str, home: Path) -> Product:
    """The product that a registered version (models:/DATASET/VERSION) was made of, below `home`.

    Raises:
        TrackingError: MLflow does not answer, has no such version, or not one of this project's.
        IncompleteError: the product is no longer there, or damaged.
    """
    found = re.fullmatch(r"models:/([A-Za-z0-9_-]+)/([0-9]+)", version)
    expected, fix = "models:/DATASET/VERSION of a model this project registered", "look it up in MLflow (`make ui`)"
    if found is None:
        raise TrackingError(Problem(version, "not a registered version", expected, fix))
    name, number = found.groups()
    with reachable(home, f"looking up {version}") as speaker:
        versions = speaker.search_model_versions(f"name = '{name}'")
    tags = next((dict(v.tags or {}) for v in versions if str(v.version) == number), {})
    if not {EXPERIMENT, FINGERPRINT} <= set(tags):
        known = sorted(int(v.version) for v in versions)
        raise TrackingError(Problem(version, f"versions {known} of {name}", expected, fix))
    return publish.load(home / name / "model" / f"{tags[EXPERIMENT]}-{tags[FINGERPRINT]}")
