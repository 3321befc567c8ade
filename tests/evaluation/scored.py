"""A dataset with known maps: labels drawn, predictions made wrong where the test says, nothing trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch import raster
from landcover_orch.config import Dataset, Splits, SplitSpec, Tiles
from landcover_orch.config.experiments import Experiment, models
from landcover_orch.evaluation.build import build
from landcover_orch.evaluation.repetition import Repetition
from landcover_orch.grid import Window
from landcover_orch.legend import IGNORE, LandClass, Legend
from landcover_orch.models.contract import Contract, load_contract
from landcover_orch.patches.manifest import BandStatistics, DatasetManifest, TileEntry
from landcover_orch.patches.splits import TEST, roles
from landcover_orch.store import publish
from landcover_orch.store.publish import Product, Recipe
from tests.scenes import CRS, transform, write_geotiff

COLOURS = ("#e6c229", "#1b7837", "#2166ac", "#8a8a8a", "#d6604d")
TRAIN = (60, 30, 10, 0, 0)
"""Train pixels of each class and tile."""

Classes = NDArray[np.uint8]
EXPERIMENT = Experiment(name="small", model=models.UNet(width=8, levels=2))


@dataclass(frozen=True)
class Scored:
    """Everything a report is made of."""

    manifest: DatasetManifest
    model: Product
    maps: Mapping[str, Classes]
    predictions: dict[str, Product]
    home: Path

    def report(self, experiment: Experiment = EXPERIMENT, model: Product | None = None) -> Product:
        """The report of an experiment that does not repeat, with the scene's maps as its model's own."""
        repetition = self.repetition(experiment, self.maps, model=model or self.model)
        return build(self.manifest, experiment, [repetition], experiment.name, self.home)

    def repetition(
        self,
        experiment: Experiment,
        maps: Mapping[str, Classes],
        manifest: DatasetManifest | None = None,
        model: Product | None = None,
    ) -> Repetition:
        """A repetition with these maps, trained on the scene's manifest or on another."""
        manifest = manifest or self.manifest
        model = model or _model(self.home, manifest, experiment)
        drawn = {name: _prediction(self.home, manifest.legend, name, classes, model) for name, classes in maps.items()}
        return Repetition(experiment, manifest, model, drawn)


def legend(names: tuple[str, ...]) -> Legend:
    """Classes of these names."""
    classes = tuple(LandClass(id=i, name=n, colour=c) for i, (n, c) in enumerate(zip(names, COLOURS, strict=False)))
    return Legend(name="scored", classes=classes, codes={str(i): name for i, name in enumerate(names)})


def scored(
    home: Path,
    truth: Mapping[str, Classes],
    maps: Mapping[str, Classes],
    *,
    names: tuple[str, ...] = ("field", "forest", "water"),
    splits: Splits | None = None,
    minor: tuple[str, ...] = (),
    images: Mapping[str, NDArray[np.uint8]] | None = None,
) -> Scored:
    """A dataset whose tiles have this truth and these maps; without splits, every tile is test."""
    splits = splits or Splits(test=SplitSpec(tiles=tuple(truth)))
    dataset = Dataset(
        name="scored",
        description="Labels and maps that a test drew.",
        root=str(home),
        tiles=Tiles(image="{tile}.tif", label="{tile}.gpkg"),
        bands=("red", "green", "blue"),
        legend="scored",
        splits=splits,
        minor=minor,
        experiments=(EXPERIMENT.name,),
    )
    described = legend(names)
    entries = tuple(
        _entry(home, dataset, described, name, labels, (images or {}).get(name)) for name, labels in truth.items()
    )
    statistics = [
        BandStatistics(name=band, minimum=0, maximum=255, mean=100, std=30, percentiles={}) for band in dataset.bands
    ]
    manifest = DatasetManifest(
        dataset=dataset, legend=described, tiles=entries, bands=tuple(statistics), class_weights=(1.0,) * len(names)
    )
    model = _model(home, manifest)
    predictions = {name: _prediction(home, described, name, classes, model) for name, classes in maps.items()}
    return Scored(manifest, model, maps, predictions, home)


def _grid(shape: tuple[int, ...]) -> GeoBox:
    return GeoBox(shape, transform(), CRS)


def _entry(
    home: Path, dataset: Dataset, described: Legend, name: str, labels: Classes, image: NDArray[np.uint8] | None
) -> TileEntry:
    grid = _grid(labels.shape)
    picture = np.repeat(labels[None] % 200, 3, axis=0) if image is None else image
    path = write_geotiff(home / f"{name}.tif", picture)
    truth = _published(home / "scored" / "ground_truth", name, described, {"classes.tif": labels})
    store = publish.publish(
        home / "scored" / "patches", name, Recipe("test", 1, {}, {"of": name}), lambda stage: stage.write_json("a", 1)
    )
    role = roles(dataset.splits, name, grid, Window(0, 0, *labels.shape))
    tested = np.bincount(labels[(role == TEST) & (labels != IGNORE)], minlength=len(described.classes))
    return TileEntry(
        name=name,
        image=str(path),
        stored_dtype=None,
        year=None,
        label_year=None,
        image_fingerprint=f"image {name}",
        label_fingerprint=f"label {name}",
        ground_truth=truth.path.relative_to(home).as_posix(),
        ground_truth_fingerprint=truth.fingerprint,
        patches=store.path.relative_to(home).as_posix(),
        patches_fingerprint=store.fingerprint,
        shape=(labels.shape[0], labels.shape[1]),
        transform=tuple(grid.affine)[:6],
        crs=CRS,
        counts={},
        class_pixels={"train": TRAIN[: len(tested)], "validation": (), "test": tuple(tested.tolist())},
    )


def _prediction(home: Path, described: Legend, name: str, classes: Classes, model: Product) -> Product:
    confidence = np.where(classes == IGNORE, IGNORE, 200).astype(np.uint8)
    files = {"class.tif": classes, "confidence.tif": confidence}
    folder = home / "scored" / "prediction" / load_contract(model.path).experiment
    return _published(folder, name, described, files, model=model.fingerprint)


def _published(folder: Path, name: str, described: Legend, files: Mapping[str, Classes], **inputs: str) -> Product:
    def write(stage: publish.Stage) -> None:
        for file, pixels in files.items():
            extent = Window(0, 0, *pixels.shape)
            palette = described.palette if file != "confidence.tif" else None
            raster.write_cog(
                stage.path / file,
                _grid(pixels.shape),
                [(extent, pixels)],
                band="class",
                palette=palette,
                names=described.names,
                nodata=IGNORE,
            )

    content = {file: pixels.tobytes().hex()[:64] + str(int(pixels.sum())) for file, pixels in files.items()}
    recipe = Recipe("test", 1, inputs, content)
    return publish.publish(folder, name, recipe, write)


def _model(home: Path, manifest: DatasetManifest, experiment: Experiment = EXPERIMENT) -> Product:
    contract = Contract(
        model=experiment.model,
        bands=manifest.dataset.bands,
        dtype="uint8",
        resolution=1.0,
        mean=(100, 100, 100),
        std=(30, 30, 30),
        legend=manifest.legend,
        patch_size=16,
        dataset="scored",
        data_digest=manifest.digest,
        experiment=experiment.name,
    )

    def write(stage: publish.Stage) -> None:
        contract.save(stage.path)
        stage.write_json("summary.json", {"parameters": 12345, "epochs": 7})

    return publish.publish(
        home / "scored" / "model",
        experiment.name,
        Recipe("model", 1, {}, {"of": [manifest.digest, experiment.name]}),
        write,
    )
