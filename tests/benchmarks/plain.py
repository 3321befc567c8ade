"""The demo's work as a plain script of rasterio, scikit-learn, torch and Lightning: what the lineage is held against.

`python -m tests.benchmarks.plain LANDSCAPE FOLDER`: class rasters, patches, two networks and two baselines, their maps
of the labelled tiles and of all tiles by the best of them, confusion matrices. No store, no history, no registry.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pyogrio
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.features import rasterize
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from landcover_orch.models import texture
from landcover_orch.models.segnet import SegNet
from landcover_orch.models.unet import UNet

TILES = ("r0c0", "r0c1", "r0c2", "r1c0", "r1c1", "r1c2")
VALIDATION, TEST = "r1c2", "r1c1"
CODES = {"110": 0, "120": 0, "210": 1, "220": 1, "310": 2, "410": 3, "510": 4}
CLASSES, SIZE, STRIDE, WINDOW, STEP, BATCH = 5, 128, 96, 256, 192, 8
PIXELS, TREES, LEAVES, CLUSTERS, TEXTURE = 100_000, 40, 1024, 256, (3, 9)

Array = NDArray[Any]


class Patches(Dataset[Any]):
    """Patches of tiles, turned, mirrored and varied in brightness and contrast where they are trained on."""

    def __init__(self, folder: Path, tiles: list[str], mean: Array, std: Array, vary: bool) -> None:
        stores = [np.load(folder / f"{tile}.npz") for tile in tiles]
        self.images = np.concatenate([store["images"] for store in stores])
        self.labels = np.concatenate([store["labels"] for store in stores])
        self.mean, self.std, self.vary = mean, std, vary

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        image, label = self.images[i].astype(np.float32), self.labels[i].astype(np.int64)
        if self.vary:
            turns, mirrored = np.random.randint(4), np.random.randint(2)
            image, label = np.rot90(image, turns, (1, 2)), np.rot90(label, turns)
            image, label = (image[..., ::-1], label[..., ::-1]) if mirrored else (image, label)
            image = image * np.random.uniform(0.95, 1.05) + np.random.uniform(-0.05, 0.05) * 255
        image = (image - self.mean[:, None, None]) / self.std[:, None, None]
        return torch.from_numpy(np.ascontiguousarray(image, np.float32)), torch.from_numpy(label.copy())


class Learner(pl.LightningModule):  # type: ignore[misc]
    """A network with cross-entropy, Adam and one cycle; validation mean IoU after each epoch."""

    def __init__(self, network: nn.Module, weights: Tensor, steps: int) -> None:
        super().__init__()
        self.network, self.loss, self.steps = network, nn.CrossEntropyLoss(weights, ignore_index=255), steps
        self.matrix = np.zeros((CLASSES, CLASSES), np.int64)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        loss: Tensor = self.loss(self.network(batch[0]), batch[1])
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Counts a batch."""
        self.matrix += matrix(batch[1].numpy(), self.network(batch[0]).argmax(1).numpy())

    def on_validation_epoch_end(self) -> None:
        """Logs the mean IoU."""
        self.log("mean_iou", mean_iou(self.matrix))
        self.matrix[:] = 0

    def configure_optimizers(self) -> Any:
        """Adam with one cycle."""
        optimiser = torch.optim.Adam(self.parameters(), 0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.01, total_steps=self.steps)
        return [optimiser], [{"scheduler": schedule, "interval": "step"}]


def main(landscape: Path, folder: Path) -> None:
    """All of it; prints the accuracy on the test tile by model."""
    folder.mkdir(parents=True, exist_ok=True)
    for tile in TILES:
        write_tile(landscape, folder, tile)
    train = [tile for tile in TILES if tile not in (VALIDATION, TEST)]
    stores = [np.load(folder / f"{tile}.npz") for tile in train]
    pixels = np.concatenate([store["images"].transpose(1, 0, 2, 3).reshape(4, -1) for store in stores], axis=1)
    mean, std = pixels.mean(1), pixels.std(1)
    counts = np.bincount(np.concatenate([store["labels"].ravel() for store in stores]), minlength=256)[:CLASSES]
    sets = Patches(folder, train, mean, std, vary=True), Patches(folder, [VALIDATION], mean, std, vary=False)
    networks: dict[str, Any] = {
        "unet": fit(UNet(4, CLASSES, 16, 3), sets, counts, 24, folder / "unet"),
        "segnet": fit(SegNet(4, CLASSES, 16, 2), sets, counts, 16, folder / "segnet"),
        **baselines(sets[0]),
    }
    scores = {}
    for name, network in networks.items():
        for tile in (VALIDATION, TEST):
            scores[name, tile] = write_map(landscape, folder, tile, name, network, (mean, std))
    best = max(networks, key=lambda name: mean_iou(scores[name, VALIDATION]))
    for tile in TILES:
        write_map(landscape, folder, tile, f"champion-{best}", networks[best], (mean, std))
    for name in networks:
        table = scores[name, TEST]
        print(f"{name}: accuracy {table.trace() / table.sum():.3f}, mean IoU {mean_iou(table):.3f}")


