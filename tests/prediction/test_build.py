"""Maps: against a dumb oracle, and the same bits however they were computed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from landcover_orch import custom, raster
from landcover_orch.config.experiments.models import CustomNetwork
from landcover_orch.errors import ContractError, IncompleteError, RasterError
from landcover_orch.grid import Window, windows
from landcover_orch.models import networks
from landcover_orch.prediction.blend import STEPS, UNIT, profile
from landcover_orch.prediction.build import predict
from landcover_orch.prediction.source import ImageSource
from landcover_orch.store import publish
from landcover_orch.store.publish import Product, Recipe, Stage
from tests import custom_code
from tests.prediction.untrained import CONTRACT, LEGEND, experiment, model, module, noise, source

SMALL = 40_000
"""A memory budget so small that every band is one block wide."""


def _pixels(product: Product, name: str) -> np.ndarray[Any, Any]:
    band = raster.inspect(product.file(name))
    with raster.reader(band, nodata="none") as reader:
        return reader.read(Window(0, 0, *band.shape))[0]


def _oracle(image: np.ndarray[Any, Any], size: int, stride: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Classes and the highest blended probability, in floating point, everything in memory."""
    shape = (image.shape[1], image.shape[2])
    sums, weights = np.zeros((len(LEGEND.classes), *shape)), np.zeros(shape)
    weight = profile(size)[:, None] * profile(size)
    for window in windows(shape, size, stride):
        with torch.inference_mode():
            logits = module()(torch.from_numpy(np.ascontiguousarray(image[:, *window.slices]))[None])[0]
        sums[:, *window.slices] += torch.softmax(logits.double(), 0).numpy() * weight
        weights[window.slices] += weight
    return sums.argmax(axis=0), sums.max(axis=0) / weights


def test_the_map_is_the_blend_of_all_windows(tmp_path: Path) -> None:
    image = noise((90, 110))
    product = predict(model(tmp_path), source(tmp_path / "a.tif", image), tmp_path / "out", "a", experiment())
    classes, confidence = _oracle(image, 32, 24)
    assert (_pixels(product, "class.tif") == classes).mean() > 0.999
    assert np.abs(_pixels(product, "confidence.tif") / STEPS - confidence).max() < 0.6 / STEPS + 10 / UNIT
    assert len(np.unique(classes)) > 2


@pytest.mark.parametrize("more", [{"precision": "float32"}, {"precision": "bfloat16"}, {"tta": 8}], ids=str)
def test_bits_depend_on_neither_batches_nor_memory(tmp_path: Path, more: dict[str, Any]) -> None:
    height, stride = (110, 64) if "tta" in more else (560, 48)
    image, trained = source(tmp_path / "a.tif", noise((height, 1100))), model(tmp_path)
    products = [
        predict(
            trained, image, tmp_path / f"{batch}-{budget}", "a", experiment(64, stride, batch, **more), budget=budget
        )
        for batch, budget in ((8, 2**27), (1, 2**27), (3, SMALL), (7, 2_000_000))
    ]
    assert all(product.files == products[0].files for product in products)


