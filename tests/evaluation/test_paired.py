"""The paired comparison of a challenger with the champion: its units, its gain and when that is real."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from landcover_orch import raster
from landcover_orch.config import Splits, SplitSpec
from landcover_orch.errors import GridError, IncompleteError
from landcover_orch.evaluation import champion, paired
from landcover_orch.evaluation.evaluate import evaluate
from landcover_orch.evaluation.paired import Comparison, Units, block_side, block_slices, compare, mean_ious, units
from landcover_orch.grid import Window, blocks
from landcover_orch.legend import IGNORE
from landcover_orch.metrics import catalogue
from landcover_orch.metrics.confusion import Matrix
from landcover_orch.patches.splits import TEST, roles
from tests.evaluation.scored import EXPERIMENT, Classes, Scored, scored

BLOCKS = Splits(test=SplitSpec(blocks=0.4), validation=SplitSpec(blocks=0.2), block=16)
PIXELS = 1000
"""Of each class and unit."""


def _unit(accuracy: float) -> Matrix:
    hits = round(PIXELS * accuracy)
    return np.array([[hits, PIXELS - hits], [PIXELS - hits, hits]], np.int64)


def _units(*accuracies: float) -> Units:
    return Units("tile", {f"t{i:02}": _unit(accuracy) for i, accuracy in enumerate(accuracies)})


def _mean_iou(matrix: Any) -> float:
    value = catalogue.summary(matrix)["mean_iou"]
    assert value is not None
    return value


def _pooled(model: Units) -> Matrix:
    pooled: Matrix = np.sum([*model.matrices.values()], axis=0)
    return pooled


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Units, Units]:
    """Two models on the same labels: the second calls the classes something else, unit by unit."""
    size, classes = draw(st.integers(2, 9)), draw(st.integers(1, 4))
    elements = st.integers(0, 5) | st.integers(0, 10**9)
    matrices = draw(arrays(np.int64, (size, classes, classes), elements=elements))
    order = [draw(st.permutations(range(classes))) for _ in range(size)]
    names = [f"t{i}" for i in range(size)]
    others = [matrix[:, columns] for matrix, columns in zip(matrices, order, strict=True)]
    first, second = (dict(zip(names, model, strict=True)) for model in (matrices, others))
    return Units("block", first), Units("block", second)


def test_equal_models_gain_nothing() -> None:
    model = _units(*np.linspace(0.5, 0.9, 12))
    comparison = compare(model, model)
    assert comparison == Comparison(0.0, 0.0, 0.0, 12, "tile")
    assert not comparison.exceeds(None)
    assert not comparison.exceeds(0.0)


def test_better_on_every_unit_is_a_real_gain() -> None:
    accuracies = np.linspace(0.5, 0.9, 12)
    comparison = compare(_units(*accuracies), _units(*(accuracies + 0.02)))
    assert comparison.exceeds()
    assert comparison.low is not None
    assert comparison.high is not None
    assert comparison.gain is not None
    assert 0 < comparison.low < comparison.gain < comparison.high


def test_lucky_on_a_single_unit_is_no_real_gain() -> None:
    before, after = _units(0.3, *[0.8] * 11), _units(0.9, *[0.79] * 11)
    comparison = compare(before, after)
    assert comparison.gain is not None
    assert comparison.gain == pytest.approx(_mean_iou(_pooled(after)) - _mean_iou(_pooled(before)))
    assert comparison.gain > 0.04
    assert not comparison.exceeds(None)
    assert comparison.exceeds(0.0), "as the champion was elected without an interval"


def test_a_margin_is_what_the_gain_must_exceed() -> None:
    comparison = Comparison(gain=0.02, low=-0.01, high=0.05, units=12, unit="tile")
    assert [comparison.exceeds(margin) for margin in (None, -0.1, 0.0, 0.019, 0.02, 0.1)] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]


def test_the_interval_is_that_of_the_normal_approximation_where_units_are_many() -> None:
    rng = np.random.default_rng(3)
    before = rng.uniform(0.5, 0.9, 400)
    after = before + rng.normal(0.01, 0.05, 400)
    comparison = compare(_units(*before), _units(*after))
    gains = [_mean_iou(_unit(b)) - _mean_iou(_unit(a)) for a, b in zip(before, after, strict=True)]
    half = 1.96 * np.std(gains) / np.sqrt(400)
    assert comparison.low is not None
    assert comparison.high is not None
    assert comparison.gain == pytest.approx(np.mean(gains), abs=0.003)
    assert (comparison.low + comparison.high) / 2 == pytest.approx(comparison.gain, abs=half / 10)
    assert (comparison.high - comparison.low) / 2 == pytest.approx(half, rel=0.08), "a 90 % interval is 16 % shorter"


@pytest.mark.parametrize("size", [0, 1])
def test_fewer_than_two_units_have_no_interval(size: int) -> None:
    comparison = compare(_units(*[0.6] * size), _units(*[0.9] * size))
    assert (comparison.low, comparison.high, comparison.units) == (None, None, size)
    assert not comparison.exceeds(None)
    assert comparison.exceeds(0.1) is (size == 1)
    assert comparison.gain == (pytest.approx(9 / 11 - 6 / 14) if size else None)


@pytest.mark.parametrize(
    ("comparison", "sentence"),
    [
        (
            Comparison(0.031, 0.012, 0.0491, 32, "block"),
            "gains 0.031 in mean IoU (95 % interval 0.012 to 0.049 over 32 blocks of the test tiles)",
        ),
        (
            Comparison(-0.02, -0.03, -0.0001, 12, "tile"),
            "loses 0.020 in mean IoU (95 % interval -0.030 to 0.000 over 12 test tiles)",
        ),
        (
            Comparison(0.5, None, None, 1, "block"),
            "gains 0.500 in mean IoU (95 % interval unknown: 1 block of the test tiles, at least 6 are needed)",
        ),
        (Comparison(None, None, None, 0, "block"), "cannot be compared in mean IoU: no test pixel is labelled"),
    ],
)
def test_it_says_so_in_a_sentence(comparison: Comparison, sentence: str) -> None:
    assert comparison.sentence == sentence


@given(pairs())
def test_swapped_models_have_the_negated_gain(pair: tuple[Units, Units]) -> None:
    forth, back = compare(*pair), compare(*reversed(pair))
    assert back.gain == (None if forth.gain is None else -forth.gain)
    if forth.low is None or forth.high is None:
        assert (back.low, back.high) == (None, None)
        return
    assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low), abs=1e-12)
    assert -1 <= forth.low <= forth.high <= 1


@given(pairs(), st.randoms(use_true_random=False))
def test_same_units_give_the_same_numbers_in_any_order(pair: tuple[Units, Units], random: Any) -> None:
    names = [*pair[0].matrices]
    random.shuffle(names)
    shuffled = [Units(model.unit, {name: model.matrices[name] for name in names}) for model in pair]
    assert compare(*pair) == compare(*pair) == compare(*shuffled)


@given(pairs(), st.integers(0, 2**32))
def test_a_draw_scores_as_the_champion_is_scored_on_the_drawn_units(pair: tuple[Units, Units], seed: int) -> None:
    names = [name for name, matrix in pair[0].matrices.items() if matrix.any()]
    if not names:
        return
    drawn = np.random.default_rng(seed).integers(0, len(names), (5, len(names)))
    weights = np.stack([np.bincount(draw, minlength=len(names)) for draw in drawn])
    for model in pair:
        matrices = np.stack([model.matrices[name] for name in names])
        expected = [_mean_iou(matrices[draw].sum(axis=0)) for draw in drawn]
        assert mean_ious(weights, matrices) == pytest.approx(expected, abs=1e-12)


def test_a_class_without_test_labels_is_in_neither_mean() -> None:
    before = {name: np.array([[80, 20, 0], [20, 80, 0], [0, 0, 0]], np.int64) for name in "abcdef"}
    after = {name: np.array([[80, 0, 20], [0, 80, 20], [0, 0, 0]], np.int64) for name in "abcdef"}
    comparison = compare(Units("tile", before), Units("tile", after))
    assert comparison.gain == pytest.approx(0.8 - 80 / 120), "not 2/3 of 0.8"
    assert (comparison.low, comparison.high) == pytest.approx((comparison.gain, comparison.gain))


def test_a_class_that_a_draw_misses_is_left_out_of_both_means() -> None:
    common, rare = np.array([[90, 10], [0, 0]], np.int64), np.array([[50, 0], [50, 50]], np.int64)
    commons = dict.fromkeys("abde", common)
    models = [Units("tile", {**commons, "c": m, "f": m}) for m in (rare, np.array([[50, 0], [0, 100]]))]
    comparison = compare(*models)
    assert comparison.low == 0, "draws without tiles c and f: both score 0.9 on the first class alone"
    assert comparison.high is not None
    assert comparison.high > 0.3


def test_a_unit_without_labels_is_none() -> None:
    empty = {"t99": np.zeros((2, 2), np.int64)}
    before, after = _units(0.5, 0.6, 0.7), _units(0.6, 0.5, 0.9)
    padded = (Units("tile", {**model.matrices, **empty}) for model in (before, after))
    assert compare(*padded) == compare(before, after)


def test_models_on_other_units_or_labels_are_not_compared() -> None:
    before, after = dict(_units(0.5, 0.6, 0.7).matrices), dict(_units(0.5, 0.6, 0.7).matrices)
    after["t00"] = after["t00"] * 2
    after["new"] = after.pop("t02")
    with pytest.raises(GridError) as error:
        compare(Units("tile", before), Units("tile", after))
    for words in ("champion alone: t02;", "challenger alone: new;", "other labelled pixels: t00;", "Fix: materialise"):
        assert words in str(error.value)


def test_models_with_other_classes_are_not_compared() -> None:
    with pytest.raises(GridError, match="with other labelled pixels: a"):
        compare(Units("tile", {"a": np.eye(2, dtype=np.int64)}), Units("tile", {"a": np.eye(3, dtype=np.int64)}))


def _classes(shape: tuple[int, int], seed: int) -> Classes:
    return np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)


def _truth(shape: tuple[int, int], seed: int) -> Classes:
    labels = _classes(shape, seed)
    labels[np.random.default_rng(seed + 100).random(shape) < 0.3] = IGNORE
    return labels


def _scene(home: Path, shapes: Mapping[str, tuple[int, int]], **options: Any) -> Scored:
    truth = {name: _truth(shape, seed) for seed, (name, shape) in enumerate(shapes.items())}
    maps = {name: _classes(shape, 50 + seed) for seed, (name, shape) in enumerate(shapes.items())}
    return scored(home, truth, maps, **options)


@pytest.mark.parametrize("read", [16, 48, 50, 2048])
@pytest.mark.parametrize("splits", [None, BLOCKS])
def test_blocks_of_few_tiles_add_up_to_the_pooled_matrix_whatever_is_read_at_a_time(
    home: Path, monkeypatch: pytest.MonkeyPatch, read: int, splits: Splits | None
) -> None:
    monkeypatch.setattr(paired, "BLOCK", read)
    scene = _scene(home, {"a": (150, 130), "b": (64, 100)}, splits=splits)
    model = units(scene.manifest, scene.predictions, home)
    assert model.unit == "block"
    assert np.array_equal(_pooled(model), evaluate(scene.manifest, scene.predictions, home).pooled)
    assert {matrix.dtype for matrix in model.matrices.values()} == {np.dtype(np.int64)}
    side = block_side([(150, 130), (64, 100)])
    assert side == 32
    for entry in scene.manifest.tiles:
        path = home / entry.ground_truth / "classes.tif"
        with raster.reader(raster.inspect(path), nodata="none") as source:
            labels = source.read(Window(0, 0, *entry.shape))[0]
        role = roles(scene.manifest.dataset.splits, entry.name, entry.grid, Window(0, 0, *entry.shape))
        scored_pixels = (labels != IGNORE) & (role == TEST)
        for row in range(0, entry.shape[0], side):
            for col in range(0, entry.shape[1], side):
                pixels = scored_pixels[row : row + side, col : col + side].sum()
                matrix = model.matrices.get(f"{entry.name} {row},{col}")
                assert (0 if matrix is None else matrix.sum()) == pixels
                assert (matrix is None) == (pixels == 0)


def test_blocks_without_labels_are_no_units(home: Path) -> None:
    truth = np.full((96, 128), IGNORE, np.uint8)
    truth[20, 70] = truth[95, 127] = 1
    scene = scored(home, {"a": truth}, {"a": np.ones_like(truth)})
    side = block_side([(96, 128)])
    corners = [(row // side * side, col // side * side) for row, col in ((20, 70), (95, 127))]
    assert [*units(scene.manifest, scene.predictions, home).matrices] == [f"a {row},{col}" for row, col in corners]


@pytest.mark.parametrize(("count", "unit"), [(7, "block"), (8, "tile"), (9, "tile")])
def test_tiles_are_units_where_there_are_enough(home: Path, count: int, unit: str) -> None:
    scene = _scene(home, {f"t{i}": (40, 40) for i in range(count)})
    model, evaluation = (function(scene.manifest, scene.predictions, home) for function in (units, evaluate))
    assert model.unit == unit
    assert np.array_equal(_pooled(model), evaluation.pooled)
    if unit == "tile":
        assert [*model.matrices] == [entry.name for entry in scene.manifest.tiles]
    else:
        assert {name.split()[0] for name in model.matrices} == {entry.name for entry in scene.manifest.tiles}


def test_only_tiles_with_test_labels_count_as_tiles(home: Path) -> None:
    shapes = {f"t{i}": (40, 40) for i in range(9)}
    scene = _scene(home, shapes, splits=Splits(test=SplitSpec(tiles=("t0", "t1"))))
    model = units(scene.manifest, scene.predictions, home)
    assert model.unit == "block"
    assert {name.split()[0] for name in model.matrices} == {"t0", "t1"}


def test_files_are_opened_once_a_thread_not_once_a_block(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = _scene(home, {"a": (150, 130)})
    opened: list[Path] = []
    original = raster.reader

    @contextmanager
    def counting(source: raster.Raster, **options: Any) -> Iterator[Any]:
        opened.append(source.path)
        with original(source, **options) as reader:
            yield reader

    monkeypatch.setattr(raster, "reader", counting)
    model = units(scene.manifest, scene.predictions, home)
    assert len(model.matrices) > 20
    assert sorted(path.name for path in opened) == ["class.tif", "classes.tif"]


def test_champion_and_challenger_have_the_same_units_and_the_champions_score(home: Path) -> None:
    scene = _scene(home, {"a": (150, 130), "b": (64, 100)}, splits=BLOCKS)
    better = {
        entry.name: np.where(_truth(entry.shape, seed) == IGNORE, 0, _truth(entry.shape, seed)).astype(np.uint8)
        for seed, entry in enumerate(scene.manifest.tiles)
    }
    challenger = scene.repetition(EXPERIMENT.model_copy(update={"name": "better"}), better)
    comparison = compare(units(scene.manifest, scene.predictions, home), units(scene.manifest, challenger.maps, home))
    pooled = evaluate(scene.manifest, scene.predictions, home).pooled
    current = champion.scored(scene.manifest, scene.model, pooled, home)
    assert comparison.gain == pytest.approx(1 - current.mean_iou, abs=1e-15)
    assert comparison.unit == "block"
    assert comparison.exceeds()
    assert comparison.low is not None
    assert comparison.low > 0.5


def test_a_manifest_without_test_pixels_has_no_units(home: Path) -> None:
    scene = _scene(home, {"a": (40, 40)}, splits=Splits(block=16))
    model = units(scene.manifest, scene.predictions, home)
    assert (model.unit, model.matrices) == ("block", {})
    assert compare(model, model).gain is None


@pytest.mark.parametrize("count", [2, 8])
def test_missing_maps_are_named_together(home: Path, count: int) -> None:
    scene = _scene(home, {f"t{i}": (40, 40) for i in range(count)})
    maps = {name: product for name, product in scene.predictions.items() if name not in ("t0", "t1")}
    with pytest.raises(IncompleteError, match=r"no map of tiles \['t0', 't1'\]"):
        units(scene.manifest, maps, home)


def test_a_map_on_another_grid_is_refused(home: Path) -> None:
    scene = scored(home, {"a": _truth((40, 40), 1)}, {"a": _classes((40, 41), 1)})
    with pytest.raises(GridError, match="another grid than its labels'"):
        units(scene.manifest, scene.predictions, home)


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), min_size=1, max_size=7))
def test_block_sides_give_about_the_asked_number_of_blocks(shapes: list[tuple[int, int]]) -> None:
    side = block_side(shapes)
    assert side >= 16
    assert side % 16 == 0

    def distance(other: int) -> int:
        return abs(sum(len(blocks(shape, other, other)) for shape in shapes) - 32)

    longest = max(max(shape) for shape in shapes)
    assert distance(side) == min(distance(other) for other in range(16, longest + 32, 16))


@pytest.mark.parametrize(
    ("shapes", "side", "count"),
    [
        ([(54_000, 38_000)], 9008, 30),
        ([(1000, 1000)], 176, 36),
        ([(6000, 6000)] * 7, 3008, 28),
        ([(5000, 100)], 160, 32),
        ([(10, 10)], 16, 1),
    ],
)
def test_block_sides_of_usual_tiles(shapes: list[tuple[int, int]], side: int, count: int) -> None:
    assert block_side(shapes) == side
    assert sum(len(blocks(shape, side, side)) for shape in shapes) == count


@given(st.tuples(st.integers(1, 90), st.integers(1, 90)), st.integers(1, 60), st.sampled_from([16, 32, 48]))
def test_block_slices_cover_each_window_once(shape: tuple[int, int], read: int, side: int) -> None:
    corners = np.full((*shape, 2), -1)
    for window in blocks(shape, read, read):
        part = corners[window.slices]
        for corner, box in block_slices(window, side):
            assert (part[box] == -1).all()
            assert part[box].size > 0
            part[box] = corner
    rows, cols = np.indices(shape)
    assert np.array_equal(corners, np.stack([rows // side * side, cols // side * side], axis=-1))
