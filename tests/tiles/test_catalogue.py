"""Patterns become tiles, and everything that is wrong with them comes in one error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import pytest

from landcover_orch.config import Dataset
from landcover_orch.config.yamlfile import parse
from landcover_orch.errors import CatalogueError
from landcover_orch.labels.fingerprints import tile_fingerprints
from landcover_orch.tiles import catalogue

PATTERNS = {"image": "images/{tile}.tif", "label": "labels/{tile}.gpkg"}


def dataset(root: Path, tiles: dict[str, Any] | None = None, **changes: Any) -> Dataset:
    plain = {
        "name": "town",
        "root": str(root),
        "tiles": {**PATTERNS, **(tiles or {})},
        "bands": ["red", "green", "blue"],
        "legend": "cover",
        "experiments": ["small"],
        **changes,
    }
    return parse(plain, Dataset, "test")


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def problems(data: Dataset) -> str:
    with pytest.raises(CatalogueError) as error:
        catalogue.tiles(data)
    return str(error.value)


def test_tiles_are_captured_from_file_names_and_sorted(tmp_path: Path) -> None:
    put(tmp_path, "images/b.tif", "images/a-1.tif", "labels/a-1.gpkg", "labels/b.gpkg", "images/b.txt")
    result = catalogue.tiles(dataset(tmp_path, {"year": 2020, "label_year": 2019}))
    assert [tile.name for tile in result] == ["a-1", "b"]
    assert result[0].image == tmp_path / "images/a-1.tif"
    assert result[0].label == tmp_path / "labels/a-1.gpkg"
    assert (result[0].year, result[0].label_year, result[0].stored_dtype, result[0].layer) == (2020, 2019, None, None)


def test_a_tile_may_name_its_folder_as_well(tmp_path: Path) -> None:
    put(tmp_path, "t1/t1.tif", "t2/other.tif", "t2/t2.tif", "all.gpkg")
    result = catalogue.tiles(dataset(tmp_path, {"image": "{tile}/{tile}.tif", "label": "all.gpkg"}))
    assert [tile.name for tile in result] == ["t1", "t2"]
    assert {tile.label for tile in result} == {tmp_path / "all.gpkg"}


def test_characters_that_globs_know_are_plain(tmp_path: Path) -> None:
    put(tmp_path, "[2017] t1.tif", "2 t2.tif", "all.gpkg")
    result = catalogue.tiles(dataset(tmp_path, {"image": "[2017] {tile}.tif", "label": "all.gpkg"}))
    assert [tile.name for tile in result] == ["t1"]


def test_hidden_files_are_uploads_in_progress(tmp_path: Path) -> None:
    put(tmp_path, "images/a.tif", "images/.b.tif", "labels/a.gpkg")
    assert [tile.name for tile in catalogue.tiles(dataset(tmp_path))] == ["a"]


def test_overrides_change_and_add_tiles(tmp_path: Path) -> None:
    put(tmp_path, "images/a.tif", "labels/a.gpkg", "elsewhere/x y.tif", "labels/b.gpkg")
    own = {"a": {"dtype": "uint16", "layer": "other", "year": 2011}, "b": {"image": "elsewhere/x y.tif"}}
    data = dataset(tmp_path, {"overrides": own, "year": 2020}, labels={"layer": "cover"})
    first, second = catalogue.tiles(data)
    assert (first.stored_dtype, first.layer, first.year) == ("uint16", "other", 2011)
    assert (second.name, second.image.name, second.layer, second.year) == ("b", "x y.tif", "cover", 2020)


def test_names_choose_the_tiles(tmp_path: Path) -> None:
    put(tmp_path, "images/a.tif", "images/b.tif", "labels/a.gpkg")
    assert [tile.name for tile in catalogue.tiles(dataset(tmp_path, {"names": ["a"]}))] == ["a"]


def test_every_problem_is_listed(tmp_path: Path) -> None:
    put(tmp_path, "images/a.tif", "images/A.tif", "images/c.1.tif", "labels/a.gpkg", "labels/A.gpkg", "labels/c.1.gpkg")
    data = dataset(
        tmp_path,
        {"overrides": {"ghost": {"year": 2000}, "far": {"image": "../far.tif"}}},
        splits={"test": {"tiles": ["moon"]}, "validation": {"tiles": ["sun"]}},
    )
    text = problems(data)
    for part in (
        "differ in case alone: ['A', 'a']",
        "'c.1'",
        "unknown tile 'ghost'",
        "'moon'",
        "'sun'",
        "'../far.tif'",
    ):
        assert part in text
    assert text.startswith("7 problems:")  # the tile `far` has no labels either


def test_tiles_whose_names_meet_wait_and_the_others_go_on(tmp_path: Path) -> None:
    put(tmp_path, *(f"{kind}/{name}.{end}" for name in "aAb" for kind, end in (("images", "tif"), ("labels", "gpkg"))))
    surveyed = catalogue.survey(dataset(tmp_path))
    assert [tile.name for tile in surveyed.tiles] == ["b"]
    assert [*surveyed.waiting] == ["A", "a"]
    (problem,) = surveyed.problems
    assert problem.found == "tile names that differ in case alone: ['A', 'a']"
    assert problem.fix == "rename all but one"
    (tmp_path / "images" / "A.tif").unlink()
    assert [tile.name for tile in catalogue.survey(dataset(tmp_path)).tiles] == ["a", "b"]


def test_missing_files_are_named_with_their_tile(tmp_path: Path) -> None:
    put(tmp_path, "images/a.tif", "labels/b.gpkg")
    text = problems(dataset(tmp_path, {"names": ["a", "b"]}))
    assert f"{tmp_path}/labels/a.gpkg: no such file" in text
    assert f"{tmp_path}/images/b.tif: no such file" in text


def test_nothing_matches(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    assert "no file matches 'images/{tile}.tif'" in problems(dataset(tmp_path))
    assert "no such folder" in problems(dataset(tmp_path / "absent", splits={"test": {"tiles": ["a"]}}))


def test_a_pattern_without_a_place_needs_names(tmp_path: Path) -> None:
    put(tmp_path, "ortho.tif", "all.gpkg")
    single = {"image": "ortho.tif", "label": "all.gpkg"}
    assert "a pattern with {tile}" in problems(dataset(tmp_path, single))
    assert [tile.name for tile in catalogue.tiles(dataset(tmp_path, {**single, "names": ["one"]}))] == ["one"]
    assert "are one file" in problems(dataset(tmp_path, {**single, "names": ["one", "two"]}))
    assert "listed twice" in problems(dataset(tmp_path, {**single, "names": ["one", "one"]}))


def test_a_link_must_stay_inside_the_root(tmp_path: Path) -> None:
    put(tmp_path, "secret.tif", "root/labels/a.gpkg")
    (tmp_path / "root/images").mkdir()
    (tmp_path / "root/images/a.tif").symlink_to(tmp_path / "secret.tif")
    assert "leaves" in problems(dataset(tmp_path / "root"))


def test_fingerprints_follow_the_bytes(tmp_path: Path) -> None:
    put(tmp_path, "images/a.tif", "labels/a.gpkg")
    (tile,) = catalogue.tiles(dataset(tmp_path))
    image, label = tile_fingerprints(tile, tmp_path / "memory.db")
    assert image.startswith("sha256:")
    (tmp_path / "labels/a.gpkg").write_bytes(b"other labels")
    os.utime(tmp_path / "labels/a.gpkg", ns=(1, 1))
    assert tile_fingerprints(tile, tmp_path / "memory.db")[0] == image
    assert tile_fingerprints(tile, tmp_path / "memory.db")[1] != label


class TestFurtherFiles:
    """Bands of a tile that lie in files of their own."""

    DSM: ClassVar[dict[str, Any]] = {"further": [{"image": "dsm/dsm_{tile:02}.tif", "bands": ["blue"]}]}

    def test_numbers_in_names_may_be_filled_up_with_zeros(self, tmp_path: Path) -> None:
        put(tmp_path, "images/2_10.tif", "labels/2_10.gpkg", "dsm/dsm_02_10.tif")
        (tile,) = catalogue.tiles(dataset(tmp_path, self.DSM))
        assert tile.further == (tmp_path / "dsm/dsm_02_10.tif",)
        assert [path.name for path in tile.images] == ["2_10.tif", "dsm_02_10.tif"]

    def test_a_tile_may_have_its_own(self, tmp_path: Path) -> None:
        put(tmp_path, "images/a.tif", "labels/a.gpkg", "elsewhere.tif")
        own = {"overrides": {"a": {"further": ["elsewhere.tif"]}}}
        (tile,) = catalogue.tiles(dataset(tmp_path, {**self.DSM, **own}))
        assert tile.further == (tmp_path / "elsewhere.tif",)
        own["overrides"]["a"]["further"] *= 2
        assert "overrides.a.further: 2 files; expected 1" in problems(dataset(tmp_path, {**self.DSM, **own}))

    def test_a_missing_one_is_named(self, tmp_path: Path) -> None:
        put(tmp_path, "images/a.tif", "labels/a.gpkg")
        message = problems(dataset(tmp_path, self.DSM))
        assert message.startswith(f"{tmp_path}/dsm/dsm_a.tif: no such file; expected the image file of tile 'a'")
        assert "correct `tiles.further.0.image`" in message

    def test_they_count_in_the_images_fingerprint(self, tmp_path: Path) -> None:
        put(tmp_path, "images/a.tif", "labels/a.gpkg", "dsm/dsm_a.tif")
        (tile,) = catalogue.tiles(dataset(tmp_path, self.DSM))
        before = tile_fingerprints(tile, tmp_path / "memory.db")
        (tmp_path / "dsm/dsm_a.tif").write_bytes(b"other heights")
        after = tile_fingerprints(tile, tmp_path / "memory.db")
        assert (before[0] != after[0], before[1] == after[1]) == (True, True)
        assert after[0] == catalogue.image_fingerprint(tile, tmp_path / "memory.db")


class TestUnlabelled:
    """Tiles without labels: mapped, never trained on nor scored."""

    def test_they_stand_among_the_others(self, tmp_path: Path) -> None:
        put(tmp_path, "images/a.tif", "images/c.tif", "labels/a.gpkg", "labels/c.gpkg", "test/b.tif")
        result = catalogue.tiles(dataset(tmp_path, {"unlabelled": "test/{tile}.tif"}))
        assert [(tile.name, tile.label and tile.label.name) for tile in result] == [
            ("a", "a.gpkg"),
            ("b", None),
            ("c", "c.gpkg"),
        ]
        image, label = tile_fingerprints(result[1], tmp_path / "memory.db")
        assert (image.startswith("sha256:"), label) == (True, None)

    def test_labelled_tiles_of_one_folder_do_not_count(self, tmp_path: Path) -> None:
        put(tmp_path, "images/1.tif", "images/2.tif", "labels/1.gpkg")
        result = catalogue.tiles(dataset(tmp_path, {"names": ["1"], "unlabelled": PATTERNS["image"]}))
        assert [(tile.name, tile.label is None) for tile in result] == [("1", False), ("2", True)]

    def test_one_name_for_two_files_is_an_error(self, tmp_path: Path) -> None:
        put(tmp_path, "images/a.tif", "labels/a.gpkg", "test/a.tif")
        message = problems(dataset(tmp_path, {"unlabelled": "test/{tile}.tif"}))
        assert "tiles.unlabelled: tile 'a' is also a labelled tile, of another file" in message

    def test_a_pattern_that_matches_nothing_is_an_error(self, tmp_path: Path) -> None:
        put(tmp_path, "images/a.tif", "labels/a.gpkg")
        message = problems(dataset(tmp_path, {"unlabelled": "test/{tile}.tif"}))
        assert message == (
            f"{tmp_path}: no file matches 'test/{{tile}}.tif'; expected at least one tile. "
            "Fix: correct `tiles.unlabelled` or `root`."
        )

    def test_they_are_on_no_side_of_a_split(self, tmp_path: Path) -> None:
        put(tmp_path, "images/a.tif", "labels/a.gpkg", "test/b.tif")
        data = {"unlabelled": "test/{tile}.tif", "overrides": {"b": {"year": 2020}}}
        message = problems(dataset(tmp_path, data, splits={"test": {"tiles": ["b"]}}))
        assert "splits.test.tiles: unknown tile 'b'; expected one of a, the tiles with labels" in message
        result = catalogue.tiles(dataset(tmp_path, data, splits={"excluded": {"tiles": ["b"]}}))
        assert [tile.year for tile in result] == [None, 2020]

    def test_their_further_files_are_sought_as_well(self, tmp_path: Path) -> None:
        put(tmp_path, "images/a.tif", "labels/a.gpkg", "test/b.tif", "dsm/dsm_a.tif")
        data = {**TestFurtherFiles.DSM, "unlabelled": "test/{tile}.tif"}
        assert problems(dataset(tmp_path, data)).startswith(f"{tmp_path}/dsm/dsm_b.tif: no such file")


def test_a_list_of_tiles_that_is_not_there_is_named(tmp_path: Path) -> None:
    put(tmp_path, "images/a.tif", "labels/a.gpkg")
    result = problems(dataset(tmp_path, splits={"validation": {"from_csv": "samples.csv"}}))
    assert "splits.validation.from_csv: no file samples.csv" in result


def test_a_landscape_that_is_not_there_yet_is_generated_by_the_demo(home: Path) -> None:
    assert "Fix: `make demo` generates it" in problems(dataset(home / "landscape", splits={"test": {"tiles": ["a"]}}))


def test_going_on_without_all_tiles_of_a_split_is_refused(tmp_path: Path) -> None:
    for name in "abc":
        put(tmp_path, f"images/{name}.tif", f"labels/{name}.gpkg")
    splits = {"test": {"tiles": ["b", "c"]}}
    assert len(catalogue.survey(dataset(tmp_path, {"go_on_without": ["b"]}, splits=splits)).tiles) == 3
    with pytest.raises(CatalogueError, match=r"b, c, all tiles of `splits\.test`.*name another one"):
        catalogue.survey(dataset(tmp_path, {"go_on_without": ["b", "c"]}, splits=splits))


def test_a_tile_of_an_invalid_name_does_not_hide_the_others(tmp_path: Path) -> None:
    put(tmp_path, "images/a.tif", "labels/a.gpkg", "images/Mü 1.tif", "labels/Mü 1.gpkg")
    result = catalogue.survey(dataset(tmp_path))
    assert [tile.name for tile in result.tiles] == ["a"]
    (problem,) = result.waiting["Mü 1"]
    assert str(problem).startswith("tile 'Mü 1': a name that Dagster cannot take as a partition")
    assert "rename its files, as Mu-1, or list" in problem.fix
    for kind in ("images/{}.tif", "labels/{}.gpkg"):
        (tmp_path / kind.format("Mü 1")).rename(tmp_path / kind.format("Mu-1"))
    assert [tile.name for tile in catalogue.tiles(dataset(tmp_path))] == ["Mu-1", "a"]


def test_a_tile_that_waits_does_not_hide_the_others(tmp_path: Path) -> None:
    put(tmp_path, "images/a.tif", "labels/a.gpkg", "images/b.tif")
    result = catalogue.survey(dataset(tmp_path))
    assert [tile.name for tile in result.tiles] == ["a"]
    assert [*result.waiting] == ["b"]
    assert "b.gpkg" in str(result.problems[0])
    with pytest.raises(CatalogueError, match=r"b\.gpkg"):
        catalogue.survey(dataset(tmp_path, splits={"test": {"tiles": ["b"]}}))
