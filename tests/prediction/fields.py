"""Small random fields, and the least energy of tiny ones by trying every labelling."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from landcover_orch.config.experiments.prediction import GraphCut
from landcover_orch.prediction.potts import Field, field

SEEDS = st.integers(0, 2**32 - 1)


def random_field(seed: int, classes: int, shape: tuple[int, int], prior: Any, *, holes: float = 0.0) -> Field:
    """Data costs of noise, an image of noise, and pixels without data here and there."""
    random = np.random.default_rng(seed)
    costs = random.integers(0, 120, (classes, *shape)).astype(np.uint8)
    valid = random.random(shape) >= holes
    return field(costs, valid, prior, random.normal(size=(2, *shape)).astype(np.float32))


def least_energy(mrf: Field) -> int:
    """The global optimum."""
    every = product(range(len(mrf.unary_costs)), repeat=mrf.valid.size)
    return min(mrf.energy(np.array(labels, np.uint8).reshape(mrf.shape)) for labels in every)


def lone_pixel(classes: int = 3, side: int = 9) -> NDArray[np.uint8]:
    """Costs (class, y, x) of a field that is sure of class 0, but for its middle, which is sure of class 1."""
    costs = np.full((classes, side, side), 255, np.uint8)
    costs[0] = 0
    costs[:2, side // 2, side // 2] = 255, 0
    return costs


PRIORS = st.builds(
    GraphCut,
    beta=st.floats(0, 3),
    neighbours=st.sampled_from([4, 8]),
    sigma=st.sampled_from([None, 0.5, 1.0]),
)
