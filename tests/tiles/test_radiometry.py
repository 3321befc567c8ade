"""Radiometry matched to a reference tile: known answers of tables and knots, nodata kept, and what reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import box

from landcover_orch import raster
from landcover_orch.config import Dataset
from landcover_orch.errors import CatalogueError
from landcover_orch.grid import Window, blocks
from landcover_orch.ground_truth import build as truth
from landcover_orch.raster.histogram import Histogram, distance
from landcover_orch.raster.value_maps import Knots
from landcover_orch.store.fingerprint import MEMORY, file_hash
from landcover_orch.tiles import imagery, preview, radiometry
from landcover_orch.tiles.catalogue import image_fingerprint, tiles
from landcover_orch.tiles.radiometry import keep_nodata, knots, table
from landcover_orch.tiles.tile import Tile
from tests.ground_truth.test_build import LEGEND
from tests.raster.test_histogram import histogram as counted
from tests.scenes import ORIGIN, write_geotiff, write_polygons

SIDE = 64
COUNTS = st.lists(st.integers(0, 9), min_size=16, max_size=16).map(np.array)


def histogram(values: Any, size: int = 256) -> NDArray[np.int64]:
    return np.bincount(np.asarray(values).reshape(-1), minlength=size)


def test_moments_move_mean_and_standard_deviation() -> None:
    """10 and 30 (mean 20, deviation 10) to 100 and 140 (mean 120, deviation 20): v becomes 2 v + 80."""
    result = table(histogram([10, 30]), histogram([100, 140]), "moments")
    assert result[[10, 20, 30]].tolist() == [100, 120, 140]
    assert (result[0], result[255]) == (80, 255), "cut off at the largest value"


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
    result = table(one, other, match)
    assert (np.diff(result) >= 0).all()
    assert 0 <= result.min() <= result.max() < 16


@pytest.mark.parametrize("nodata", [0, 9, 15])
def test_nodata_stays_and_nothing_becomes_it(nodata: int) -> None:
    result = keep_nodata(np.full(16, nodata), float(nodata))
    assert np.flatnonzero(result == nodata).tolist() == [nodata]
    assert keep_nodata(np.arange(16), None).tolist() == [*range(16)]


def values(seed: int, size: int = 400) -> NDArray[np.float64]:
    """Numbers of some distribution, among them one that a tenth of them share."""
    random = np.random.default_rng(seed)
    drawn = random.gamma(random.uniform(1, 6), random.uniform(0.01, 50), size) - random.uniform(0, 20)
    return np.where(random.random(size) < 0.1, drawn[0], drawn).astype(np.float32).astype(np.float64)


def moved(numbers: NDArray[np.float64], reference: NDArray[np.float64], match: str) -> NDArray[np.float64]:
    return applied(numbers, knots(counted(numbers), counted(reference), match))


def applied(numbers: Any, made: tuple[tuple[float, float], NDArray[np.float64]]) -> NDArray[np.float64]:
    (result,) = Knots(np.array(made[:1]), made[1][None])(np.array([numbers], np.float32))
    return np.asarray(result, np.float64)


SEEDS = st.integers(0, 2**32 - 1)
MATCHES = st.sampled_from(["moments", "histogram"])


def test_floats_move_by_gain_and_offset() -> None:
    """10 and 30 to 100 and 140, as integers do: 20 becomes 120, and beyond 30 all move by 110."""
    ends, added = made = knots(counted([10, 30]), counted([100, 140]), "moments")
    assert (ends, added.tolist()) == ((10, 30), [90, 110])
    assert applied([20, 40], made).tolist() == [120, 150]


def test_floats_find_the_values_of_their_shares() -> None:
    """Four values of a quarter each, at shares 1/8 to 7/8; two of a half each stand at 1/4 and 3/4."""
    made = knots(counted([1, 2, 3, 4]), counted([10, 20]), "histogram")
    np.testing.assert_allclose(applied([1, 2, 3, 4], made), [10, 12.5, 17.5, 20], rtol=1e-4)


@settings(max_examples=40)
@given(SEEDS, MATCHES)
def test_floats_matched_to_themselves_stay(seed: int, match: str) -> None:
    same = values(seed)
    np.testing.assert_allclose(moved(same, same, match), same, rtol=1e-6, atol=1e-9)


@settings(max_examples=40)
@given(SEEDS, SEEDS)
def test_moments_of_floats_are_reached(seed: int, other: int) -> None:
    reference = values(other)
    result = moved(values(seed), reference, "moments")
    assert result.mean() == pytest.approx(reference.mean(), abs=1e-5 * reference.std())
    assert result.std() == pytest.approx(reference.std(), rel=1e-5)


@settings(max_examples=40)
@given(SEEDS, SEEDS, MATCHES)
def test_floats_keep_their_order(seed: int, other: int, match: str) -> None:
    numbers = np.sort(np.concatenate([values(seed), values(seed + 1)]))
    result = applied(numbers, knots(counted(values(seed)), counted(values(other)), match)).astype(np.float32)
    assert (np.diff(result) >= -np.spacing(np.abs(result[1:]))).all()


@settings(max_examples=40)
@given(SEEDS, SEEDS)
def test_a_matched_histogram_lies_nearer(seed: int, other: int) -> None:
    numbers, reference = values(seed), values(other)
    before, after = (
        distance(counted(result), counted(reference)) for result in (numbers, moved(numbers, reference, "histogram"))
    )
    assert before is not None
    assert after is not None
    assert after <= max(before, 0.1)
    assert after < 0.2


@pytest.mark.parametrize("match", ["moments", "histogram"])
def test_floats_without_pixels_stay_and_one_value_is_moved_alone(match: str) -> None:
    empty = Histogram(np.zeros(0), np.zeros(0, np.int64))
    for pair in ((empty, counted([1, 2])), (counted([1, 2]), empty)):
        assert applied([5], knots(*pair, match)).tolist() == [5]
    for one in (0.1, -3e5, 0.0):
        assert applied([one], knots(counted([one] * 7), counted([100, 140]), match))[0] == pytest.approx(120)


def test_many_values_come_to_have_the_histogram() -> None:
    random = np.random.default_rng(0)
    numbers, reference = random.normal(0, 1, 20_000), random.gamma(2, 3, 20_000)
    assert distance(counted(moved(numbers, reference, "histogram")), counted(reference)) < 0.001  # type: ignore[operator]


@pytest.fixture(params=["uint8", "uint16", "int16", "float32"])
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
    apart = np.abs(matched.astype(float) - reference)[:, valid]
    assert apart.max() <= 1, "what rounding took does not come back"
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


def test_what_was_delivered_is_told(flights: Dataset) -> None:
    """Tile b is 60 brighter at half the contrast, in standard deviations of tile a."""
    a, b = tiles(flights)
    assert radiometry.unmatched(imagery.inspect(flights, a.images)) == []
    result = radiometry.unmatched(imagery.inspect(flights, b.images))
    (reference, there), (own, _) = (read(flights.model_copy(update={"radiometry": None}), tile) for tile in (a, b))
    expected = [distance(*(counted(image[i][there]) for image in (own, reference))) for i in range(2)]
    assert result == pytest.approx(expected, rel=1e-3)
    assert min(value for value in result if value) > 0.3


def test_another_reference_is_another_image(flights: Dataset, home: Path) -> None:
    a, b = tiles(flights)
    before = [image_fingerprint(tile, home / MEMORY) for tile in (a, b)]
    plain = [image_fingerprint(t, home / MEMORY) for t in tiles(flights.model_copy(update={"radiometry": None}))]
    assert before[0] == plain[0]
    assert before[1] != plain[1]
    result = imagery.inspect(flights, b.images)
    assert result.read_options != imagery.stacked(flights, b.images).read_options
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


def stacked(folder: Path, match: str) -> Dataset:
    """Tiles a and b of an orthophoto in uint8 and heights in float32; both of b are other than those of a.

    Heights lack data (-9999) in a row, and are no number in another.
    """
    random = np.random.default_rng(5)
    plain, heights = random.integers(20, 180, (2, SIDE, SIDE)), random.gamma(4, 9, (SIDE, SIDE))
    pairs = {"a": (plain, heights), "b": (plain // 2 + 60, 0.3 * heights + 800)}
    for i, (name, (photo, surface)) in enumerate(pairs.items()):
        corner, surface = (ORIGIN[0] + i * SIDE, ORIGIN[1]), surface.astype(np.float32)
        surface[7], surface[9] = -9999, np.nan
        write_geotiff(folder / f"{name}.tif", photo.astype(np.uint8), origin=corner)
        write_geotiff(folder / "dsm" / f"{name}.tif", surface, origin=corner, nodata=-9999)
        write_polygons(folder / f"{name}.gpkg", [(box(corner[0], corner[1] - SIDE, corner[0] + SIDE, corner[1]), "1")])
    further = [{"image": "dsm/{tile}.tif", "bands": ["dsm"]}]
    return Dataset.model_validate(
        {
            "name": "stacked",
            "root": str(folder),
            "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg", "further": further},
            "bands": ["red", "nir", "dsm"],
            "dtype": "float32",
            "legend": "small",
            "labels": {"attribute": "code"},
            "experiments": ["none"],
            "radiometry": {"match": match, "reference": "a"},
        }
    )


@pytest.mark.parametrize("match", ["moments", "histogram"])
def test_each_band_of_further_files_is_matched_to_its_own(tmp_path: Path, home: Path, match: str) -> None:
    dataset = stacked(tmp_path / "raw", match)
    a, b = tiles(dataset)
    (reference, there), (matched, valid) = read(dataset, a), read(dataset, b)
    assert (valid == there).all()
    assert not valid[[7, 9]].any()
    assert (matched[2, 7] == -9999).all()
    assert np.isnan(matched[2, 9]).all()
    assert np.abs(matched - reference)[:2, valid].max() <= 1.01
    np.testing.assert_allclose(matched[2, valid], reference[2, valid], atol=0.5)
    assert b.reference == a.images
    assert image_fingerprint(b, home / MEMORY) != image_fingerprint(replace(b, reference=a.images[:1]), home / MEMORY)
    image = imagery.inspect(dataset, b.images)
    assert image.read_options[-1] == ["tables", *(file_hash(file.tables) for file in image.files if file.tables)]
    assert image.unmatched == imagery.stacked(dataset, b.images)
    with raster.reader(image.unmatched, "float32") as pixels:
        assert pixels.read(Window(0, 0, SIDE, SIDE))[2, valid].mean() > 800
    assert truth.build(dataset, LEGEND, b, home).file("radiometry.png").is_file()


@pytest.mark.parametrize("size", [(1, SIDE), (17, 23), (SIDE, 5)])
def test_a_window_is_that_of_the_whole_wherever_it_lies(tmp_path: Path, home: Path, size: tuple[int, int]) -> None:
    dataset = stacked(tmp_path / "raw", "histogram")
    _, b = tiles(dataset)
    whole, _ = read(dataset, b)
    with raster.reader(imagery.inspect(dataset, b.images), dataset.dtype, dataset.nodata) as pixels:
        for window in blocks((SIDE, SIDE), *size):
            np.testing.assert_array_equal(pixels.read(window), whole[(slice(None), *window.slices)])


def test_strips_and_pieces_leave_the_map_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    dataset = stacked(tmp_path / "raw", "moments")
    _, b = tiles(dataset)
    whole, _ = read(dataset, b)
    monkeypatch.setenv("LANDCOVER_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(radiometry, "STRIP_ROWS", 5)
    monkeypatch.setattr(radiometry, "PIECE", 37)
    result, _ = read(dataset, b)
    np.testing.assert_allclose(result, whole, rtol=1e-6)


def test_tables_of_int16_hold_values_below_zero(tmp_path: Path, home: Path) -> None:
    """Decibels times ten, say: b is a moved by 40; -9999 is nodata."""
    plain = np.random.default_rng(2).integers(-300, 50, (1, SIDE, SIDE)).astype(np.int16)
    for i, (name, data) in enumerate({"a": plain, "b": plain + np.int16(40)}.items()):
        data[:, 0] = -9999
        write_geotiff(tmp_path / f"{name}.tif", data, origin=(ORIGIN[0] + i * SIDE, ORIGIN[1]), nodata=-9999)
        (tmp_path / f"{name}.gpkg").touch()
    settings = {**stacked(tmp_path / "other", "moments").model_dump(), "root": str(tmp_path), "dtype": "int16"}
    dataset = Dataset.model_validate(
        {**settings, "bands": ["vv"], "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"}}
    )
    _, b = tiles(dataset)
    matched, valid = read(dataset, b)
    assert (matched[0, 1:] == plain[0, 1:]).all()
    assert (matched[0, 0] == -9999).all()
    assert (valid == (np.arange(SIDE) > 0)[:, None]).all()
