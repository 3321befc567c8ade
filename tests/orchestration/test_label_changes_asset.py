"""Change candidates in the lineage, and lists that come back as corrections: of the tile they lie on, no other."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import geopandas
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
import yaml

from assets.definitions import collect
from assets.lineage import label_changes
from assets.materialise import materialise
from landcover_orch import config, raster
from landcover_orch.config import Dataset
from landcover_orch.grid import Window
from landcover_orch.review import label_changes as library
from landcover_orch.store import publish
from landcover_orch.store.publish import Recipe
from tests import tiny
from tests.planned import PREPARE, stale

FOREST = {"model": {"name": "random_forest", "trees": 4, "texture": [3], "pixels": 1000}}
RECIPES: dict[str, dict[str, object]] = {
    "forest": {"name": "forest", **FOREST},
    "label_review": {"name": "label_review", **FOREST, "protocol": {"folds": {"by": "tiles", "count": 3}}},
}


def write(configs: Path, folder: Path, recipe: str, **said: object) -> Dataset:
    """The tiny dataset with named polygons, one recipe, and a file of corrections that is not there yet."""
    tiny.write(configs, folder, tiles=3)
    tiny.save(configs, "experiments", RECIPES[recipe])
    for path in folder.glob("*.gpkg"):
        frame = geopandas.read_file(path)
        frame["number"] = [f"{path.stem}-{kind}" for kind in ("field", "lake")]
        frame.to_file(path, layer="labels", driver="GPKG", engine="pyogrio")
    file = configs / "datasets" / f"{tiny.NAME}.yaml"
    labels = {"attribute": "code", "id": "number", "corrections": "corrections.gpkg"}
    file.write_text(
        yaml.safe_dump({**yaml.safe_load(file.read_text()), "experiments": [recipe], "labels": labels} | said)
    )
    return config.load_dataset(tiny.NAME)


@pytest.fixture
def outdated(configs: Path, home: Path, tmp_path: Path) -> Dataset:
    """Labels of 2021 under images of 2024, but for t0; the lake of t2 was a field then."""
    tiles = {"image": "{tile}.tif", "label": "{tile}.gpkg", "year": 2024, "label_year": 2021}
    own = {"t0": {"label_year": 2024}}
    dataset = write(configs, tmp_path / "raw", "forest", tiles={**tiles, "overrides": own})
    path = tmp_path / "raw" / "t2.gpkg"
    frame = geopandas.read_file(path)
    frame["code"] = "10"
    frame.to_file(path, layer="labels", driver="GPKG", engine="pyogrio")
    return dataset


def correct(dataset: Dataset, listed: Path, name: str, code: str) -> None:
    """What a person does in QGIS: mends the code of one polygon of a list, and keeps that row alone."""
    frame = geopandas.read_file(listed)
    row = frame[frame["number"] == name].copy()
    assert len(row) == 1
    row["code"] = code
    path = dataset.folder / "corrections.gpkg"
    rows = [geopandas.read_file(path), row] if path.exists() else [row]
    path.unlink(missing_ok=True)
    pd.concat(rows).to_file(path, driver="GPKG", engine="pyogrio")


def classes(tile: str) -> np.ndarray:
    """The tile's ground truth (y, x)."""
    path = publish.current(config.home() / tiny.NAME / "ground_truth", tile).file("classes.tif")
    with raster.reader(raster.inspect(path)) as pixels:
        return np.asarray(pixels.read(Window(0, 0, tiny.SIDE, tiny.SIDE))[0])


