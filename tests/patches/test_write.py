"""Cutting a tile: what is in the store is what lies under the windows, whatever the workers and shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landcover_orch import raster
from landcover_orch.errors import IncompleteError
from landcover_orch.grid import Window, windows
from landcover_orch.legend import IGNORE
from landcover_orch.patches import store, write
from landcover_orch.store.publish import Product
from tests.patches.fields import LEGEND, SHAPE, Fields, write_fields
from tests.scenes import write_geotiff


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Fields:
    """A dataset that the tests of this file only read."""
    folder = tmp_path_factory.mktemp("fields")
    (folder / "home").mkdir()
    return write_fields(folder / "raw", folder / "home", names=("a",))


def whole(fields: Fields) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """The tile's image (band, y, x) and classes (y, x), read in one piece."""
    tile = fields.tiles[0]
    truth = fields.home / "fields" / "ground_truth" / tile.name / "classes.tif"
    result = []
    for path in (tile.image, truth):
        with raster.reader(raster.inspect(path), nodata="none") as source:
            result.append(source.read(Window(0, 0, *SHAPE)))
    return result[0], result[1][0]


def read(product: Product) -> tuple[np.ndarray, np.ndarray, store.Index]:  # type: ignore[type-arg]
    """Everything a store holds."""
    path = product.file(store.STORE)
    image, label = (np.asarray(store.open_array(path, name).read().result()) for name in (store.IMAGE, store.LABEL))
    return image, label, store.read_index(path)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(16, 60),
    st.integers(5, 70),
    st.sampled_from(["shift_back", "pad", "drop"]),
    st.integers(1, 40),
    st.booleans(),
)
def test_a_store_holds_what_lies_under_its_windows(
    fields: Fields, size: int, stride: int, edge: str, shard: int, few: bool
) -> None:
    cut = {"size": size, "stride": stride, "edge": edge, "shard": shard, "min_labelled": 0.4 if few else 0.0}
    product = fields.changed(patches=cut).cut()
    image, label, index = read(product)
    pixels, classes = whole(fields)
    pixels = np.pad(pixels, ((0, 0), (0, 80), (0, 80)))
    classes = np.pad(classes, ((0, 80), (0, 80)), constant_values=IGNORE)
    expected = [box for box in windows(SHAPE, size, stride, edge) if share(classes[box.slices]) >= cut["min_labelled"]]  # type: ignore[arg-type]
    assert index.windows(size) == expected
    for i, box in enumerate(expected):
        rows, cols = box.slices
        np.testing.assert_array_equal(image[i], pixels[:, rows, cols])
        np.testing.assert_array_equal(label[i], classes[rows, cols])
        assert index.class_count[i].tolist() == [(label[i] == c).sum() for c in (0, 1)]
        assert index.labelled[i] == pytest.approx(share(label[i]))


def share(label: np.ndarray) -> float:  # type: ignore[type-arg]
    return float(np.float32((label != IGNORE).mean()))


def test_what_was_left_out_is_counted(fields: Fields) -> None:
    product = fields.changed(patches={"size": 30, "stride": 30, "edge": "drop", "min_labelled": 0.9}).cut()
    summary = product.json("summary.json")
    assert (summary["windows"], summary["patches"], summary["left_out"]) == (9, 6, 3)
    assert summary["coverage"] == pytest.approx(90 * 90 / (90 * 110))
    assert summary["class_pixels"] == {"field": 50 * 90, "wood": 10 * 90}


def test_runs_do_not_change_a_byte(fields: Fields, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = fields.cut()
    monkeypatch.setattr(write, "RUN_ROWS", 20)
    again = Fields(fields.dataset, tmp_path).cut()
    assert again.files == one.files


def test_pixels_without_data_hold_zero(tmp_path: Path, home: Path) -> None:
    result = write_fields(tmp_path / "raw", home, names=("a",), dtype="float32", bands=["height"], nodata=-9999.0)
    data = np.full(SHAPE, 3.0, np.float32)
    data[0, 0], data[1, 1] = np.nan, -9999.0
    write_geotiff(tmp_path / "raw" / "a.tif", data)
    image, label, _ = read(result.cut())
    assert image[0, 0, 0, 0] == image[0, 0, 1, 1] == 0
    assert label[0, 0, 0] == label[0, 1, 1] == IGNORE
    assert np.unique(image).tolist() == [0, 3]


def test_a_tile_without_ground_truth_is_refused(tmp_path: Path, home: Path) -> None:
    result = write_fields(tmp_path / "raw", home)
    with pytest.raises(IncompleteError, match="materialise the asset `ground_truth` for a"):
        write.build(result.dataset, LEGEND, result.tiles[0], home)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bytes(tmp_path: Path, home: Path) -> None:
    from distributed import LocalCluster

    result = write_fields(tmp_path / "raw", home, names=("a",))
    local = result.cut()
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        there = Fields(result.dataset.model_copy(update={"cluster": cluster.scheduler_address}), tmp_path / "other")
        assert there.cut().files == local.files
