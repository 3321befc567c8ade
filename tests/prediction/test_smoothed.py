"""Smoothed maps: the same bits whatever the blocks, and the energies of the tile as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from landcover_orch.config.experiments.prediction import ICM, Annealing, GraphCut
from landcover_orch.grid import Window, blocks
from landcover_orch.prediction import smoothed
from landcover_orch.prediction.blend import STEPS
from landcover_orch.prediction.build import predict
from landcover_orch.prediction.potts import STEPS_A_NAT, field
from landcover_orch.prediction.smoothed import Mosaic, Smoother
from landcover_orch.prediction.smoothing import smooth
from landcover_orch.store import publish
from landcover_orch.store.publish import Stage
from tests.prediction.untrained import CONTRACT, LEGEND, experiment, model, noise, source

SHAPE = (310, 420)
PRIORS = (
    ICM(sweeps=4, sigma=1.0),
    ICM(sweeps=3, neighbours=8),
    Annealing(sweeps=5, sigma=0.7),
    Annealing(sweeps=4, neighbours=8, beta=0.5),
)


def _layers(seed: int = 0) -> NDArray[np.uint8]:
    """A first pass (layer, y, x) of noise with a hole: class, confidence, costs."""
    random = np.random.default_rng(seed)
    costs = random.integers(1, 120, (len(LEGEND.classes), *SHAPE)).astype(np.uint8)
    classes = random.integers(0, len(LEGEND.classes), SHAPE).astype(np.uint8)
    np.put_along_axis(costs, classes[None].astype(int), 0, axis=0)
    layers = np.concatenate([classes[None], random.integers(100, 255, (1, *SHAPE)).astype(np.uint8), costs])
    layers[:, 40:55, 100:160] = 255
    return layers


def _mosaic(folder: Path, layers: NDArray[np.uint8], side: int = 512) -> Mosaic:
    folder.mkdir(parents=True)
    pieces = {w: folder / f"{w.row}-{w.col}.npy" for w in blocks(SHAPE, side, side)}
    for window, path in pieces.items():
        np.save(path, layers[:, *window.slices])
    return Mosaic(pieces)


def _smoother(folder: Path, prior: Any, side: int = 512) -> Smoother:
    image = source(folder / "image.tif", noise(SHAPE))
    return Smoother(_mosaic(folder / "first", _layers(), side), image, CONTRACT, prior, 2**25)


def _run(smoother: Smoother, folder: Path) -> NDArray[np.uint8]:
    folder.mkdir()
    return smoother.run(Stage(folder), folder).read(Window(0, 0, *SHAPE))


@pytest.mark.parametrize("prior", PRIORS, ids=str)
def test_blocks_do_not_change_a_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prior: Any) -> None:
    smoother = _smoother(tmp_path, prior, 170)
    _, margin = smoother.blocks
    results = {}
    for side in (64, 130, 600):
        monkeypatch.setattr(Smoother, "blocks", (side, margin))
        results[side] = _run(smoother, tmp_path / str(side))
    assert (results[600][0] != _layers()[0]).any()
    assert all(np.array_equal(map_, results[600]) for map_ in results.values())


def test_cells_of_a_cut_are_those_of_the_definition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoothed, "CELL", 200)
    monkeypatch.setattr(smoothed, "MARGIN", 24)
    prior, layers = GraphCut(beta=0.5, sweeps=1), _layers()
    results = _run(_smoother(tmp_path, prior, 170), tmp_path / "out")[0]
    for row, col in ((0, 0), (0, 200), (0, 400), (200, 0), (200, 200), (200, 400)):
        rows, cols = (slice(max(a - 24, 0), a + 224) for a in (row, col))
        cell = field(layers[2:, rows, cols], layers[0, rows, cols] != 255, prior)
        inner = tuple(slice(a - s.start, a - s.start + 200) for a, s in zip((row, col), (rows, cols), strict=True))
        expected = smooth(cell, prior, (rows.start, cols.start))[inner]
        assert np.array_equal(results[row : row + 200, col : col + 200], expected)


@pytest.mark.parametrize("prior", [ICM(beta=2.0, neighbours=8), GraphCut(sigma=1.0, sweeps=1)], ids=str)
def test_energies_are_those_of_the_whole_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prior: Any) -> None:
    smoother, layers = _smoother(tmp_path, prior, 170), _layers()
    monkeypatch.setattr(smoothed, "CELL", 150)
    monkeypatch.setattr(smoothed, "LEAST", 64)
    (tmp_path / "out").mkdir()
    second = smoother.run(Stage(tmp_path / "out"), tmp_path / "out")
    image = (noise(SHAPE).astype(np.float32) - 128) / np.float32(70)
    full, after = field(layers[2:], layers[0] != 255, prior, image), second.read(Window(0, 0, *SHAPE))[0]
    expected = full.energy(layers[0]) / STEPS_A_NAT, full.energy(after) / STEPS_A_NAT, int((layers[0] != after).sum())
    assert smoother.energies(second) == pytest.approx(expected, rel=1e-4)
    assert expected[1] < expected[0]


def test_confidence_stays_where_the_class_does_and_is_its_probability_elsewhere(tmp_path: Path) -> None:
    layers = _layers()
    classes, confidence = _run(_smoother(tmp_path, ICM(beta=3.0)), tmp_path / "out")
    same = classes == layers[0]
    assert np.array_equal(confidence[same], layers[1][same])
    other = ~same
    costs = np.take_along_axis(layers[2:], np.minimum(classes, 4)[None].astype(int), 0)[0][other]
    assert np.array_equal(confidence[other], np.rint(STEPS * np.exp(-costs.astype(float) / STEPS_A_NAT)))
    assert np.array_equal(classes == 255, layers[0] == 255)


def _holed() -> NDArray[np.uint8]:
    image = noise((150, 1100))
    image[:, 20:60, 500:600] = 0
    return image


@pytest.mark.parametrize("prior", [ICM(sweeps=3, sigma=1.0), Annealing(sweeps=3), GraphCut(sweeps=1)], ids=str)
def test_memory_does_not_change_a_smoothed_map(tmp_path: Path, prior: Any) -> None:
    image, trained = source(tmp_path / "a.tif", _holed(), nodata=0), model(tmp_path)
    recipe = experiment(64, 64, smoothing=prior)
    results = [predict(trained, image, tmp_path / str(b), "a", recipe, budget=b) for b in (2**27, 3_000_000, 40_000)]
    assert all(product.files == results[0].files for product in results)
    summary = results[0].json("summary.json")
    assert summary["energy_after"] < summary["energy_before"]
    assert 0 < summary["changed_pixels"] < summary["valid_pixels"] == 150 * 1100 - 4000
    assert summary["smoothing"].startswith(prior.name.replace("_", " "))


@pytest.mark.parametrize("solver", [ICM, Annealing, GraphCut])
def test_without_beta_the_map_is_the_unsmoothed_one(tmp_path: Path, solver: Any) -> None:
    image, trained = source(tmp_path / "a.tif", noise((90, 120))), model(tmp_path)
    plain = predict(trained, image, tmp_path / "plain", "a", experiment())
    results = predict(trained, image, tmp_path / "found", "a", experiment(smoothing=solver(beta=0)))
    assert all(results.files[name] == plain.files[name] for name in ("class.tif", "confidence.tif"))
    assert results.json("summary.json")["changed_pixels"] == 0


def test_an_interrupted_smoothing_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, trained = source(tmp_path / "a.tif", noise((530, 300))), model(tmp_path)
    recipe = experiment(128, 128, smoothing=ICM(sweeps=2))
    full = predict(trained, image, tmp_path / "whole", "a", recipe, budget=40_000)
    mark, marked = publish.Stage.mark, []

    def broken(stage: publish.Stage, part: str, *files: Path) -> None:
        mark(stage, part, *files)
        marked.append(part)
        if len([name for name in marked if name.startswith("parts/s")]) == 2 and part.startswith("parts/s"):
            raise KeyboardInterrupt

    monkeypatch.setattr(publish.Stage, "mark", broken)
    with pytest.raises(KeyboardInterrupt):
        predict(trained, image, tmp_path / "broken", "a", recipe, budget=40_000)
    resumed = predict(trained, image, tmp_path / "broken", "a", recipe, budget=40_000)
    assert resumed.files == full.files
    assert len(marked) == len(set(marked))