def test_only_a_dataset_with_newer_images_has_the_asset(configs: Path, home: Path, tmp_path: Path) -> None:
    dataset = write(configs, tmp_path / "raw", "forest")
    newer = {"tiles": dataset.tiles.model_copy(update={"year": 2024, "label_year": 2021})}
    described = [dataset.model_copy(update=update) for update in ({}, newer, {**newer, "label_review": "forest"})]
    graphs = [collect([one]).resolve_asset_graph() for one in described]
    key = dg.AssetKey([tiny.NAME, "label_changes"])
    assert [key in graph.get_all_asset_keys() for graph in graphs] == [False, True, True]
    parents = [{parent.path[-1] for parent in graph.get(key).parent_keys} for graph in graphs[1:]]
    assert parents == [own := {"dataset_manifest", "champion", "land_cover_map"}, own | {"prediction"}]
    assert graphs[1].get(key).partitions_def is None


@pytest.mark.parametrize(("share", "passed"), [(0.2, True), (0.21, False)])
def test_more_change_than_can_be_is_a_warning(
    configs: Path, home: Path, tmp_path: Path, share: float, passed: bool
) -> None:
    dataset = write(configs, tmp_path / "raw", "forest", tiles={"image": "a", "label": "b", "year": 2, "label_year": 1})
    told = {"listed_fraction_of_area": share, "listed": 1, "worst": [], "tiles": [{"tile": "t0"}]}
    folder = config.home() / tiny.NAME / "label_changes"
    publish.publish(
        folder,
        "label_changes",
        Recipe("label_changes", 1, told, {}),
        lambda stage: stage.write_json("summary.json", told),
    )
    _, check = label_changes.definitions(dataset)
    found = check()
    assert (found.passed, found.severity) == (passed, dg.AssetCheckSeverity.WARN)


def test_changes_are_listed_and_come_back_as_corrections(dagster: dg.DagsterInstance, outdated: Dataset) -> None:
    materialise(dagster, outdated)
    assert materialise(dagster, outdated).runs == 0, "nothing of it is stale"
    product = publish.current(config.home() / tiny.NAME / "label_changes", "label_changes")
    summary = product.json("summary.json")
    assert summary["tiles_left_out"] == [{"tile": "t0", "why": "its map is not newer than its labels"}]
    (row,) = summary["worst"]
    told = {key: row[key] for key in ("polygon", "label", "suggestion", "image_year", "label_year", "train_ground")}
    assert list(told.values()) == ["t2-lake", "field", "water", 2024, 2021, 0]
    key = dg.AssetCheckKey(dg.AssetKey([tiny.NAME, "label_changes"]), "map_plausible")
    (found,) = dagster.event_log_storage.get_latest_asset_check_execution_by_key([key]).values()
    assert found.status.value == "SUCCEEDED"
    assert library.main(["--dataset", tiny.NAME]) == 0
    assert library.main(["--dataset", tiny.NAME, "--maps", str(config.home() / tiny.NAME / "land_cover_map")]) == 0
    assert library.main(["--dataset", "nowhere"]) == 1
    correct(outdated, product.file("label_changes.gpkg"), "t2-lake", "20")
    assert stale(dagster, outdated, PREPARE) == {"ground_truth": ["t2"]}


def test_flagged_polygons_come_back_as_corrections(
    dagster: dg.DagsterInstance, configs: Path, home: Path, tmp_path: Path
) -> None:
    dataset = write(configs, tmp_path / "raw", "label_review", label_review="label_review", splits={})
    materialise(dagster, dataset, [*PREPARE, "model", "prediction", "label_review"])
    before = classes("t1")
    assert set(np.unique(before)) == {0, 1}
    correct(
        dataset,
        publish.current(home / tiny.NAME / "label_review", "label_review").file("label_review.gpkg"),
        "t1-lake",
        "10",
    )
    assert stale(dagster, dataset, PREPARE) == {"ground_truth": ["t1"]}
    materialise(dagster, dataset, ["ground_truth"])
    assert (classes("t1") == 0).all()
    assert stale(dagster, dataset, PREPARE) == {"patches": ["t1"]}
    told = publish.current(home / tiny.NAME / "ground_truth", "t1").json("summary.json")["corrected_polygons"]
    assert told == {"replaced": 1, "drawn": 0}
