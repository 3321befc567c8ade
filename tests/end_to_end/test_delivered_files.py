"""The whole lineage on files as they are delivered: without a place, in several files, some of them unlabelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import rasterio
import yaml

from assets.lineage import sources
from assets.materialise import materialise
from landcover_orch import config, raster
from landcover_orch.grid import Window
from landcover_orch.models.contract import load_contract
from landcover_orch.patches import manifest
from landcover_orch.store import publish
from landcover_orch.tiles import catalogue
from tests import tiny
from tests.scenes import write_plain_tiff

pytestmark = pytest.mark.slow


def test_pictures_without_a_place_with_heights_and_unlabelled_tiles(configs: Path, home: Path, tmp_path: Path) -> None:
    files = tmp_path / "raw"
    tiny.write(configs, files)
    tiny.save(configs, "experiments", {**tiny.RECIPE, "epochs": 8})  # enough to learn something: else it maps nothing
    _deliver(files)
    dataset = _described(configs)
    with dg.DagsterInstance.ephemeral() as dagster:
        assert materialise(dagster, dataset).runs > 0
        assert materialise(dagster, dataset).runs == 0
        assert set(dagster.get_dynamic_partitions("tiny_tiles")) == {"t0", "t1", "t2", "u0"}
        seen = sources.observations(dataset, catalogue.tiles(dataset))
        labels = {name: version for asset, name, version in seen if asset.path[-1] == "labels"}
        assert labels["u0"] == sources.UNLABELLED != labels["t0"]
    described = manifest.load(publish.current(home / tiny.NAME / "dataset_manifest", "dataset").path)
    assert [(tile.name, tile.crs, tile.transform[0]) for tile in described.tiles if sum(tile.counts.values())] == [
        (name, None, 0.5) for name in ("t0", "t1", "t2")
    ]
    contract = load_contract(publish.current(home / tiny.NAME / "model", tiny.EXPERIMENT).path)
    assert (contract.bands, contract.dtype) == (("red", "green", "blue", "dsm"), "float32")
    assert contract.resolution == 0.5
    _require_map_of_the_unlabelled_tile(home)


def _deliver(files: Path) -> None:
    """The tiny tiles as pictures without a place, with heights that are low on water; u0 has no labels."""
    for i, name in enumerate(("t0", "t1", "t2")):
        with rasterio.open(files / f"{name}.tif") as source:
            data = source.read()
        water = data.mean(axis=0) < 105
        heights = np.where(water, 280.0, 284.5).astype(np.float32)
        write_plain_tiff(files / "top" / f"{name}.tif", data)
        write_plain_tiff(files / "dsm" / f"{name}.tif", heights)
        write_plain_tiff(files / "masks" / f"{name}.tif", np.where(water, 20, 10).astype(np.uint8))
        if i == 0:
            write_plain_tiff(files / "test" / "u0.tif", data[:, ::-1])
            write_plain_tiff(files / "dsm" / "u0.tif", heights[::-1])


def _described(configs: Path) -> config.Dataset:
    path = configs / "datasets" / f"{tiny.NAME}.yaml"
    tiles = {
        "image": "top/{tile}.tif",
        "label": "masks/{tile}.tif",
        "unlabelled": "test/{tile}.tif",
        "further": [{"image": "dsm/{tile}.tif", "bands": ["dsm"]}],
    }
    changed: dict[str, Any] = {
        "tiles": tiles,
        "bands": ["red", "green", "blue", "dsm"],
        "dtype": "float32",
        "crs": "none",
        "resolution": 0.5,
        "labels": {"kind": "raster"},
    }
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changed}))
    return config.load_dataset(tiny.NAME)


def _require_map_of_the_unlabelled_tile(home: Path) -> None:
    path = publish.current(home / tiny.NAME / "land_cover_map", "u0").file("class.tif")
    mapped = raster.inspect(path)
    assert (mapped.crs, mapped.shape, mapped.grid.affine.a) == (None, (tiny.SIDE, tiny.SIDE), 0.5)
    with raster.reader(mapped, nodata="none") as source:
        assert (source.read(Window(0, 0, *mapped.shape)) <= 1).all()