def write_tile(landscape: Path, folder: Path, tile: str) -> None:
    """A tile's class raster, and its patches."""
    with rasterio.open(landscape / "images" / f"{tile}.tif") as source:
        image, profile = source.read(), source.profile
    polygons = pyogrio.read_dataframe(landscape / "labels" / "complete" / f"{tile}.gpkg", layer="cover")
    shapes = [(shape, CODES[str(code)]) for shape, code in zip(polygons.geometry, polygons["code"], strict=True)]
    label = rasterize(shapes, image.shape[1:], fill=255, transform=profile["transform"], dtype="uint8")
    with rasterio.open(folder / f"{tile}.tif", "w", **{**profile, "count": 1, "driver": "GTiff"}) as target:
        target.write(label, 1)
    corners = [(y, x) for y in starts(label.shape[0], SIZE, STRIDE) for x in starts(label.shape[1], SIZE, STRIDE)]
    images = np.stack([image[:, y : y + SIZE, x : x + SIZE] for y, x in corners])
    labels = np.stack([label[y : y + SIZE, x : x + SIZE] for y, x in corners])
    np.savez(folder / f"{tile}.npz", images=images, labels=labels)


def starts(length: int, size: int, stride: int) -> list[int]:
    """Where windows begin, the last at the edge."""
    return sorted({*range(0, length - size + 1, stride), length - size})


def fit(network: nn.Module, sets: tuple[Patches, Patches], counts: Array, epochs: int, folder: Path) -> nn.Module:
    """A network after its epochs, with the weights of the best of them."""
    pl.seed_everything(0)
    weights = torch.from_numpy(counts.sum() / np.maximum(counts, 1) / CLASSES).float()
    loaders = DataLoader(sets[0], BATCH, shuffle=True, drop_last=True), DataLoader(sets[1], BATCH)
    learner = Learner(network, weights, epochs * len(loaders[0]))
    keep = pl.callbacks.ModelCheckpoint(folder, monitor="mean_iou", mode="max", save_weights_only=True)
    options = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    trainer = pl.Trainer(max_epochs=epochs, callbacks=[keep], num_sanity_val_steps=0, **options)
    trainer.fit(learner, *loaders)
    learner.load_state_dict(torch.load(keep.best_model_path, weights_only=True)["state_dict"])
    return network.eval()


def baselines(patches: Patches) -> dict[str, Any]:
    """A random forest and k-means on texture of sampled pixels, each as a function of normalised images."""
    random, rows, classes = np.random.default_rng(0), [], []
    share = PIXELS // len(patches)
    patches.vary = False
    for image, label in (patches[i] for i in range(len(patches))):
        chosen = random.choice(label.numel(), share, replace=False)
        rows.append(texture.table(image, TEXTURE).numpy()[chosen])
        classes.append(label.numpy().ravel()[chosen])
    patches.vary = True
    x, y = np.concatenate(rows), np.concatenate(classes)
    known = y != 255
    forest = RandomForestClassifier(TREES, max_leaf_nodes=LEAVES, random_state=0).fit(x[known], y[known])
    clusters = KMeans(CLUSTERS, random_state=0, n_init=1).fit(x)
    names = np.array([np.bincount(y[known & (clusters.labels_ == c)], minlength=1).argmax() for c in range(CLUSTERS)])

    def of_pixels(classify: Any) -> Any:
        def logits(images: Tensor) -> Tensor:
            found = [classify(texture.table(image, TEXTURE).numpy()) for image in images]
            hot = np.eye(CLASSES, dtype=np.float32)[np.stack(found)]
            return torch.from_numpy(hot.reshape(len(images), *images.shape[-2:], CLASSES)).permute(0, 3, 1, 2)

        return logits

    return {
        "random-forest": of_pixels(lambda table: forest.predict(table)),
        "k-means": of_pixels(lambda table: names[clusters.predict(table)]),
    }


def write_map(
    landscape: Path, folder: Path, tile: str, name: str, network: Any, statistics: tuple[Array, Array]
) -> Array:
    """Writes a tile's map by overlapping windows, and its confidence; gives the confusion matrix."""
    with rasterio.open(landscape / "images" / f"{tile}.tif") as source:
        image, profile = source.read(), source.profile
    mean, std = (values[:, None, None] for values in statistics)
    values = torch.from_numpy(((image - mean) / std).astype(np.float32))
    sums = torch.zeros(CLASSES, *values.shape[1:])
    with torch.inference_mode():
        for y in starts(values.shape[1], WINDOW, STEP):
            for x in starts(values.shape[2], WINDOW, STEP):
                window = values[None, :, y : y + WINDOW, x : x + WINDOW]
                sums[:, y : y + WINDOW, x : x + WINDOW] += network(window).softmax(1)[0]
    confidence, classes = (sums / sums.sum(0)).max(0)
    bands = np.stack([classes.numpy().astype(np.uint8), (confidence.numpy() * 254).astype(np.uint8)])
    with rasterio.open(folder / f"{name}-{tile}.tif", "w", **{**profile, "count": 2, "driver": "GTiff"}) as target:
        target.write(bands)
    with rasterio.open(folder / f"{tile}.tif") as source:
        return matrix(source.read(1), bands[0])


def matrix(truth: Array, found: Array) -> Array:
    """Pixels by true and found class."""
    known = truth != 255
    counts: Array = confusion_matrix(truth[known], found[known], labels=range(CLASSES))
    return counts


def mean_iou(table: Array) -> float:
    """Mean intersection over union."""
    union = table.sum(0) + table.sum(1) - table.diagonal()
    return float(np.mean(table.diagonal() / np.maximum(union, 1)))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
