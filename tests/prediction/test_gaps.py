"""Gaps of a map are found from the files themselves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from landcover_orch.patches.manifest import DatasetManifest, TileEntry
from landcover_orch.prediction.gaps import gaps
from tests.scenes import write_geotiff


def test_missing_and_extra_pixels_are_counted(tmp_path: Path) -> None:
    image = np.full((3, 600, 40), 7, np.uint8)
    image[:, :10] = 0
    classes = np.where((image == 0).all(axis=0), 255, 1).astype(np.uint8)
    classes[20, :5] = 255
    classes[3, :2] = 0
    photo = write_geotiff(tmp_path / "a.tif", image, nodata=0)
    mapped = write_geotiff(tmp_path / "class.tif", classes, nodata=255)
    described = SimpleNamespace(
        nodata_rule="all", dtype="uint8", nodata="file", crs="file", radiometry=None, tiles=SimpleNamespace(select=())
    )
    manifest: Any = SimpleNamespace(dataset=described)
    entry: Any = SimpleNamespace(images=(photo,))
    assert gaps(cast(DatasetManifest, manifest), cast(TileEntry, entry), mapped) == (5, 2)
