"""The label reviewer on real polygons: through Dagster as they are, and with wrong ones planted among them."""

from __future__ import annotations

import csv
from pathlib import Path

import dagster as dg
import geopandas
import pytest

from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.store import publish
from tests.benchmarks import bench_label_review

pytestmark = pytest.mark.slow

GAIN = 0.3
"""By how much the list's average precision stands above that of random order, which is about 0.2."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A LANDCOVER_HOME of its own, with the data's root set."""
    monkeypatch.setenv("LANDCOVER_HOME", str(tmp_path))
    monkeypatch.setenv("LANDCOVER_DATA", str(real_data))
    return tmp_path


@pytest.mark.long
def test_slovenia(home: Path, real_data: Path) -> None:
    dataset = config.load_dataset("slovenia-label-review")
    with dg.DagsterInstance.ephemeral() as dagster:
        assert materialise(dagster, dataset).runs > 0
        assert materialise(dagster, dataset).runs == 0
        key = dg.AssetCheckKey(dg.AssetKey([dataset.name, "label_review"]), "labels_plausible")
        (check,) = dagster.event_log_storage.get_latest_asset_check_execution_by_key([key]).values()
        assert check.status.value in ("SUCCEEDED", "FAILED"), "whichever, it was run"
    product = publish.current(home / dataset.name / "label_review", "label-review-small-forest")
    with product.file("label_review.csv").open(newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    polygons = geopandas.read_file(real_data / "eolearn-slovenia" / "LULC.gpkg", fid_as_index=True, engine="pyogrio")
    names = [int(row["polygon"]) for row in listed]
    assert len(names) == len(set(names)) == 33, "three scenes show each, which is one polygon all the same"
    assert [row["code"] for row in listed] == [str(polygons["RABA_ID"][name]) for name in names]
    assert all(16 * 99 < float(row["m2"]) <= polygons.area[int(row["polygon"])] + 0.01 for row in listed)
    assert sum(float(row["m2"]) for row in listed) <= 101 * 100 * 100, "no more than the footprint"
    left_out = product.json("summary.json")["left_out"]
    assert left_out["of a code that is ignored"] == (polygons["RABA_ID"] == 1600).sum() == 4
    assert sum(left_out.values()) + len(listed) == len(polygons) == 88


@pytest.mark.long
def test_planted_errors_in_baker_lake(home: Path) -> None:
    (precision,) = bench_label_review.real("bakerlake-label-review", (1,), home)
    assert precision["planted among them"] == 3
    assert precision[bench_label_review.LIST] >= precision[bench_label_review.RANDOM] + GAIN
    assert precision[bench_label_review.LIST] >= precision[bench_label_review.LOSS]
