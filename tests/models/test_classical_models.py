"""Forests and clusters as modules: what scikit-learn says, on any size, in any arithmetic, stored and served."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter
from sklearn.cluster import MiniBatchKMeans
from sklearn.ensemble import RandomForestClassifier

from landcover_orch import tracking
from landcover_orch.config.experiments import Model, models
from landcover_orch.models import networks, texture
from landcover_orch.tracking.server import known_warnings
from tests.models.test_networks import contract

SMALL: dict[str, dict[str, Any]] = {
    "random_forest": {"trees": 4, "leaves": 8, "texture": [3, 6]},
    "k_means": {"clusters": 6, "texture": [3, 6]},
}
PARAMETERS = {"random_forest": 4 * 15 * (1 + 2), "k_means": 10 + 6 * (10 + 2)}
"""Thresholds and shares of the nodes; scale, centres and shares of the clusters: with 2 bands and 2 classes."""

each_family = pytest.mark.parametrize("family", SMALL)
Features = NDArray[np.float32]
Classes = NDArray[np.uint8]


def small(family: str) -> Model:
    labels: Model = TypeAdapter(Model).validate_python({"name": family, **SMALL[family]})
    return labels


def drawn(seed: int, count: int, features: int, classes: int) -> tuple[Features, Classes]:
    """Rows with ties and repeats, whose class follows from their first feature, mostly."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, features)).round(1).astype(np.float32)
    labels = np.digitize(rows[:, 0], np.linspace(-1, 1, classes - 1)) if classes > 1 else np.zeros(count)
    return rows, np.where(random.random(count) < 0.1, random.integers(0, classes, count), labels).astype(np.uint8)


def learnt(family: str, bands: int = 2, classes: int = 2) -> Any:
    network: Any = networks.build(small(family), bands, classes)
    rows, labels = drawn(0, 400, texture.count(bands, [3, 6]), classes)
    network.learn(rows, labels, np.ones(len(rows)), 0)
    return network.eval()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**16),
    count=st.integers(2, 300),
    bands=st.integers(1, 6),
    classes=st.integers(1, 5),
    trees=st.integers(1, 5),
    leaves=st.integers(2, 64),
    weighted=st.booleans(),
)
def test_a_forest_says_what_scikit_learn_says(
    seed: int, count: int, bands: int, classes: int, trees: int, leaves: int, weighted: bool
) -> None:
    rows, labels = drawn(seed, count, bands, classes)
    weights = np.random.default_rng(seed).random(count) + 0.1 if weighted else np.ones(count)
    network: Any = networks.build(models.RandomForest(trees=trees, leaves=leaves, texture=()), bands, classes)
    network.learn(rows, labels, weights, seed)
    forest = RandomForestClassifier(trees, max_leaf_nodes=leaves, random_state=seed).fit(rows, labels, weights)
    # New rows, and rows that lie on thresholds and next to them.
    edges = np.float32(forest.estimators_[0].tree_.threshold)
    on = np.repeat(np.concatenate([edges, np.nextafter(edges, np.float32(np.inf))])[:, None], bands, 1)
    asked = np.concatenate([rows, drawn(seed + 1, 50, bands, classes)[0], on])
    expected = np.zeros((len(asked), classes))
    expected[:, forest.classes_] = forest.predict_proba(asked)
    np.testing.assert_allclose(network.predict(torch.from_numpy(asked)).numpy(), expected, atol=1e-6)


def test_clusters_are_those_of_scikit_learn_and_named_by_majority() -> None:
    rows, labels = drawn(3, 2000, 4, 3)
    network: Any = networks.build(models.KMeans(clusters=10, texture=()), 4, 3)
    network.learn(rows, labels, np.ones(len(rows)), 7)
    scaled = rows * network.scale.numpy()
    theirs = MiniBatchKMeans(10, random_state=7, batch_size=4096, n_init=3).fit(scaled, sample_weight=np.ones(2000))
    clusters = theirs.predict(scaled)
    assert np.array_equal(network.nearest(torch.from_numpy(rows)).numpy(), clusters)
    majority = np.array([np.bincount(labels[clusters == k], minlength=3).argmax() for k in range(10)])
    predicted = network(torch.from_numpy(rows.T.reshape(1, 4, 40, 50))).max(1).indices.numpy()
    assert np.array_equal(predicted.reshape(-1), majority[clusters])


