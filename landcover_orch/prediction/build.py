"""Prediction of tiles: class and confidence rasters as products, computed part by part and resumed after a kill."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from landcover_orch import custom, raster
from landcover_orch.config import Dataset
from landcover_orch.config.experiments import Experiment
from landcover_orch.grid import Window
from landcover_orch.legend import IGNORE, Legend
from landcover_orch.models.contract import CONTRACT, WEIGHTS, load_contract
from landcover_orch.pages import picture
from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.prediction import VERSION
from landcover_orch.prediction.blend import STEPS
from landcover_orch.prediction.layout import BUDGET, Layout, Run, runs
from landcover_orch.prediction.smoothed import Mosaic, Smoother
from landcover_orch.prediction.source import ImageSource, prefetch, strips
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.products import CLASS_MAP, CONFIDENCE_MAP, LAND_COVER_MAP, PREDICTION, PREVIEW, SUMMARY
from landcover_orch.store.publish import Product, Recipe, Stage, publish
from landcover_orch.tiles import catalogue, imagery
from landcover_orch.tiles.catalogue import image_fingerprint, images_fingerprint
from landcover_orch.tiles.tile import Tile

SMOOTHING = "smoothing.json"
PARTS = "parts"

CACHE = 32 * 2**20
"""GDAL's block cache while predicting: a row of 512-px blocks over the widest tile, several bytes a pixel."""


def build(manifest: DatasetManifest, entry: TileEntry, model: Product, experiment: Experiment, home: Path) -> Product:
    """An experiment's map of a tile of the manifest, for its evaluation; see `predict`."""
    image = _source(manifest.dataset, entry.images, entry.image_fingerprint, entry.year)
    folder, match = home / manifest.dataset.name / PREDICTION / experiment.name, manifest.dataset.radiometry
    others = match is not None and match.reference != entry.name
    reference = catalogue.images_of(manifest.dataset, match.reference) if match and others else ()

    def present() -> str:
        return images_fingerprint((*entry.images, *reference), home / MEMORY)

    return predict(model, image, folder, entry.name, experiment, present=present)


def build_map(dataset: Dataset, tile: Tile, model: Product, experiment: Experiment, home: Path) -> Product:
    """The map of any tile of a dataset, labelled or not, by a model of `experiment`; see `predict`."""
    present = partial(image_fingerprint, tile, home / MEMORY)
    image = _source(dataset, tile.images, present(), tile.year)
    return predict(model, image, home / dataset.name / LAND_COVER_MAP, tile.name, experiment, present=present)


def _source(dataset: Dataset, paths: Sequence[Path], version: str, year: int | None) -> ImageSource:
    return ImageSource(imagery.inspect(dataset, paths), dataset.bands, dataset.dtype, dataset.nodata, version, year)


class Model(Protocol):
    """A trained model: a folder with weights and contract, and a digest of both."""

    @property
    def path(self) -> Path:
        """Where it lies."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of what it was made of, or of its weights."""
        ...


def predict(
    model: Model,
    image: ImageSource,
    folder: Path,
    name: str,
    experiment: Experiment,
    *,
    budget: int = BUDGET,
    present: Callable[[], str] | None = None,
) -> Product:
    """The map of an orthophoto: class.tif and confidence.tif (steps of 1/254) on its grid, 255 where it has no data.

    Both say which year they show (see `raster.year`), where that is known. The bits do not depend on batch size, memory
    budget (in bytes) or interruptions. They may differ between kinds of devices, and in float32 between numbers of
    threads: convolution libraries choose their loops by both.

    Args:
        model: the trained model.
        image: what is mapped.
        folder: that the map is published in.
        name: of the map.
        experiment: how it is predicted.
        budget: memory of predictions under way, in bytes.
        present: fingerprint of the image's files as they are behind the prediction.

    Raises:
        ContractError: the model was not made for this raster; nothing is computed.
    """
    if isinstance(model, Product):
        for file in (CONTRACT, WEIGHTS, *(name for name in model.files if name.startswith(f"{custom.FOLDER}/"))):
            model.verify(file)
    image.require(load_contract(model.path))
    recipe = Recipe(
        asset=PREDICTION,
        version=VERSION,
        inputs={"image": image.fingerprint, "model": model.fingerprint},
        configuration={
            **experiment.prediction.model_dump(mode="json", exclude={"batch_size"}),
            "precision": experiment.precision,
            "nodata": image.nodata,
            "reading": image.raster.read_options,
            **({} if image.year is None else {"year": image.year}),
        },
    )

    def present_recipe() -> Recipe:
        return replace(recipe, inputs={**recipe.inputs, "image": present() if present else image.fingerprint})

    def write(stage: Stage) -> None:
        predict_into(stage, model.path, image, experiment, budget)

    return publish(folder, name, recipe, write, present=present_recipe)


