"""Facts are plain JSON; previews are small PNGs of any raster."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from landcover_orch.config import Dataset
from landcover_orch.config.yamlfile import parse
from landcover_orch.tiles import preview
from landcover_orch.tiles.tile import Tile
from tests import scenes


def town(root: Path, data: np.ndarray, stated: Any = "file", **profile: Any) -> tuple[Dataset, Tile]:
    scenes.write_geotiff(root / "a.tif", data, resolution=0.5, **profile)
    (root / "a.gpkg").write_bytes(b"labels")
    plain = {
        "name": "town",
        "root": str(root),
        "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"},
        "bands": [f"b{i}" for i in range(data.shape[0])],
        "legend": "cover",
        "experiments": ["small"],
        "nodata": stated,
    }
    return parse(plain, Dataset, "test"), Tile("a", root / "a.tif", root / "a.gpkg", 2020, None, None, None)


def test_facts(tmp_path: Path) -> None:
    facts = preview.facts(*town(tmp_path, np.ones((2, 30, 40), np.uint8)))
    assert json.loads(json.dumps(facts)) == facts
    expected = {"height": 30, "width": 40, "pixels": 1200, "crs": "EPSG:25830", "resolution": 0.5, "dtype": "uint8"}
    assert expected.items() <= facts.items()
    assert facts["bounds"] == [500_000.0, 4_699_985.0, 500_020.0, 4_700_000.0]
    assert facts["footprint"] == pytest.approx([-3.0, 42.454, -2.9998, 42.4542], abs=2e-3)
    assert (facts["label_bytes"], facts["year"], facts["label_year"]) == (6, 2020, None)


@pytest.mark.parametrize(
    ("tag", "stated", "words"),
    [
        (None, "file", "none"),
        (7, "file", "value 7"),
        (7, "none", "none (the file's tag 7 is overruled)"),
        (7, 9, "value 9 (the file's tag 7 is overruled)"),
    ],
)
def test_nodata_in_words(tmp_path: Path, tag: int | None, stated: Any, words: str) -> None:
    assert preview.facts(*town(tmp_path, np.ones((1, 30, 40), np.uint8), stated, nodata=tag))["nodata"] == words


@pytest.mark.parametrize(("bands", "dtype"), [(1, "uint8"), (3, "uint16"), (4, "uint8"), (13, "float32")])
def test_previews_are_small(tmp_path: Path, bands: int, dtype: str) -> None:
    data = np.random.default_rng(0).uniform(0, 250, (bands, 700, 900)).astype(dtype)
    if dtype == "float32":
        data[:, :100] = np.nan
    png = preview.preview(*town(tmp_path, data))
    assert len(png) <= 75_000
    assert max(Image.open(io.BytesIO(png)).size) <= preview.SIDE
