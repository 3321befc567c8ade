"""The shipped configurations of the real rasters pass their checks, with the notes that one expects."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import rasterio

from landcover_orch.checks import dataset as checks
from landcover_orch.config import load_dataset, load_legend
from landcover_orch.tiles import catalogue, preview


@pytest.fixture(autouse=True)
def _data(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCOVER_DATA", str(real_data))


def found(name: str, *, deep: bool = False) -> checks.Issues:
    dataset = load_dataset(name)
    return checks.check(dataset, load_legend(dataset.legend), catalogue.tiles(dataset), deep=deep)


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("bakerlake", []),
        ("massbuildings", ["22978945, 23429155 are not stated", "nodata tag 255 is the value of a band in 2 pixels"]),
        ("slovenia", ["are not stated"]),
    ],
)
def test_the_shipped_configurations_pass(name: str, notes: list[str]) -> None:
    result = found(name, deep=True)
    assert result.problems == ()
    assert len(result.notes) == len(notes)
    assert all(part in note for part, note in zip(notes, result.notes, strict=True))


def copy(real_data: Path, folder: Path, name: str, pattern: str) -> Path:
    target = folder / name
    target.mkdir()
    for path in (real_data / name).glob(pattern):
        shutil.copyfile(path, target / path.name)
    return target


def tagged(real_data: Path, folder: Path, crs: str) -> None:
    """A copy of the Baker Lake files in which the orthophotos bear another CRS, their coordinates unchanged."""
    for path in copy(real_data, folder, "nrcan-bakerlake", "*clipped*").glob("*.tif"):
        with rasterio.Env(OSR_USE_NON_DEPRECATED="NO"), rasterio.open(path, "r+") as target:
            target.crs = crs


def test_bakerlake_tagged_with_a_deprecated_crs(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier version of the files said EPSG:2036, which PROJ reads as its replacement: the polygons' EPSG:2953."""
    tagged(real_data, tmp_path, "EPSG:2036")
    monkeypatch.setenv("LANDCOVER_DATA", str(tmp_path))
    assert found("bakerlake") == checks.Issues()


def test_bakerlake_tagged_with_a_wrong_crs(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reprojected to a CRS that is wrong, the polygons fall elsewhere: a problem a tile, not an empty ground truth."""
    tagged(real_data, tmp_path, "EPSG:2960")
    monkeypatch.setenv("LANDCOVER_DATA", str(tmp_path))
    result = found("bakerlake")
    assert len(result.problems) == 2
    assert all("no polygon on" in problem.found for problem in result.problems)
    assert any("EPSG:2953 are reprojected to their orthophoto's EPSG:2960" in note for note in result.notes)


def test_massbuildings_without_its_overrides(real_data: Path) -> None:
    """The traps that the configuration answers: a dtype, a layer's name, a nodata tag that is a legal value."""
    dataset = load_dataset("massbuildings")
    plain = dataset.model_copy(
        update={"tiles": dataset.tiles.model_copy(update={"overrides": {}}), "nodata": "file"}, deep=True
    )
    plain = plain.model_copy(update={"labels": plain.labels.model_copy(update={"layer": "23429155_15"})})
    result = checks.check(plain, load_legend("buildings"), catalogue.tiles(plain))
    text = "\n".join(map(str, result.problems))
    assert "23429155_15.tif: pixels of uint16; expected uint8" in text
    assert "no layer '23429155_15'; the file has 22978945_15" in text
    assert any("2 pixels, but of all bands in 0" in note for note in result.notes)


def test_facts_of_bakerlake() -> None:
    dataset = load_dataset("bakerlake")
    facts = preview.facts(dataset, catalogue.tiles(dataset)[0])
    assert (facts["height"], facts["width"], facts["crs"], facts["resolution"]) == (341, 280, "EPSG:2953", 0.5)
    west, south, east, north = facts["footprint"]
    assert -68.73 < west < east < -68.71
    assert 47.37 < south < north < 47.38
