"""Folds: all pixels beside the test split are test once, and the test split never."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from landcover_orch.config import Dataset, Splits
from landcover_orch.config.experiments import Experiment, Fold, Folds
from landcover_orch.errors import CatalogueError, IncompleteError
from landcover_orch.grid import Window
from landcover_orch.ground_truth import build as truth
from landcover_orch.patches import dataset, folds, manifest, write
from landcover_orch.patches.manifest import DatasetManifest
from landcover_orch.patches.splits import EXCLUDED, TEST, TRAIN, VALIDATION, block_roles, encode, roles
from landcover_orch.store.publish import Product
from tests.patches.fields import LEGEND, Fields, write_fields
from tests.training import classroom

WHOLE = Window(0, 0, 40, 50)
GRIDS = {name: GeoBox(WHOLE[2:], Affine(1, 0, 31 * i, 0, -1, 7 * i), "EPSG:25830") for i, name in enumerate("abcde")}
"""Tiles that each overlap the next by 19 columns and 33 rows."""

SPLITS: tuple[dict[str, Any], ...] = (
    {"test": {"tiles": ["e"]}, "validation": {"tiles": ["d"]}},
    {"test": {"blocks": 0.3}, "validation": {"blocks": 0.2}},
    {"test": {"tiles": ["a"], "blocks": 0.2}, "excluded": {"tiles": ["b"]}},
    {"test": {"blocks": 0.25}, "excluded": {"blocks": 0.1}},
    {"test": {"random_fraction": 0.4}, "validation": {"random_fraction": 0.2}},
    {},
)
DEALT = st.builds(Folds, by=st.sampled_from(["blocks", "tiles"]), count=st.sampled_from([3, 4, 7]))


def described(splits: dict[str, Any], seed: int = 0) -> DatasetManifest:
    """A manifest of five tiles with these splits; its tiles hold a name and nothing else that counts."""
    plain = classroom.manifest()
    tiles = tuple(plain.tiles[0].model_copy(update={"name": name}) for name in GRIDS)
    split = Splits.model_validate({"block": 9.5, "seed": seed, **splits})
    return plain.model_copy(update={"tiles": tiles, "dataset": plain.dataset.model_copy(update={"splits": split})})


def pixels(one: DatasetManifest) -> dict[str, NDArray[np.uint8]]:
    return {name: roles(one.dataset.splits, name, grid, WHOLE) for name, grid in GRIDS.items()}


def in_folds(whole: DatasetManifest, dealt: Folds) -> list[dict[str, NDArray[np.uint8]]]:
    count = folds.count_of(whole, dealt)
    each = (folds.fold_of(whole, dealt, index) for index in range(1, count + 1))
    return [pixels(folds.described(whole, fold)) for fold in each]


def enough(whole: DatasetManifest, dealt: Folds) -> bool:
    return dealt.by == "blocks" or (dealt.count or 0) <= len(folds.non_test_tiles(whole))


@given(st.sampled_from(SPLITS), DEALT, st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_ground_beside_the_test_side_is_test_in_one_fold_and_chooses_in_the_one_before(
    splits: dict[str, Any], dealt: Folds, seed: int
) -> None:
    whole = described(splits, seed)
    if not enough(whole, dealt):
        return
    before, each = pixels(whole), in_folds(whole, dealt)
    for name, own in before.items():
        result = np.stack([fold[name] for fold in each])
        out = (result == EXCLUDED).all(axis=0)
        assert out[own == TEST].all()
        assert out[own == EXCLUDED].all()
        assert not ((result == EXCLUDED).any(axis=0) & ~out).any()
        assert ((result == TEST).sum(axis=0) == 1)[~out].all()
        assert (np.roll(result == TEST, -1, axis=0) == (result == VALIDATION)).all()
        assert ((result == TRAIN).sum(axis=0) == len(each) - 2)[~out].all()


@pytest.mark.parametrize("splits", [SPLITS[0], SPLITS[1], SPLITS[3]])
def test_nothing_but_the_test_side_and_what_a_person_excluded_is_left_out(splits: dict[str, Any]) -> None:
    whole = described(splits)
    for name, result in in_folds(whole, Folds(count=3))[0].items():
        own = pixels(whole)[name]
        np.testing.assert_array_equal(result == EXCLUDED, (own == TEST) | (own == EXCLUDED))


@given(st.integers(0, 99), st.sampled_from([3, 5]))
@settings(deadline=None, max_examples=15)
def test_a_block_has_the_same_fold_in_tiles_that_overlap(seed: int, count: int) -> None:
    for fold in in_folds(described({"test": {"blocks": 0.2}}, seed), Folds(count=count)):
        np.testing.assert_array_equal(fold["a"][:-7, 31:], fold["b"][7:, :-31])


def test_tiles_are_dealt_out_in_turn() -> None:
    whole = described({"test": {"tiles": ["c"]}})
    second = folds.described(whole, Fold(by="tiles", index=2, count=3)).dataset.splits
    assert (second.test.tiles, second.validation.tiles, second.excluded.tiles) == (("b",), ("d",), ("c",))
    first = folds.described(whole, Fold(by="tiles", index=1, count=3)).dataset.splits
    assert (first.test.tiles, first.validation.tiles) == (("a", "e"), ("b",))
    assert folds.count_of(whole, Folds(by="tiles")) == 4


def test_folds_do_not_follow_the_draw_of_the_test_blocks() -> None:
    grid = GeoBox((1, 40_000), Affine(10, 0, 5, 0, -10, 5), "EPSG:25830")
    splits = Splits.model_validate({"block": 10, "excluded": {"blocks": 0.4}, "fold": {"index": 1, "count": 4}})
    result = roles(splits, "t", grid, Window(0, 0, 1, 40_000))[0]
    used = result[result != EXCLUDED]
    np.testing.assert_allclose(np.bincount(result, minlength=4) / result.size, [0.3, 0.15, 0.15, 0.4], atol=0.01)
    assert abs(np.corrcoef(result[1:] == TEST, result[:-1] == TEST)[0, 1]) < 0.02
    assert (used == TEST).mean() == pytest.approx(0.25, abs=0.01)


def test_the_deal_is_that_of_splitmix64_in_plain_integers() -> None:
    """Another machine, or a later version, must deal the same blocks."""

    def mix(state: int) -> int:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        return state ^ state >> 31

    def letter(col: int, row: int) -> str:
        share = (mix(mix(mix(mix(0) ^ col % 2**64) ^ row % 2**64) ^ 1) >> 11) / 2**53
        return {1: "e", 2: "v"}.get(int(share * 5), "t")

    splits = Splits.model_validate({"block": 1, "fold": {"index": 2, "count": 5}})
    result = block_roles(splits, np.arange(-12, 12), np.full(24, 3))
    assert result.tolist() == ["tve".index(letter(col, 3)) for col in range(-12, 12)]
    assert encode(result.astype(np.int8)) == "7t1v1e6t1e1v2t2e3t"


def test_repetitions_are_as_many_as_the_dataset_has_folds() -> None:
    recipe = classroom.experiment(protocol={"folds": {"by": "tiles"}, "seeds": [1, 2]})
    names = [one.name for one in folds.repetitions(described(SPLITS[0]), recipe)]
    assert names[:3] == ["quick.seed-1.fold-1", "quick.seed-2.fold-1", "quick.seed-1.fold-2"]
    assert len(names) == 8
    assert folds.repetitions(described({}), classroom.experiment()) == (classroom.experiment(),)


@pytest.mark.parametrize(
    ("splits", "dealt", "said"),
    [
        (SPLITS[0], {"by": "tiles", "count": 5}, "5 folds, 4 tiles beside the test split"),
        ({"test": {"tiles": ["a", "b", "c"]}}, {"by": "tiles"}, "2 folds, 2 tiles beside"),
    ],
)
def test_more_folds_than_tiles_are_refused(splits: dict[str, Any], dealt: dict[str, Any], said: str) -> None:
    recipe = classroom.experiment(protocol={"folds": dealt})
    with pytest.raises(CatalogueError, match=said):
        folds.repetitions(described(splits), recipe)


def test_a_fold_that_is_not_there_is_refused() -> None:
    with pytest.raises(CatalogueError, match="fold 6; expected 1 to 5"):
        folds.fold_of(described({}), Folds(), 6)


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Fields:
    """Four tiles with patches, one of them test."""
    folder = tmp_path_factory.mktemp("folds")
    result = write_fields(folder / "raw", folder / "home", names=("a", "b", "c", "d"), splits=SIDES)
    for i in range(4):
        result.cut(i)
    return result


SIDES = {"test": {"tiles": ["d"]}, "validation": {"tiles": ["c"]}, "block": 30}


def whole_of(fields: Fields) -> Product:
    return dataset.build(fields.dataset, LEGEND, fields.tiles, fields.home)


@pytest.mark.parametrize("dealt", [Folds(count=3), Folds(by="tiles")], ids=lambda dealt: str(dealt.by))
def test_all_labels_beside_the_test_side_are_test_once_and_no_others(fields: Fields, dealt: Folds) -> None:
    product = whole_of(fields)
    whole = manifest.load(product.path)
    result = [manifest.load(folds.build(product, dealt, index, fields.home).path) for index in (1, 2, 3)]
    for entry in whole.tiles:
        each = [next(tile for tile in one.tiles if tile.name == entry.name) for one in result]
        labelled = np.sum([entry.class_pixels[split] for split in manifest.SPLITS], axis=0)
        expected = 0 * labelled if entry.name == "d" else labelled
        np.testing.assert_array_equal(np.sum([tile.class_pixels["test"] for tile in each], axis=0), expected)
        np.testing.assert_array_equal(np.sum([tile.class_pixels["validation"] for tile in each], axis=0), expected)
        assert {tile.excluded_pixels for tile in each} == {90 * 110 if entry.name == "d" else 0}
        assert all(sum(tile.counts.values()) == 72 for tile in each)
        assert [tile.counts["excluded"] for tile in each] == ([72] * 3 if entry.name == "d" else [0] * 3)


def test_a_fold_is_a_manifest_of_its_own_beside_the_datasets(fields: Fields) -> None:
    product = whole_of(fields)
    fold = folds.build(product, Folds(count=3), 2, fields.home)
    assert fold.path.name == f"fold-2-of-3-blocks-{fold.fingerprint}"
    assert (fold.path.parent / "dataset").resolve() == product.path.resolve()
    assert folds.build(product, Folds(count=3), 2, fields.home).path == fold.path
    own, whole = manifest.load(fold.path), manifest.load(product.path)
    assert own.digest == folds.described(whole, Fold(by="blocks", index=2, count=3)).digest != whole.digest
    assert own.bands != whole.bands
    page = fold.file("index.html").read_text()
    assert "Fold 2 of 3 by blocks: its part is test" in page
    assert "excluded, unused" in page
    assert "excluded" not in product.file("index.html").read_text().split("<h2>Classes")[0]


def test_a_repetition_knows_its_fold(fields: Fields) -> None:
    product = whole_of(fields)
    for dealt in (Folds(), Folds(by="tiles")):
        recipe = Experiment.model_validate(
            {**classroom.experiment().model_dump(), "protocol": {"folds": dealt, "fold": 3}}
        )
        own = manifest.load(folds.build(product, dealt, 3, fields.home).path)
        assert folds.seen_by(own, recipe) == folds.fold_of(manifest.load(product.path), dealt, 3)
    assert folds.seen_by(manifest.load(product.path), classroom.experiment()) is None


def test_a_fold_without_labels_says_so_and_what_to_do(fields: Fields) -> None:
    coarse = fields.changed(splits={**SIDES, "block": 1000})
    with pytest.raises(CatalogueError) as error:
        folds.build(whole_of(coarse), Folds(count=20), 1, fields.home)
    assert "fold 1 of 20 by blocks, test: no labelled pixel" in str(error.value)
    assert "take fewer folds, or a smaller `splits.block`" in str(error.value)


def test_train_windows_never_meet_excluded_ground(tmp_path: Path, home: Path) -> None:
    """The excluded tile b lies on half of tile a: its windows are dropped there, and nothing is counted of b."""
    result = write_fields(tmp_path, home, apart=50, splits={"excluded": {"tiles": ["b"]}, "on_overlap": "drop"})
    result.cut(0)
    result.cut(1)
    product = dataset.build(result.dataset, LEGEND, result.tiles, home)
    summary = product.json("summary.json")
    assert summary["patches"] == {"train": 24, "validation": 0, "test": 0, "excluded": 72, "dropped": 48}
    assert summary["pixels"] == 90 * 110
    assert summary["labelled"] == pytest.approx(80 / 90)
    (entry,) = (tile for tile in manifest.load(product.path).tiles if tile.name == "b")
    assert (entry.pixels, np.sum(list(entry.class_pixels.values()))) == (0, 0)


def test_tiles_that_changed_since_the_manifest_are_named(tmp_path: Path, home: Path) -> None:
    result = write_fields(tmp_path, home, names=("a", "b", "c"), splits={"block": 30})
    for i in range(3):
        result.cut(i)
    product = whole_of(result)
    shutil.copy(result.tiles[0].image, result.tiles[1].image)
    truth.build(result.dataset, LEGEND, result.tiles[1], home)
    write.build(result.dataset, LEGEND, result.tiles[1], home)
    with pytest.raises(IncompleteError, match="materialise `dataset_manifest` again"):
        folds.build(product, Folds(count=3), 1, home)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"excluded": {"tiles": ["a"]}, "test": {"tiles": ["a"]}}, "both test and excluded"),
        ({"excluded": {"blocks": 0.5}, "test": {"blocks": 0.5}}, "nothing to train on"),
        ({"fold": {"index": 4, "count": 3}}, "fold 4 of 3"),
        ({"fold": {"index": 1, "count": 3}, "test": {"blocks": 0.1}}, "must be 0"),
    ],
)
def test_sides_that_contradict_each_other_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Splits.model_validate(wrong)


def test_a_dataset_without_folds_is_dealt_as_before() -> None:
    assert Dataset.model_validate(classroom.manifest().dataset.model_dump()).splits.fold is None