def test_blocks_of_the_file_do_not_change_the_map(tmp_path: Path) -> None:
    image, trained = noise((150, 200)), model(tmp_path)
    profiles: list[dict[str, Any]] = [{}, {"tiled": True, "blockxsize": 64, "blockysize": 32}, {"compress": "zstd"}]
    hashes = {
        predict(trained, source(tmp_path / f"{i}.tif", image, **p), tmp_path / "out", f"t{i}", experiment()).files[
            "class.tif"
        ]["sha256"]
        for i, p in enumerate(profiles)
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("shape", [(1, 1), (20, 50), (31, 33), (700, 5)])
def test_tiles_of_any_shape_are_covered(tmp_path: Path, shape: tuple[int, int]) -> None:
    product = predict(
        model(tmp_path), source(tmp_path / "a.tif", noise(shape)), tmp_path / "out", "a", experiment(), budget=SMALL
    )
    assert _pixels(product, "class.tif").shape == shape
    assert _pixels(product, "class.tif").max() < len(LEGEND.classes)
    assert product.json("summary.json")["predicted_pixels"] == shape[0] * shape[1]


def test_nodata_stays_without_a_class(tmp_path: Path) -> None:
    image = noise((60, 80))
    image[:, 10:20, 30:50] = 0
    product = predict(model(tmp_path), source(tmp_path / "a.tif", image, nodata=0), tmp_path / "out", "a", experiment())
    expected = np.zeros((60, 80), bool)
    expected[10:20, 30:50] = True
    for name in ("class.tif", "confidence.tif"):
        assert np.array_equal(_pixels(product, name) == 255, expected)
    summary = product.json("summary.json")
    assert summary["nodata_pixels"] == 200
    assert sum(summary["class_pixels"].values()) == summary["predicted_pixels"] == summary["valid_pixels"] == 4600


def test_the_map_lies_on_the_image_with_names_and_colours(tmp_path: Path) -> None:
    image = source(tmp_path / "a.tif", noise((60, 80)))
    product = predict(model(tmp_path), image, tmp_path / "out", "a", experiment())
    band = raster.inspect(product.file("class.tif"))
    assert band.grid == image.raster.grid
    assert band.nodata == 255
    assert raster.class_names(band.path) == LEGEND.names
    assert all(band.palette[c.id] == c.rgb for c in LEGEND.classes)
    assert {"class.tif", "confidence.tif", "summary.json", "preview.png"} == set(product.files)


def test_an_interrupted_prediction_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, trained = source(tmp_path / "a.tif", noise((1100, 600))), model(tmp_path)
    recipe = experiment(128, 96)
    uninterrupted = predict(trained, image, tmp_path / "whole", "a", recipe, budget=SMALL)
    mark, marked = publish.Stage.mark, []

    def broken(stage: publish.Stage, part: str, *files: Path) -> None:
        mark(stage, part, *files)
        marked.append(part)
        if len(marked) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(publish.Stage, "mark", broken)
    with pytest.raises(KeyboardInterrupt):
        predict(trained, image, tmp_path / "broken", "a", recipe, budget=SMALL)
    resumed = predict(trained, image, tmp_path / "broken", "a", recipe, budget=SMALL)
    assert resumed.files == uninterrupted.files
    assert len(marked) == len(set(marked))


def test_a_raster_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    image = source(tmp_path / "a.tif", noise((60, 80)), resolution=2.0)
    with pytest.raises(ContractError, match=r"resolution 2\.0; expected 1\.0, as in training"):
        predict(model(tmp_path), image, tmp_path / "out", "a", experiment())
    assert not (tmp_path / "out").exists()


def test_code_of_a_model_that_was_changed_is_not_run(code: Path, tmp_path: Path) -> None:
    """Its network predicts by the text that its product was published with, or not at all."""
    custom_code.write(code)
    settings = CustomNetwork.model_validate(custom_code.MODEL)
    contract = CONTRACT.model_copy(update={"model": settings})

    def write(stage: Stage) -> None:
        custom.read(settings, code).write(stage.path / custom.FOLDER)
        networks.save(stage.path, module(contract), contract)

    model = publish.publish(tmp_path / "model", "model", Recipe("model", 1, {}, {}), write)
    image = source(tmp_path / "a.tif", noise((20, 24)))
    predict(model, image, tmp_path / "maps", "a", experiment())
    file = model.path / "code/field_maps/blocks.py"
    file.write_text(file.read_text().replace("GAIN = 1.0", "GAIN = 9.0"))
    with pytest.raises(IncompleteError, match=r"blocks\.py: missing or changed"):
        predict(model, image, tmp_path / "maps", "b", experiment())


def test_a_damaged_raster_is_an_error_that_names_it(tmp_path: Path) -> None:
    image = source(tmp_path / "a.tif", noise((400, 400)))
    path = tmp_path / "a.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RasterError, match=r"a\.tif"):
        predict(model(tmp_path), image, tmp_path / "out", "a", experiment())
    assert not list((tmp_path / "out").glob("a-*"))


def test_another_model_is_another_map(tmp_path: Path) -> None:
    image: ImageSource = source(tmp_path / "a.tif", noise((40, 40)))
    first = predict(model(tmp_path), image, tmp_path / "out", "a", experiment())
    other = predict(model(tmp_path), image, tmp_path / "out", "a", experiment(stride=16))
    assert first.fingerprint != other.fingerprint
    assert publish.current(tmp_path / "out", "a").path == other.path


def test_a_map_says_which_year_it_shows(tmp_path: Path) -> None:
    trained, undated = model(tmp_path), source(tmp_path / "a.tif", noise((40, 40)))
    maps = {
        year: predict(trained, replace(undated, year=year), tmp_path / "out", f"t{year}", experiment())
        for year in (None, 2019, 2024)
    }
    for year, product in maps.items():
        assert [raster.year(product.file(name)) for name in ("class.tif", "confidence.tif")] == [year, year]
        assert product.json("summary.json").get("year") == year
    assert len({product.fingerprint for product in maps.values()}) == 3
    assert (_pixels(maps[2019], "class.tif") == _pixels(maps[None], "class.tif")).all()
