"""Patches overlap, reach over edges and leave ground out: each pixel they cover is counted once all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landcover_orch import raster
from landcover_orch.grid import Window
from landcover_orch.legend import IGNORE
from landcover_orch.patches import store
from landcover_orch.patches.conservation import covered
from tests.patches.fields import SHAPE, write_fields


def truth_of(path: Path) -> Any:
    result = raster.inspect(path)
    with raster.reader(result, nodata="none") as source:
        return source.read(Window(0, 0, *result.shape))[0]


@pytest.mark.parametrize("edge", ["shift_back", "pad", "drop"])
@pytest.mark.parametrize(("stride", "labelled"), [(12, 0.0), (5, 0.7), (16, 0.9), (20, 0.0)])
def test_each_covered_pixel_counts_once(tmp_path: Path, home: Path, edge: str, stride: int, labelled: float) -> None:
    settings = {"size": 16, "stride": stride, "edge": edge, "min_labelled": labelled, "shard": 16}
    fields = write_fields(tmp_path / "raw", home, ("a",), patches=settings)
    patches = fields.cut()
    path, classes = patches.file(store.STORE), home / "fields/ground_truth/a/classes.tif"
    truth, met = truth_of(classes), np.zeros(SHAPE, bool)
    for window in store.read_index(path).windows(16):
        met[window.slices] = True
    held, expected, different = covered(path, classes)
    assert different == 0
    assert held.tolist() == expected.tolist() == np.bincount(truth[met], minlength=256).tolist()
    assert held.sum() < 3 * truth.size


def test_patches_of_other_labels_differ(tmp_path: Path, home: Path) -> None:
    fields = write_fields(tmp_path / "raw", home, ("a",))
    path = fields.cut().file(store.STORE)
    result = raster.inspect(home / "fields/ground_truth/a/classes.tif")
    changed = truth_of(result.path)
    changed[3, 4:9] = IGNORE
    other = tmp_path / "other.tif"
    raster.write_tiled(other, result.grid, "uint8", ("class",), [(Window(0, 0, *SHAPE), changed[None])])
    held, expected, different = covered(path, other)
    assert different == 5
    assert held[0] - expected[0] == expected[IGNORE] - held[IGNORE] == 5


def test_a_store_without_patches_covers_nothing(tmp_path: Path, home: Path) -> None:
    fields = write_fields(tmp_path / "raw", home, ("a",), patches={"size": 16, "stride": 16, "min_labelled": 1.0})
    (tmp_path / "raw" / "a.gpkg").unlink()
    from shapely import box

    from tests.scenes import ORIGIN, write_polygons

    write_polygons(tmp_path / "raw" / "a.gpkg", [(box(ORIGIN[0], ORIGIN[1] - 5, ORIGIN[0] + 5, ORIGIN[1]), "1")])
    held, expected, different = covered(fields.cut().file(store.STORE), home / "fields/ground_truth/a/classes.tif")
    assert (held.sum(), expected.sum(), different) == (0, 0, 0)