def predict_into(stage: Stage, model: Path, image: ImageSource, experiment: Experiment, budget: int) -> None:
    """Predicts into a stage: parts, smoothing, rasters, summary and preview; steps that are done are skipped."""
    legend, settings = load_contract(model).legend, experiment.prediction
    if not stage.done("maps"):
        layout = Layout(image.raster.shape, settings.window, settings.stride)
        pixel_bytes = image.raster.count * np.dtype(image.dtype).itemsize
        classes = len(legend.classes)
        width = layout.width(classes, pixel_bytes, 2 + classes * (settings.smoothing is not None), budget)
        (stage.path / PARTS).mkdir(exist_ok=True)
        maps = predict_parts(stage, model, image, layout, width, experiment)
        if settings.smoothing:
            smoother = Smoother(maps, image, load_contract(model), settings.smoothing, budget // 2)
            maps = smoother.run(stage, stage.path / PARTS)
            before, after, changed = smoother.energies(maps)
            energies = {"energy_before": before, "energy_after": after, "changed_pixels": changed}
            stage.write_json(SMOOTHING, energies)
        write_rasters(stage, image, legend, maps)
    shutil.rmtree(stage.path / PARTS, ignore_errors=True)
    facts = summary(stage.path, image, legend)
    if settings.smoothing:  # energies are in nats
        energies = json.loads((stage.path / SMOOTHING).read_text(encoding="utf-8"))
        facts |= {"smoothing": settings.smoothing.words(), **energies}
    stage.write_json(SUMMARY, facts)
    (stage.path / PREVIEW).write_bytes(preview(stage.path, image, legend))


def predict_parts(
    stage: Stage, model: Path, image: ImageSource, layout: Layout, width: int, experiment: Experiment
) -> Mosaic:
    """All parts of a tile's map, a file each below the stage; those that are done are not predicted again."""
    everything = [part for run in runs(layout, width) for part in run.parts]
    done = frozenset(part for part in everything if stage.done(_name(part)))
    if len(done) < len(everything):
        predict_runs(stage, model, image, runs(layout, width, done), experiment)
    return Mosaic({part: stage.path / _name(part) for part in everything})


def predict_runs(stage: Stage, model: Path, image: ImageSource, work: list[Run], experiment: Experiment) -> None:
    """Predicts runs of windows, each part written and marked as it is complete."""
    from landcover_orch.models import networks
    from landcover_orch.prediction.forward import Forward
    from landcover_orch.prediction.stream import finished_rows, parts
    from landcover_orch.training.device import choose

    device, settings = choose(experiment), experiment.prediction
    module, contract = networks.load(model, device.kind)
    forward, classes = Forward(module, settings.window, device, settings.tta), len(contract.legend.classes)
    with closing(prefetch(strips(image, work, CACHE))) as coming:
        rows = finished_rows(coming, forward, classes, settings.batch_size, settings.smoothing is not None)
        for part, maps in parts(rows, [part for run in work for part in run.parts]):
            file = stage.path / _name(part)
            np.save(file, maps)
            stage.mark(_name(part), file)


def _name(part: Window) -> str:
    return f"{PARTS}/r{part.row:06d}-c{part.col:06d}-w{part.width:06d}.npy"


def write_rasters(stage: Stage, image: ImageSource, legend: Legend, maps: Mosaic) -> None:
    """Writes class.tif and confidence.tif as cloud-optimised GeoTIFFs from a tile's parts."""
    grid = image.raster.grid
    files = stage.path / CLASS_MAP, stage.path / CONFIDENCE_MAP
    raster.write_cog(
        files[0],
        grid,
        maps.layer(0),
        band="class",
        palette=legend.palette,
        names=legend.names,
        nodata=IGNORE,
        year=image.year,
        cache=CACHE,
    )
    steps = "confidence in steps of 1/254"
    raster.write_cog(files[1], grid, maps.layer(1), band=steps, nodata=IGNORE, year=image.year, cache=CACHE)
    stage.mark("maps", *files, *stage.path.glob(SMOOTHING))


def summary(folder: Path, image: ImageSource, legend: Legend) -> dict[str, Any]:
    """Summary of a map: pixels and fraction of each class, and mean confidence."""
    counts, confidences = (histogram(folder / name) for name in (CLASS_MAP, CONFIDENCE_MAP))
    mapped = int(counts[:IGNORE].sum())
    steps = int(confidences[:IGNORE] @ np.arange(IGNORE))
    return {
        **({} if image.year is None else {"year": image.year}),
        "height": image.raster.shape[0],
        "width": image.raster.shape[1],
        "valid_pixels": int(confidences[:IGNORE].sum()),
        "predicted_pixels": mapped,
        "nodata_pixels": int(counts[IGNORE]),
        "class_pixels": {c.name: int(counts[c.id]) for c in legend.classes},
        "class_shares": {c.name: round(counts[c.id] / mapped, 6) if mapped else None for c in legend.classes},
        "mean_confidence": round(steps / STEPS / mapped, 6) if mapped else None,
    }


def histogram(path: Path) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Histogram (256,) of a raster of bytes."""
    band = raster.inspect(path)
    total = np.zeros(256, np.int64)
    with raster.reader(band, cache=CACHE) as reader:
        for row in range(0, band.shape[0], 512):
            window = Window(row, 0, min(512, band.shape[0] - row), band.shape[1])
            total += np.bincount(reader.read(window).reshape(-1), minlength=256)
    return total


def preview(folder: Path, image: ImageSource, legend: Legend) -> bytes:
    """Preview PNG: the orthophoto and its map."""
    classes = raster.thumbnail(raster.inspect(folder / CLASS_MAP), 400, cache=CACHE)[0]
    photo = raster.thumbnail(image.raster, 400, cache=CACHE)
    panels = [picture.display(photo, image.bands), picture.colourise(classes, legend.palette)]
    return picture.small_png(picture.hstack(panels))
