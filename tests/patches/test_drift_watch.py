"""A tile that arrives later is held against the train pixels as the manifest would hold it, without a new manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.errors import CatalogueError, IncompleteError, RasterError
from landcover_orch.patches import dataset, drift, drift_watch, manifest, statistics
from landcover_orch.raster.histogram import Histogram, distance
from landcover_orch.store.publish import Product
from tests.patches.fields import LEGEND, SHAPE, Fields, write_fields
from tests.raster.test_histogram import histogram
from tests.scenes import ORIGIN, write_geotiff

DRAWS = {
    "uint8": lambda rng: rng.integers(0, 255, (2, *SHAPE), dtype=np.uint8),
    "uint16": lambda rng: rng.gamma(3, 4000, (2, *SHAPE)).clip(0, 65_535).astype(np.uint16),
    "int16": lambda rng: rng.normal(-900, 4000, (2, *SHAPE)).clip(-(2**15), 2**15 - 1).astype(np.int16),
    "float32": lambda rng: rng.normal(280, 20, (2, *SHAPE)).astype(np.float32),
}


def described(fields: Fields) -> Product:
    for i in range(len(fields.tiles)):
        fields.cut(i)
    return dataset.build(fields.dataset, LEGEND, fields.tiles, fields.home)


def with_file(fields: Fields, folder: Path, name: str, data: np.ndarray) -> Fields:
    """The dataset with one more tile, without labels."""
    write_geotiff(folder / "new" / f"{name}.tif", data, origin=(ORIGIN[0] + 5000, ORIGIN[1]))
    return fields.changed(tiles={**fields.dataset.tiles.model_dump(), "unlabelled": "new/{tile}.tif"})


def row(fields: Fields, name: str, trained: Product) -> dict[str, object]:
    tile = next(tile for tile in fields.tiles if tile.name == name)
    found: dict[str, object] = drift_watch.build(fields.dataset, tile, trained, fields.home).json(drift_watch.SUMMARY)
    return found


@pytest.mark.parametrize("dtype", DRAWS)
def test_later_is_measured_what_the_manifest_measures(tmp_path: Path, home: Path, dtype: str) -> None:
    raw, rng = tmp_path / "raw", np.random.default_rng(4)
    plain = write_fields(raw, home, splits={"test": {"tiles": ["b"]}}, dtype=dtype)
    for i, tile in enumerate(plain.tiles):
        write_geotiff(tile.image, DRAWS[dtype](rng), origin=(ORIGIN[0] + i * 500, ORIGIN[1]))
    before = described(plain)
    grown = with_file(plain, raw, "u", DRAWS[dtype](rng) // 2)
    later = row(grown, "u", before)
    known = {found["tile"]: found for found in described(grown).json("summary.json")["drift"]}
    assert later == known["u"]
    assert later["largest"] > 0.3  # type: ignore[operator]
    assert row(plain, "b", before) == known["b"]


def test_a_known_tile_is_not_read_again_unless_its_pixels_or_the_limit_are_others(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = write_fields(tmp_path / "raw", home)
    trained = described(fields)
    monkeypatch.setattr(statistics, "count_image", None)
    assert row(fields, "a", trained)["outside"] is False
    strict = fields.changed(limits={"max_drift": 1e-9})
    with pytest.raises(TypeError):
        row(strict, "a", trained)
    write_geotiff(fields.tiles[1].image, np.zeros((2, *SHAPE), np.uint8), origin=(ORIGIN[0] + 500, ORIGIN[1]))
    with pytest.raises(TypeError):
        row(fields, "b", trained)


def test_another_limit_is_another_answer(tmp_path: Path, home: Path) -> None:
    fields = write_fields(tmp_path / "raw", home, splits={"test": {"tiles": ["b"]}})
    trained = described(fields)
    assert [row(fields.changed(limits={"max_drift": limit}), "b", trained)["outside"] for limit in (1e-9, 1.0)] == [
        True,
        False,
    ]


def test_a_model_is_watched_by_what_it_was_trained_on(tmp_path: Path, home: Path) -> None:
    fields = write_fields(tmp_path / "raw", home, splits={"test": {"tiles": ["b"]}})
    first = described(fields)
    digest = manifest.load(first.path).digest
    second = described(fields.changed(splits={"test": {"tiles": ["a"]}}))
    assert drift_watch.trained_on("fields", digest, home).path == first.path
    assert drift_watch.trained_on("fields", "long gone", home).path == second.path


def test_a_matched_tile_is_like_the_others_but_was_not_as_delivered(tmp_path: Path, home: Path) -> None:
    """What matching hides, as a cloud, its own distance tells."""
    fields = write_fields(tmp_path / "raw", home, radiometry={"match": "histogram", "reference": "a"})
    trained = described(fields)
    bright = np.random.default_rng(4).integers(235, 255, (2, *SHAPE)).astype(np.uint8)
    later = row(with_file(fields, tmp_path / "raw", "u", bright), "u", trained)
    assert later["outside"] is False
    assert later["delivered"] > 1.4  # type: ignore[operator]


def test_a_tile_of_other_bands_is_not_compared(tmp_path: Path, home: Path) -> None:
    fields = write_fields(tmp_path / "raw", home)
    trained = described(fields)
    other = fields.changed(bands=["nir", "red"])
    with pytest.raises(CatalogueError, match="bands nir, red; expected red, nir, which the model was trained on"):
        row(other, "a", trained)
    more = with_file(fields, tmp_path / "raw", "u", np.zeros((3, *SHAPE), np.uint8))
    with pytest.raises(RasterError, match=r"u.tif: 3 bands; expected 2: red, nir. Fix: see what the check `files_fit`"):
        row(more, "u", trained)


def test_a_manifest_of_before_says_what_to_do(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described(write_fields(tmp_path / "raw", home))
    monkeypatch.setattr(drift, "TRAINED", "later.npz")
    with pytest.raises(IncompleteError, match=r"no later.npz.*materialise the asset `dataset_manifest` again"):
        drift_watch.trained_on("fields", "any", home)


def test_histograms_come_back_from_their_file(tmp_path: Path) -> None:
    found = [histogram([1, 1, 2.5]), histogram([7]), Histogram(np.zeros(0), np.zeros(0, np.int64))]
    for name in ("a", "b"):
        drift.save(tmp_path / name, found)
    for one, other in zip(drift.load(tmp_path / "a"), found, strict=True):
        assert one.values.tolist() == other.values.tolist()
        assert one.pixels.tolist() == other.pixels.tolist()
        assert one.pixels.dtype == np.int64
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_what_is_kept_tells_distances_to_within_a_bin(seed: int) -> None:
    random = np.random.default_rng(seed)
    one, other = (histogram(random.gamma(random.uniform(1, 9), 300, 9000).round(1)) for _ in range(2))
    exact, remaining = distance(one, other), distance(one, other.compact(drift.BINS))
    assert remaining == pytest.approx(exact, abs=0.01)
