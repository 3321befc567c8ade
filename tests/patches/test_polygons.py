"""Polygon numbers in the patch store: where the ground truth keeps fractions, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from shapely import box

from landcover_orch import raster
from landcover_orch.config import Dataset
from landcover_orch.errors import IncompleteError
from landcover_orch.ground_truth import build as truth
from landcover_orch.patches import dataset as manifests
from landcover_orch.patches import read, store, write
from landcover_orch.patches.manifest import load
from landcover_orch.store.publish import Product, current
from landcover_orch.tiles.catalogue import tiles
from tests.labels.siose_scenes import SIDE, X, Y, legend, write_labels, write_layer
from tests.scenes import write_geotiff

LEFT = ("CNF", "A(60CNF_40PST)", "A(60CNF_32PST_8ZQM)", "A(50CNF_50ZQM)")
RIGHT = ("A(30CNF_70PST)", "PST", "CNF", "CNF")
SETTINGS = {"size": 16, "stride": 4, "shard": 2}


def ground(root: Path, **changed: Any) -> Dataset:
    """Two tiles of four columns each."""
    data = write_labels(root, LEFT)
    write_geotiff(root / "u.tif", np.full((SIDE, SIDE), 9, np.uint8), origin=(X + 1000, Y))
    shapes = [box(X + 1000 + i * 5, Y - SIDE, X + 1005 + i * 5, Y) for i in range(4)]
    table = {"ID_POLYGON": ["Q1", "Q2", "Q3", "Q4"], "SIOSE_CODE": list(RIGHT)}
    write_layer(root / "u.gpkg", "T_POLIGONOS", table, shapes)
    plain = {**data.model_dump(mode="json"), "patches": SETTINGS, "splits": {"test": {"tiles": ["u"]}}, **changed}
    return Dataset.model_validate(plain)


def cut(data: Dataset, home: Path, rule: str = "soft") -> list[Product]:
    marks = legend(rule=rule)
    for tile in tiles(data):
        truth.build(data, marks, tile, home)
    return [write.build(data, marks, tile, home) for tile in tiles(data)]


def test_numbers_lie_where_the_raster_of_polygons_has_them(tmp_path: Path, home: Path) -> None:
    (product, _) = cut(ground(tmp_path), home)
    labels = current(home / "small" / "ground_truth", "t")
    result = raster.inspect(labels.file(truth.POLYGONS))
    with raster.reader(result, nodata="none") as source:
        whole = source.read(truth.blocks(result.shape, SIDE, SIDE)[0])[0]
    with xarray.open_zarr(product.file(f"{store.STORE}/zarr.json").parent, consolidated=False) as held:
        assert held["polygon"].dims == ("patch", "y", "x")
        assert held["polygon"].dtype == np.uint32
        for row, col, numbers in zip(held["row"].values, held["col"].values, held["polygon"].values, strict=True):
            np.testing.assert_array_equal(numbers, whole[row : row + 16, col : col + 16])
        np.testing.assert_allclose(held["share"], [[0, 0], [0, 0], [0.6, 0.4], [0.6 / 0.92, 0.32 / 0.92], [0, 0]])


def test_without_shares_a_store_is_as_it_always_was(tmp_path: Path, home: Path) -> None:
    (product, _) = cut(ground(tmp_path), home, rule="ignore")
    assert not any(name.startswith((f"{store.STORE}/polygon", f"{store.STORE}/share")) for name in product.files)
    assert "polygons" not in product.recipe.configuration


def reader(data: Dataset, home: Path, split: str, rule: str = "soft") -> read.PatchReader:
    cut(data, home, rule)
    made = manifests.build(data, legend(rule=rule), tiles(data), home)
    return read.open_split(load(made.path), home, split)


def test_a_reader_gives_rows_of_one_table_for_all_splits(tmp_path: Path, home: Path) -> None:
    data = ground(tmp_path)
    train, test = (reader(data, home, split) for split in ("train", "test"))
    expected = [[0, 0], [0.6, 0.4], [0.6 / 0.92, 0.32 / 0.92], [0.3, 0.7]]
    for side in (train, test):
        assert side.keeps_fractions
        np.testing.assert_allclose(side.fractions(), expected, rtol=1e-6)
    columns = np.repeat([0, 1, 2, 0], 5)
    np.testing.assert_array_equal(train.polygon(np.array([0]))[0], np.broadcast_to(columns[:16], (16, 16)))
    np.testing.assert_array_equal(train.polygon(np.array([1]))[0], np.broadcast_to(columns[4:], (16, 16)))
    assert set(np.unique(test.polygon(np.arange(len(test))))) == {0, 3}
    with pytest.raises(IndexError):
        train.polygon(np.array([len(train)]))


def test_a_reader_of_a_dataset_without_shares_says_so(tmp_path: Path, home: Path) -> None:
    result = reader(ground(tmp_path), home, "train", rule="ignore")
    assert not result.keeps_fractions
    with pytest.raises(IncompleteError, match="share"):
        result.fractions()


def test_a_killed_build_ends_with_the_same_bytes(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ground(tmp_path)
    whole = dict(cut(data, tmp_path / "other")[0].files)
    marks, tile = legend(rule="soft"), tiles(data)[0]
    truth.build(data, marks, tile, home)
    with monkeypatch.context() as patch:
        patch.setattr(write, "mark_run", lambda stage, run: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write.build(data, marks, tile, home)
    assert write.build(data, marks, tile, home).files == whole
