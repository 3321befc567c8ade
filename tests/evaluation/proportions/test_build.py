"""Class proportions of patches, tiles and polygons: counted by hand, scored as published, submitted in order."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shapely.geometry import box

from landcover_orch.config import Dataset, Proportions, Splits, SplitSpec
from landcover_orch.errors import ConfigError, IncompleteError, LabelError
from landcover_orch.evaluation.proportions.build import build
from landcover_orch.evaluation.proportions.figures import proportions as picture
from landcover_orch.evaluation.proportions.table import table
from landcover_orch.evaluation.proportions.units import Unit
from landcover_orch.metrics.proportions import FLOOR
from landcover_orch.store.publish import Product
from tests.evaluation.scored import Scored, legend, scored
from tests.scenes import ORIGIN, write_polygons

TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 255], [2, 2, 0, 0], [2, 2, 0, 0]], np.uint8).repeat(8, 0).repeat(8, 1)
MAP = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [2, 2, 0, 0], [2, 2, 0, 255]], np.uint8).repeat(8, 0).repeat(8, 1)
"""32 x 32 px; a cell is 8 x 8."""


def _dataset(scene: Scored, **changes: Any) -> Dataset:
    patches = scene.manifest.dataset.patches.model_copy(update={"size": 16, "stride": 16})
    settings = Proportions.model_validate({"unit": "patch", **changes})
    return scene.manifest.dataset.model_copy(update={"patches": patches, "proportions": settings})


def _build(scene: Scored, maps: Mapping[str, Product] | None = None, **changes: Any) -> Product:
    return build(scene.manifest, _dataset(scene, **changes), maps or scene.predictions, scene.home)


def _rows(product: Product, name: str = "proportions.csv") -> list[dict[str, str]]:
    with product.file(name).open(newline="") as file:
        return list(csv.DictReader(file))


def _kl(y: list[float], p: list[float]) -> float:
    return sum((a + FLOOR) * math.log((a + FLOOR) / (b + FLOOR)) for a, b in zip(y, p, strict=True))


def test_a_row_a_patch_by_hand(home: Path) -> None:
    rows = _rows(_build(scored(home, {"a": TRUTH}, {"a": MAP})))
    assert [row["id"] for row in rows] == ["a-r0-c0", "a-r0-c16", "a-r16-c0", "a-r16-c16"]
    first, second, _, last = rows
    assert [first[c] for c in ("row", "col", "split", "pixels", "ignored", "labelled")] == [
        "0", "0", "test", "256", "0", "256",
    ]  # fmt: skip
    assert [float(first[c]) for c in ("field", "forest", "water")] == [0.75, 0.25, 0]
    assert [float(first[f"{c} actual"]) for c in ("field", "forest", "water")] == [1, 0, 0]
    assert float(first["kl"]) == pytest.approx(_kl([1, 0, 0], [0.75, 0.25, 0]), rel=1e-12)
    assert (second["pixels"], second["labelled"], float(second["forest actual"])) == ("256", "192", 1.0)
    assert (last["pixels"], last["ignored"], last["labelled"]) == ("192", "64", "256")


def test_the_score_is_the_mean_over_units_as_published(home: Path) -> None:
    product = _build(scored(home, {"a": TRUTH}, {"a": MAP}))
    expected = [_kl([1, 0, 0], [0.75, 0.25, 0]), _kl([0, 1, 0], [0, 1, 0]), 0, 0]
    summary = product.json("summary.json")
    assert summary["kl test"] == pytest.approx(np.mean(expected), rel=1e-9)
    assert (summary["units"], summary["units_with_labels"], summary["units_labelled_in_part"]) == (4, 4, 1)
    assert summary["kl train"] is None


def test_a_class_left_out_counts_on_neither_side_and_both_are_renormalised(home: Path) -> None:
    names = ("clouds", "forest", "water")
    product = _build(scored(home, {"a": TRUTH}, {"a": MAP}, names=names), unit="tile", exclude_classes=("clouds",))
    (row,) = _rows(product)
    forest, water = 5 * 64, 4 * 64
    assert (int(row["pixels"]), int(row["ignored"])) == (forest + water, 1024 - forest - water)
    predicted = [forest / (forest + water), water / (forest + water)]
    assert [float(row[c]) for c in names] == pytest.approx([0, *predicted])
    actual = [3 / 7, 4 / 7]
    assert float(row["kl"]) == pytest.approx(_kl(actual, predicted), rel=1e-9)


def test_a_unit_of_left_out_classes_alone_has_no_shares_and_is_not_submitted(home: Path) -> None:
    names = ("clouds", "forest", "water")
    scene = scored(home, {"a": TRUTH}, {"a": np.zeros_like(MAP)}, names=names)
    product = _build(scene, exclude_classes=("clouds",))
    rows = _rows(product)
    assert {row["forest"] for row in rows} == {""}
    assert float(rows[1]["kl"]) == pytest.approx(_kl([1, 0], [0, 0]))
    assert rows[0]["kl"] == ""
    assert _rows(product, "submission.csv") == []


def test_the_submission_is_an_id_and_a_share_of_every_class_in_order(home: Path) -> None:
    scene = scored(home, {"b": TRUTH, "a": TRUTH}, {"b": MAP, "a": TRUTH})
    product = _build(scene, unit="tile", exclude_classes=("water",))
    text = product.file("submission.csv").read_text().splitlines()
    assert text[0] == "id,field,forest,water"
    rows = _rows(product, "submission.csv")
    assert [row["id"] for row in rows] == ["a", "b"]
    for row in rows:
        fractions = [float(row[c]) for c in ("field", "forest", "water")]
        assert sum(fractions) == pytest.approx(1)
        assert fractions[2] == 0


def test_both_files_hold_the_same(home: Path) -> None:
    product = _build(scored(home, {"a": TRUTH}, {"a": MAP}))
    stored = pq.read_table(product.file("proportions.parquet")).to_pylist()
    plain = [{key: "" if value is None else str(value) for key, value in row.items()} for row in stored]
    assert plain == _rows(product)


def test_tiles_without_labels_have_a_row_and_no_score(home: Path) -> None:
    scene = scored(home, {"a": TRUTH, "b": TRUTH}, {"a": MAP, "b": MAP})
    alone = scene.manifest.model_copy(update={"tiles": scene.manifest.tiles[:1]})
    product = build(alone, _dataset(scene, unit="tile"), scene.predictions, home)
    rows = {row["id"]: row for row in _rows(product)}
    assert (rows["b"]["split"], rows["b"]["labelled"], rows["b"]["field actual"], rows["b"]["kl"]) == (
        "unlabelled", "0", "", "",
    )  # fmt: skip
    assert rows["b"]["field"] == rows["a"]["field"]
    assert [row["id"] for row in _rows(product, "submission.csv")] == ["b"], "what is handed in has no labels"


def test_train_ground_does_not_count_in_the_score_of_the_test_side(home: Path) -> None:
    splits = Splits(test=SplitSpec(tiles=("b",)))
    summary = _build(scored(home, {"a": TRUTH, "b": TRUTH}, {"a": MAP, "b": TRUTH}, splits=splits)).json("summary.json")
    assert summary["kl test"] == pytest.approx(0, abs=1e-6)
    assert summary["kl train"] > 0.05


def test_polygons_are_units_across_tiles(home: Path) -> None:
    scene = scored(home, {"a": TRUTH, "b": TRUTH}, {"a": MAP, "b": MAP})
    x, y = ORIGIN
    west, south = box(x, y - 32, x + 16, y), box(x, y - 32, x + 32, y - 16)
    write_polygons(home / "zones.gpkg", [(west, "west"), (south, "south"), (box(0, 0, 1, 1), "far")], attribute="zone")
    product = _build(scene, unit="polygon", polygons="zones.gpkg", id="zone")
    rows = {row["id"]: row for row in _rows(product)}
    assert set(rows) == {"west", "south"}
    assert rows["west"]["tile"] == "a b"
    # the later of two polygons has the ground that both cover: west keeps its upper half
    assert [int(rows[name]["pixels"]) + int(rows[name]["ignored"]) for name in ("west", "south")] == [512, 1024]
    assert float(rows["west"]["field"]) == 0.75


def test_polygons_of_one_name_are_one_unit(home: Path) -> None:
    x, y = ORIGIN
    parts = [(box(x, y - 8, x + 8, y), "z"), (box(x + 16, y - 8, x + 24, y), "z")]
    write_polygons(home / "zones.gpkg", parts, attribute="zone")
    product = _build(scored(home, {"a": TRUTH}, {"a": MAP}), unit="polygon", polygons="zones.gpkg", id="zone")
    (row,) = _rows(product)
    assert (row["id"], row["pixels"], float(row["field"]), float(row["forest"])) == ("z", "128", 0.5, 0.5)


def test_the_file_of_polygons_must_fit(home: Path) -> None:
    scene = scored(home, {"a": TRUTH}, {"a": MAP})
    write_polygons(home / "zones.gpkg", [(box(0, 0, 1, 1), "far")], attribute="zone")
    with pytest.raises(LabelError, match="no column 'name'"):
        _build(scene, unit="polygon", polygons="zones.gpkg", id="name")
    with pytest.raises(ConfigError, match="leaves"):
        _build(scene, unit="polygon", polygons="../zones.gpkg", id="zone")
    with pytest.raises(ValueError, match="unit polygon needs `polygons`"):
        Proportions(unit="polygon", polygons="zones.gpkg")


def test_what_is_left_out_is_a_class(home: Path) -> None:
    scene = scored(home, {"a": TRUTH}, {"a": MAP})
    with pytest.raises(ConfigError, match="did you mean 'water'"):
        _build(scene, exclude_classes=("watr",))
    with pytest.raises(ConfigError, match="every class of the legend"):
        _build(scene, exclude_classes=("field", "forest", "water"))


def test_without_a_map_there_are_no_proportions(home: Path) -> None:
    scene = scored(home, {"a": TRUTH}, {"a": MAP})
    with pytest.raises(IncompleteError, match="materialise `land_cover_map`"):
        build(scene.manifest, _dataset(scene), {}, home)


def test_the_same_maps_give_the_same_bytes(home: Path, tmp_path: Path) -> None:
    files = []
    for folder in (home, tmp_path / "other"):
        product = _build(scored(folder, {"a": TRUTH}, {"a": MAP}))
        files.append({name: product.file(name).read_bytes() for name in product.files})
    assert files[0] == files[1]


@settings(max_examples=25)
@given(
    hnp.arrays(np.int64, (4, 4), elements=st.integers(0, 9)),
    hnp.arrays(np.int64, (4, 4), elements=st.integers(0, 9)),
)
def test_shares_sum_to_one_and_every_pixel_is_somewhere(mapped: Any, labelled: Any) -> None:
    role = np.array([0, 0, 1, 0])
    units = [Unit(str(i), ("a",), None, None, mapped[i], labelled[i], role) for i in range(4)]
    for unit, row in zip(units, table(units, ("x", "y", "z"), ("y",)), strict=True):
        fractions = [row.mapped[name] for name in ("x", "y", "z")]
        assert row.pixels + row.ignored == unit.mapped.sum()
        assert (
            fractions == [None] * 3 if row.pixels == 0 else sum(value or 0 for value in fractions) == pytest.approx(1)
        )
        assert row.labelled == unit.labelled[[0, 2]].sum()
        assert (row.kl is None) == (row.labelled == 0)


@pytest.mark.parametrize("labelled", [True, False])
def test_the_picture_is_drawn_with_and_without_labels(labelled: bool) -> None:
    truth, mapped = (np.bincount(np.minimum(classes, 3).reshape(-1), minlength=4) for classes in (TRUTH, MAP))
    units = [Unit("a", ("a",), None, None, mapped, truth * labelled, np.array([0, 0, 9, 0]))]
    described = legend(("field", "forest", "water$ & co"))
    drawn = picture(table(units, described.names), described)
    assert drawn.startswith(b"\x89PNG")
    assert len(drawn) > 5_000


def test_the_summary_is_plain_json(home: Path) -> None:
    product = _build(scored(home, {"a": TRUTH}, {"a": MAP}), exclude_classes=("water",))
    assert json.loads(product.file("summary.json").read_text())["left_out"] == ["water"]