def test_fewer_pixels_than_clusters() -> None:
    network: Any = networks.build(models.KMeans(clusters=50, texture=()), 2, 3)
    rows = np.array([[0, 0], [0, 1], [5, 5]], np.float32)
    network.learn(rows, np.array([0, 2, 1], np.uint8), np.ones(3), 0)
    assert network.predict(torch.from_numpy(rows)).max(1).indices.tolist() == [0, 2, 1]


@each_family
@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (33, 47), (5, 70)])
def test_any_size_and_bands_give_shares_on_the_inputs_grid(family: str, bands: int, size: tuple[int, int]) -> None:
    logits = learnt(family, bands, classes=3)(torch.rand(2, bands, *size))
    assert logits.shape == (2, 3, *size)
    assert torch.allclose(logits.softmax(1), logits.exp(), atol=1e-6), "logits are logarithms of shares"


@each_family
def test_unfitted_it_knows_nothing(family: str) -> None:
    logits = networks.build(small(family), 2, 4)(torch.rand(1, 2, 9, 9))
    assert torch.allclose(logits.exp(), torch.full((1, 4, 9, 9), 0.25))


@each_family
def test_it_has_as_many_numbers_as_stated(family: str) -> None:
    assert networks.parameters(networks.build(small(family), 2, 2)) == PARAMETERS[family]


@each_family
def test_bfloat16_changes_no_bit(family: str) -> None:
    network, image = learnt(family), torch.randn(2, 2, 20, 20)
    plain = network(image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(network(image), plain)
    assert plain.dtype == torch.float32


@each_family
def test_memory_order_and_neighbours_change_no_bit(family: str) -> None:
    network, images = learnt(family), torch.randn(3, 2, 20, 23)
    alone = network(images[1:2])
    assert torch.equal(network(images)[1:2], alone)
    assert torch.equal(network(images.contiguous(memory_format=torch.channels_last))[1:2], alone)


@settings(max_examples=20)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    windows=st.lists(st.integers(3, 9), max_size=2),
    seed=st.integers(0, 99),
)
def test_texture_is_the_mean_and_deviation_of_each_window(
    height: int, width: int, windows: list[int], seed: int
) -> None:
    image = np.random.default_rng(seed).normal(size=(2, height, width)).astype(np.float32)
    rows = texture.table(torch.from_numpy(image), windows).numpy().reshape(height, width, -1)
    for y, x in ((0, 0), (height - 1, width - 1), (height // 2, width // 2)):
        expected = [image[:, y, x]]
        for side in windows:
            near_y, near_x = (np.arange(side) - (side - 1) // 2 + at for at in (y, x))
            window = image[:, near_y.clip(0, height - 1)][:, :, near_x.clip(0, width - 1)]
            expected += [window.mean((1, 2)), window.std((1, 2))]
        np.testing.assert_allclose(rows[y, x], np.concatenate(expected), atol=2e-3)


def test_texture_does_not_depend_on_where_in_an_image_it_lies() -> None:
    image = torch.randn(1, 3, 60, 60)
    together = texture.features(image, [3, 9])
    part = texture.features(image[..., 7:50, 11:49], [3, 9])
    assert torch.equal(part[..., 4:-5, 4:-5], together[..., 11:45, 15:44])


@each_family
def test_it_is_stored_and_served_like_a_network(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with known_warnings():
        import mlflow.pyfunc

    monkeypatch.setattr(sys, "path", [*sys.path])  # MLflow puts the model's code there
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    described = contract(model=small(family))
    module = networks.Normalised(learnt(family), described.mean, described.std).eval()
    image = np.random.default_rng(0).integers(0, 255, (2, 2, 17, 21), np.uint8)
    networks.save(tmp_path, module, described)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contract.json", "model.safetensors"]
    tracking.export(tmp_path, tmp_path / "served")
    before = module(torch.from_numpy(image)).softmax(1).numpy()
    after = networks.load(tmp_path)[0](torch.from_numpy(image)).softmax(1).numpy()
    assert np.array_equal(after, before)
    served = mlflow.pyfunc.load_model(str(tmp_path / "served")).predict(image)
    np.testing.assert_allclose(served, before, atol=1e-6)
