"""Compositions on the map against declared fractions, polygon by polygon, on maps made by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from landcover_orch import raster
from landcover_orch.config import Splits, SplitSpec
from landcover_orch.config.experiments import Experiment
from landcover_orch.evaluation import by_polygon
from landcover_orch.evaluation.build import build
from landcover_orch.evaluation.repetition import Repetition
from landcover_orch.grid import Window
from landcover_orch.ground_truth import build as truth
from landcover_orch.patches import dataset as manifests
from landcover_orch.patches import write
from landcover_orch.patches.manifest import DatasetManifest, load
from landcover_orch.patches.splits import TEST, roles
from landcover_orch.store import publish
from landcover_orch.store.publish import Product, Recipe
from landcover_orch.tiles.catalogue import tiles
from tests.evaluation.scored import EXPERIMENT, _model
from tests.labels.siose_scenes import SIDE, legend
from tests.patches.test_polygons import ground

EXTENT = Window(0, 0, SIDE, SIDE)


@dataclass(frozen=True)
class Mapped:
    """A dataset with declared fractions, and the map of its test tile."""

    manifest: DatasetManifest
    model: Product
    maps: Mapping[str, Product]
    home: Path

    def report(self, experiment: Experiment = EXPERIMENT) -> Product:
        return build(
            self.manifest,
            experiment,
            [Repetition(experiment, self.manifest, self.model, self.maps)],
            experiment.name,
            self.home,
        )


def mapped(tmp_path: Path, home: Path, rule: str = "soft", last: int = 255) -> Mapped:
    """Columns of 5 x 20 px; on the map the first is half forest, the third a quarter rest, the last is `last`."""
    data, marks = ground(tmp_path), legend(rule=rule)
    for tile in tiles(data):
        truth.build(data, marks, tile, home)
        write.build(data, marks, tile, home)
    manifest = load(manifests.build(data, marks, tiles(data), home).path)
    classes = np.ones((SIDE, SIDE), np.uint8)
    classes[:10, :5] = classes[:, 10:15] = 0
    classes[:5, 10:15] = 1
    classes[:, 15:] = last
    model = _model(home, manifest)
    return Mapped(manifest, model, {"u": _map(home, manifest, classes, model)}, home)


def _map(home: Path, manifest: DatasetManifest, classes: np.ndarray, model: Product) -> Product:  # type: ignore[type-arg]
    grid = next(entry.grid for entry in manifest.tiles if entry.name == "u")

    def written(stage: publish.Stage) -> None:
        for name in ("class.tif", "confidence.tif"):
            pieces = [(EXTENT, classes)]
            palette = manifest.legend.palette if name == "class.tif" else None
            names = manifest.legend.names
            raster.write_cog(stage.path / name, grid, pieces, band="class", palette=palette, names=names, nodata=255)

    recipe = Recipe("prediction", 1, {"model": model.fingerprint}, {})
    return publish.publish(home / "small" / "prediction" / EXPERIMENT.name, "u", recipe, written)


def test_each_polygon_by_hand(tmp_path: Path, home: Path) -> None:
    scene = mapped(tmp_path, home)
    first, second, third = by_polygon.rows(scene.manifest, scene.maps, home)
    named = ("tile", "polygon", "source", "decision", "kind", "pixels")
    assert [getattr(first, key) for key in named] == ["u", 1, "Q1", "soft", "composite", 100]
    assert [getattr(second, key) for key in named] == ["u", 2, "Q2", "simple", "simple", 100]
    assert third.polygon == 3  # the fourth has no pixel on the map
    assert [first.declared["forest"], first.predicted["forest"]] == pytest.approx([0.3, 0.5])
    assert [third.declared["rest"], third.predicted["rest"]] == pytest.approx([0, 0.25])
    assert first.kl == pytest.approx(0.3 * math.log(0.3 / 0.5) + 0.7 * math.log(0.7 / 0.5), rel=1e-4)
    assert second.kl == pytest.approx(0, abs=1e-6)
    assert third.kl == pytest.approx(-math.log(0.75), rel=1e-4)


def test_simple_and_composite_polygons_apart(tmp_path: Path, home: Path) -> None:
    scene = mapped(tmp_path, home)
    errors = by_polygon.summary(by_polygon.rows(scene.manifest, scene.maps, home), scene.manifest.legend)
    assert errors["composite"]["polygons"] == 1
    assert errors["composite"]["error"] == pytest.approx({"forest": 0.2, "rest": 0.2})
    simple = errors["simple"]
    assert (simple["polygons"], simple["pixels"]) == (2, 200)
    assert simple["error"] == pytest.approx({"forest": 0.125, "rest": 0.125})
    assert simple["kl"] == simple["kl_by_pixels"] == pytest.approx(-math.log(0.75) / 2, rel=1e-4)
    empty = by_polygon.summary([], scene.manifest.legend)["simple"]
    assert empty == {
        "polygons": 0,
        "pixels": 0,
        "kl": None,
        "kl_by_pixels": None,
        "error": {"forest": None, "rest": None},
        "mean_error": None,
    }


def test_the_mean_error_is_over_the_classes_that_a_polygon_declares() -> None:
    """The map has a tenth of a class that the labels never have: half of the error, and no class of the mean."""
    marks = legend().model_copy(update={"classes": legend().classes[:2]})
    forest, rest = marks.names
    row = by_polygon.PolygonRow(
        "a", 1, "Q", "simple", "simple", 10, 0.1, {forest: 1.0, rest: 0.0}, {forest: 0.7, rest: 0.1}
    )
    assert by_polygon.mean_errors([row], marks)["mean_error"] == pytest.approx(0.3)
    assert by_polygon.mean_errors([row], marks)["error"] == pytest.approx({forest: 0.3, rest: 0.1})


def test_only_test_pixels_count(tmp_path: Path, home: Path) -> None:
    scene = mapped(tmp_path, home)
    halved = scene.manifest.dataset.model_copy(update={"splits": Splits(test=SplitSpec(blocks=0.5), block=5)})
    manifest = scene.manifest.model_copy(update={"dataset": halved})
    entry = next(entry for entry in manifest.tiles if entry.name == "u")
    tested = (roles(halved.splits, "u", entry.grid, EXTENT) == TEST).reshape(SIDE, 4, 5).sum(axis=(0, 2))
    assert 0 < tested.sum() < SIDE**2
    pixels_of = {row.polygon: row.pixels for row in by_polygon.rows(manifest, scene.maps, home)}
    assert pixels_of == {number: pixels for number, pixels in enumerate(tested[:3].tolist(), 1) if pixels}


def test_decisions_add_up_over_tiles(tmp_path: Path, home: Path) -> None:
    scene = mapped(tmp_path, home)
    rows = {(row["decision"], row["class"]): row for row in by_polygon.decisions(scene.manifest, home)}
    assert rows[("soft", "ignore")]["polygons"] == 4
    assert rows[("soft", "ignore")]["share"] == pytest.approx(0.5)
    assert rows[("simple", "forest")]["hectares"] == pytest.approx(300 / 10_000)
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1)


def test_the_report_has_table_picture_and_decisions(tmp_path: Path, home: Path) -> None:
    product = mapped(tmp_path, home, last=0).report()
    content = product.json("report.json")
    assert content["by_polygon"]["composite"]["polygons"] == 1
    assert [row["decision"] for row in content["decisions"]]
    lines = product.file(by_polygon.TABLE).read_text().splitlines()
    assert lines[0].startswith("tile,polygon,source,decision,kind,pixels,kl,forest declared")
    assert len(lines) == 5
    assert product.file(by_polygon.FIGURE).read_bytes()[:4] == b"\x89PNG"
    page = product.file("index.html").read_text()
    assert "By polygon" in page
    assert "Polygons with several covers" in page
    assert by_polygon.CAPTION in page


def test_a_report_without_shares_has_only_the_decisions(tmp_path: Path, home: Path) -> None:
    product = mapped(tmp_path, home, rule="ignore", last=0).report()
    assert "by_polygon" not in product.json("report.json")
    assert by_polygon.TABLE not in product.files
    page = product.file("index.html").read_text()
    assert "By polygon" not in page
    assert "Polygons with several covers" in page
