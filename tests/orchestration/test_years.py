"""Years of images and labels in the lineage: too wide a gap stops its tile at its input check."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.materialise import MaterialisationError, materialise
from landcover_orch import config
from tests import tiny

FILES_FIT = dg.AssetCheckKey(dg.AssetKey([tiny.NAME, "orthophoto"]), "files_fit")


def test_a_tile_beyond_the_limit_is_named_and_has_no_ground_truth(
    dagster: dg.DagsterInstance, configs: Path, home: Path, tmp_path: Path
) -> None:
    """Three years are allowed: t0 lies three apart, t1 four."""
    tiny.write(configs, tmp_path / "raw", tiles=2)
    path = configs / "datasets" / f"{tiny.NAME}.yaml"
    described = yaml.safe_load(path.read_text())
    described["splits"] = {}
    described["tiles"] |= {"year": 2024, "label_year": 2021, "overrides": {"t1": {"label_year": 2020}}}
    path.write_text(yaml.safe_dump(described))
    with pytest.raises(MaterialisationError, match="4 years apart"):
        materialise(dagster, config.load_dataset(tiny.NAME), ["ground_truth", "patches", "label_quality"])
    (record,) = dagster.event_log_storage.get_latest_asset_check_execution_by_key([FILES_FIT]).values()
    found = record.event.dagster_event.asset_check_evaluation_data  # type: ignore[union-attr]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    (row,) = found.metadata["problems"].value.records  # type: ignore[union-attr]
    assert row.data["where"].endswith("t1.tif")
    assert row.data["found"] == "orthophoto of 2024, labels of 2020: 4 years apart"
    assert row.data["expected"] == "at most 3 (`limits.max_year_gap`)"
    truth = home / tiny.NAME / "ground_truth"
    assert [path.name for path in truth.glob("[!.]*") if path.is_symlink()] == ["t0"], "one bad tile stops itself alone"
