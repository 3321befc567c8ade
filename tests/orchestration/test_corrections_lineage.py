"""Corrections in the lineage: the tiles they lie on go stale, and with them what is made of those; no others."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import geopandas
import pytest
import yaml
from shapely.geometry import box

from assets.lineage import sources
from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.store.publish import current
from tests import tiny
from tests.planned import PREPARE, stale
from tests.scenes import CRS, ORIGIN


@pytest.fixture
def dataset(configs: Path, home: Path, tmp_path: Path) -> Dataset:
    """The tiny dataset with one file of corrections for all tiles, which is not there yet."""
    tiny.write(configs, tmp_path / "raw", tiles=4)
    path = configs / "datasets" / f"{tiny.NAME}.yaml"
    described = yaml.safe_load(path.read_text())
    described["labels"]["corrections"] = "corrections.gpkg"
    path.write_text(yaml.safe_dump(described))
    return config.load_dataset(tiny.NAME)


def correct(dataset: Dataset, *tiles: int) -> None:
    """A pond in each of some tiles, well inside it."""
    ponds = []
    for tile in tiles:
        x, y = ORIGIN[0] + tile * tiny.SIDE, ORIGIN[1]
        ponds.append(box(x + 40, y - 20, x + 50, y - 10))
    path = dataset.folder / "corrections.gpkg"
    path.unlink(missing_ok=True)
    geopandas.GeoDataFrame({"code": ["20"] * len(ponds)}, geometry=ponds, crs=CRS).to_file(path, engine="pyogrio")


def test_only_the_touched_tiles_go_stale(dagster: dg.DagsterInstance, dataset: Dataset) -> None:
    materialise(dagster, dataset, PREPARE)
    correct(dataset, 1)
    sources.observe(dagster, dataset)
    assert stale(dagster, dataset, PREPARE) == {"ground_truth": ["t1"]}
    materialise(dagster, dataset, ("ground_truth",))
    assert stale(dagster, dataset, PREPARE) == {"patches": ["t1"]}
    found = current(config.home() / tiny.NAME / "ground_truth", "t1").json("summary.json")["corrections"]
    assert found == [{"from": "10", "to": "20", "pixels": 100, "hectares": 0.01}]
    materialise(dagster, dataset, PREPARE)
    assert stale(dagster, dataset, PREPARE) == {}
    assert stale(dagster, dataset, ("model",)) == {"model": [tiny.EXPERIMENT]}
    correct(dataset, 1, 3)
    sources.observe(dagster, dataset)
    assert stale(dagster, dataset, PREPARE) == {"ground_truth": ["t3"]}


def test_the_key_alone_makes_nothing_stale(dagster: dg.DagsterInstance, dataset: Dataset, configs: Path) -> None:
    materialise(dagster, dataset, PREPARE)
    path = configs / "datasets" / f"{tiny.NAME}.yaml"
    path.write_text(path.read_text().replace("corrections: corrections.gpkg", ""))
    without = config.load_dataset(tiny.NAME)
    assert without.labels.corrections is None
    assert stale(dagster, without, PREPARE) == {}
    assert materialise(dagster, without, PREPARE).runs == 0
