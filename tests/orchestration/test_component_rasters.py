"""The real inventory of component rasters in the lineage, over a stand-in orthophoto: rules add up to the pixel."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from assets.cli import main
from assets.materialise import materialise
from landcover_orch import config, raster
from landcover_orch.config import Dataset
from landcover_orch.grid import blocks
from landcover_orch.labels.components import open_raster, table
from landcover_orch.legend import IGNORE
from landcover_orch.store.publish import Product, current

NAME, TILE = "inventory", "t"
PLACE = "bcgw_WATER"
COMPONENTS = {"LAND_COVER": "EST_COVERA", "LAND_COV_1": "EST_COVE_1", "LAND_COV_2": "EST_COVE_2"}
SHAPE, LABELLED, UNLABELLED = (401, 410), 129_840, 34_570

Open = Callable[..., Dataset]


@pytest.fixture
def inventory(real_data: Path, configs: Path, home: Path, tmp_path: Path) -> Open:
    """Gives the inventory as a dataset, with the shipped legend under another rule."""
    root, source = tmp_path / "raw", real_data / "bc-vri-composite"
    root.mkdir()
    for name in (PLACE, *COMPONENTS, *COMPONENTS.values()):
        for path in source.glob(f"{name}.*"):
            shutil.copy(path, root)
    place = open_raster(root / f"{PLACE}.bin")
    noise = np.random.default_rng(0).integers(1, 255, (3, *place.shape), np.uint8)
    whole = blocks(place.shape, *place.shape)[0]
    raster.write_tiled(root / f"{TILE}.tif", place.grid, "uint8", ("red", "green", "blue"), [(whole, noise)])
    shipped = yaml.safe_load((Path(__file__).parents[2] / "configs/legends/bc-vri.yaml").read_text())

    def opened(**composites: Any) -> Dataset:
        save(configs, "legends", {**shipped, "name": "covers", "composites": composites})
        save(configs, "experiments", {"name": "none", "model": "unet"})
        save(configs, "datasets", described(root))
        return config.load_dataset(NAME)

    return opened


def save(configs: Path, kind: str, content: dict[str, Any]) -> None:
    (configs / kind / f"{content['name']}.yaml").write_text(yaml.safe_dump(content))


def described(root: Path) -> dict[str, Any]:
    parts = [
        {"code": f"{code}.bin", "percent": f"{percent}.bin", "table": f"{code}.lut"}
        for code, percent in COMPONENTS.items()
    ]
    return {
        "name": NAME,
        "root": str(root),
        "tiles": {"image": "{tile}.tif", "label": f"{PLACE}.bin", "names": [TILE]},
        "bands": ["red", "green", "blue"],
        "legend": "covers",
        "labels": {"kind": "components", "components": parts},
        "splits": {"validation": {"blocks": 0.2}, "test": {"blocks": 0.2}, "block": 64},
        "patches": {"size": 32, "stride": 32},
        "experiments": ["none"],
        "baselines": [],
    }


def made(dagster: dg.DagsterInstance, dataset: Dataset, home: Path) -> Product:
    materialise(dagster, dataset, ["ground_truth", "patches"])
    return current(home / NAME / "ground_truth", TILE)


def covers(root: Path) -> np.ndarray[Any, Any]:
    """The share of each class and of what the legend ignores (class, pixel), from the files by hand."""
    legend = config.load_legend("covers")
    found = np.zeros((len(legend.names) + 1, SHAPE[0] * SHAPE[1]))
    for code, percent in COMPONENTS.items():
        values, share = (np.fromfile(root / f"{name}.bin", "<f4") for name in (code, percent))
        for value, cover in (table(root / f"{code}.lut") or {}).items():
            here = (values == value) & (share > 0)
            number = legend.class_of_code[cover] if here.any() else IGNORE
            found[min(number, len(legend.names)), here] += share[here] / 100
    return found


def pixels(product: Product, name: str) -> np.ndarray[Any, Any]:
    found = raster.inspect(product.file(name))
    with raster.reader(found, nodata="none") as source:
        return source.read(blocks(found.shape, *found.shape)[0])[0].reshape(-1)


def adds_up(product: Product) -> None:
    summary = product.json("summary.json")
    assert summary["unlabelled_pixels"] == UNLABELLED
    assert round(sum(row["share"] for row in summary["decisions"]) * summary["pixels"], 6) == LABELLED
    assert sum(row["hectares"] for row in summary["decisions"]) == pytest.approx(LABELLED * 80.03**2 / 1e4, rel=1e-3)
    assert summary["labelled_pixels"] + sum(summary["ignore"].values()) == summary["pixels"] == SHAPE[0] * SHAPE[1]


def test_a_class_where_its_covers_have_the_share(dagster: dg.DagsterInstance, inventory: Open, home: Path) -> None:
    dataset = inventory(rule="dissolve", min_fraction=0.75)
    assert main(["check", NAME, "--deep"]) == 0
    product = made(dagster, dataset, home)
    adds_up(product)
    shares = covers(dataset.folder)
    expected = np.where(shares.max(axis=0) >= 0.75 - 1e-9, shares.argmax(axis=0), IGNORE)
    expected[expected == len(shares) - 1] = IGNORE
    np.testing.assert_array_equal(pixels(product, "classes.tif"), expected)


def test_a_cover_alone_has_the_share_or_none_counts(dagster: dg.DagsterInstance, inventory: Open, home: Path) -> None:
    dissolved = pixels(made(dagster, inventory(rule="dissolve", min_fraction=0.75), home), "classes.tif")
    dominant = made(dagster, inventory(rule="dominant", min_fraction=0.75), home)
    adds_up(dominant)
    alone = pixels(dominant, "classes.tif")
    assert (alone[alone != dissolved] == IGNORE).all()
    simple = made(dagster, inventory(rule="ignore"), home)
    adds_up(simple)
    assert 0 < (pixels(simple, "classes.tif") != IGNORE).sum() < (alone != IGNORE).sum() < (dissolved != IGNORE).sum()


def test_shares_are_kept_pixel_by_pixel(dagster: dg.DagsterInstance, inventory: Open, home: Path) -> None:
    dataset = inventory(rule="soft")
    product = made(dagster, dataset, home)
    adds_up(product)
    shares, numbers = covers(dataset.folder), pixels(product, "polygons.tif")
    assert (numbers > 0).sum() == LABELLED
    names = [*config.load_legend("bc-vri").names, "ignore"]
    told = np.zeros((int(numbers.max()) + 1, len(names)))
    for row in pq.read_table(product.file("composition.parquet")).to_pylist():
        told[row["polygon"], names.index(row["class"])] += row["share"]
    np.testing.assert_allclose(told[1:].sum(axis=1), 1)
    np.testing.assert_allclose(told[numbers], shares.T, atol=1e-6)
    assert "patches.zarr/share/zarr.json" in current(home / NAME / "patches", TILE).files
