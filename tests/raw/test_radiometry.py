"""Radiometry matched to a reference tile: known answers of the tables, nodata kept, and what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import box

from landcover_orch import raster
from landcover_orch.config import Dataset
from landcover_orch.errors import CatalogueError
from landcover_orch.fingerprint import MEMORY
from landcover_orch.grid import Window
from landcover_orch.ground_truth import truth
from landcover_orch.raw import imagery, preview
from landcover_orch.raw.catalogue import Tile, image_fingerprint, tiles
from landcover_orch.raw.radiometry import kept, table
from tests.ground_truth.test_truth import LEGEND
from tests.scenes import ORIGIN, write_geotiff, write_polygons

SIDE = 64
COUNTS = st.lists(st.integers(0, 9), min_size=16, max_size=16).map(np.array)


def histogram(values: Any, size: int = 256) -> NDArray[np.int64]:
    return np.bincount(np.asarray(values).reshape(-1), minlength=size)


def test_moments_move_mean_and_standard_deviation() -> None:
    """10 and 30 (mean 20, deviation 10) to 100 and 140 (mean 120, deviation 20): v becomes 2 v + 80."""
    found = table(histogram([10, 30]), histogram([100, 140]), "moments")
    assert found[[10, 20, 30]].tolist() == [100, 120, 140]
    assert (found[0], found[255]) == (80, 255), "cut off at the largest value"


def test_a_single_value_is_moved_alone() -> None:
    assert table(histogram([7, 7]), histogram([100, 140]), "moments")[7] == 120


@given(COUNTS)
def test_a_histogram_matched_to_itself_stays(counts: NDArray[np.int64]) -> None:
    there = np.flatnonzero(counts)
    assert table(counts, counts, "histogram")[there].tolist() == there.tolist()


@given(COUNTS, st.integers(0, 6), st.sampled_from([1, 2]))
def test_a_rising_change_of_the_values_is_undone(counts: NDArray[np.int64], moved: int, times: int) -> None:
    """Whatever rises leaves shares as they are, so that every value finds its own again."""
    there = np.flatnonzero(counts)
    changed = np.zeros(64, np.int64)
    changed[there * times + moved] = counts[there]
    assert table(changed, counts, "histogram")[there * times + moved].tolist() == there.tolist()


@given(COUNTS, COUNTS, st.sampled_from(["moments", "histogram"]))
def test_tables_rise_and_stay_within_the_values(one: NDArray[np.int64], other: NDArray[np.int64], match: str) -> None:
    found = table(one, other, match)
    assert (np.diff(found) >= 0).all()
    assert 0 <= found.min() <= found.max() < 16


@pytest.mark.parametrize("nodata", [0, 9, 15])
def test_nodata_stays_and_nothing_becomes_it(nodata: int) -> None:
    found = kept(np.full(16, nodata), float(nodata))
    assert np.flatnonzero(found == nodata).tolist() == [nodata]
    assert kept(np.arange(16), None).tolist() == [*range(16)]


@pytest.fixture(params=["uint8", "uint16"])
def flights(tmp_path: Path, home: Path, request: pytest.FixtureRequest) -> Dataset:
    """Tile b is tile a at half the contrast and 60 brighter; both lack data (0) in a corner."""
    raw, rng = tmp_path / "raw", np.random.default_rng(3)
    plain = rng.integers(20, 180, (2, SIDE, SIDE)).astype(request.param)
    for i, (name, data) in enumerate({"a": plain, "b": (plain // 2 + 60).astype(request.param)}.items()):
        data[:, :5, :5] = 0
        x = ORIGIN[0] + i * SIDE
        write_geotiff(raw / f"{name}.tif", data, origin=(x, ORIGIN[1]), nodata=0)
        shape = box(x, ORIGIN[1] - SIDE, x + SIDE, ORIGIN[1])
        write_polygons(raw / f"{name}.gpkg", [(shape, "1")])
    return Dataset.model_validate(
        {
            "name": "flights",
            "root": str(raw),
            "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"},
            "bands": ["red", "nir"],
            "dtype": request.param,
            "legend": "small",
            "labels": {"attribute": "code"},
            "experiments": ["none"],
            "radiometry": {"match": "histogram", "reference": "a"},
        }
    )


def read(dataset: Dataset, tile: Tile) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    with raster.reader(imagery.inspect(dataset, tile.images), dataset.dtype, dataset.nodata) as pixels:
        window = Window(0, 0, SIDE, SIDE)
        data = pixels.read(window)
        return data, pixels.valid(window, data)


def test_a_tile_is_read_like_its_reference(flights: Dataset) -> None:
    a, b = tiles(flights)
    (reference, there), (matched, valid) = read(flights, a), read(flights, b)
    assert matched.dtype == reference.dtype
    assert np.abs(matched.astype(int) - reference)[:, valid].max() <= 1, "what rounding took does not come back"
    assert (valid == there).all()
    assert (matched[:, ~valid] == 0).all()
    assert imagery.inspect(flights, a.images).tables is None
    small = raster.thumbnail(imagery.inspect(flights, b.images), SIDE)
    assert (small == matched).all()


def test_moments_match_in_the_mean(flights: Dataset) -> None:
    by_moments = flights.model_copy(
        update={"radiometry": flights.radiometry.model_copy(update={"match": "moments"})}  # type: ignore[union-attr]
    )
    a, b = tiles(by_moments)
    (reference, there), (matched, _) = read(by_moments, a), read(by_moments, b)
    assert matched[:, there].mean() == pytest.approx(reference[:, there].mean(), abs=0.5)
    assert matched[:, there].std() == pytest.approx(reference[:, there].std(), rel=0.02)


def test_another_reference_is_another_image(flights: Dataset, home: Path) -> None:
    a, b = tiles(flights)
    before = [image_fingerprint(tile, home / MEMORY) for tile in (a, b)]
    plain = [image_fingerprint(t, home / MEMORY) for t in tiles(flights.model_copy(update={"radiometry": None}))]
    assert before[0] == plain[0]
    assert before[1] != plain[1]
    found = imagery.inspect(flights, b.images)
    assert found.reading != imagery.stacked(flights, b.images).reading
    assert flights.imagery != flights.model_copy(update={"radiometry": None}).imagery


def test_the_ground_truth_shows_before_and_after(flights: Dataset, home: Path) -> None:
    a, b = tiles(flights)
    product = truth.build(flights, LEGEND, b, home)
    assert 0 < product.file("radiometry.png").stat().st_size < 75_000
    assert "radiometry.png" not in truth.build(flights, LEGEND, a, home).files


def test_an_orthophoto_is_shown_as_it_was_delivered(flights: Dataset, home: Path) -> None:
    """And so a look at new files reads no whole raster."""
    _, b = tiles(flights)
    plain = flights.model_copy(update={"radiometry": None})
    assert preview.preview(flights, b) == preview.preview(plain, b)
    assert preview.facts(flights, b) == preview.facts(plain, b)
    assert not (home / "flights").exists()


def test_a_reference_that_is_no_tile_is_named(flights: Dataset) -> None:
    stray = flights.model_copy(
        update={"radiometry": flights.radiometry.model_copy(update={"reference": "z"})}  # type: ignore[union-attr]
    )
    with pytest.raises(CatalogueError, match="unknown tile 'z'") as caught:
        tiles(stray)
    assert len(caught.value.problems) == 1


def test_floats_have_no_tables(flights: Dataset) -> None:
    with pytest.raises(ValueError, match="matched by tables, for tiles of uint8 or uint16"):
        Dataset.model_validate({**flights.model_dump(), "dtype": "float32"})
