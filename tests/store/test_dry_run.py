"""A dry run says what a build would do and does none of it; failures, requests and repairs lie beside the products."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch.errors import (
    BusyError,
    ConfigError,
    IncompleteError,
    LabelError,
    LandcoverError,
    Problem,
    PublishError,
    RasterError,
    RecipeError,
    TrackingError,
)
from landcover_orch.store import publish as module
from landcover_orch.store.publish import (
    MANIFEST,
    NotCurrentError,
    Recipe,
    Stage,
    changes,
    current,
    dry_run,
    failure,
    load,
    publish,
    request_rebuild,
)
from tests.store.built import inflict, writes

RECIPE = Recipe("test", 1, {"image": "1", "label": "1"}, {"size": 3, "grid": {"x": 1}})
OTHER = replace(RECIPE, inputs={"image": "2", "label": "1"})
FAULT = Problem("t1.tif", "cut short", "a raster", "copy it again")


def raises(error: BaseException) -> Callable[[Stage], None]:
    """A build that writes half of its files and ends."""

    def build(stage: Stage) -> None:
        (stage.path / "half").write_text("half")
        raise error

    return build


def never(stage: Stage) -> None:
    """A build that is not to begin."""
    raise AssertionError("built in a dry run")


def tree(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every path below a folder with what would show that it was touched."""
    return {
        path.relative_to(folder).as_posix(): (
            path.lstat().st_ino,
            path.lstat().st_mtime_ns,
            str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else "",
        )
        for path in folder.rglob("*")
    }


def content(folder: Path) -> dict[str, bytes]:
    """Name -> bytes of every file of a product."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def not_current(folder: Path, recipe: Recipe = RECIPE, name: str = "t1") -> NotCurrentError:
    """What a dry run raises; it changes nothing."""
    before = tree(folder) if folder.exists() else None
    with dry_run(), pytest.raises(NotCurrentError) as error:
        publish(folder, name, recipe, never)
    assert (tree(folder) if folder.exists() else None) == before
    assert (error.value.folder, error.value.name, error.value.recipe) == (folder, name, recipe)
    return error.value


# dry run


def test_of_nothing_a_dry_run_creates_no_folder(tmp_path: Path) -> None:
    error = not_current(tmp_path / "products")
    assert (error.state, error.reason) == ("missing", "nothing published")
    assert not (tmp_path / "products").exists()
    assert "products t1: nothing published" in str(error)


def test_what_is_current_is_given_and_nothing_written(tmp_path: Path) -> None:
    product = publish(tmp_path, "t1", RECIPE, writes("x"))
    before = tree(tmp_path)
    with dry_run():
        assert publish(tmp_path, "t1", RECIPE, never) == product
    assert tree(tmp_path) == before


def test_afterwards_builds_build(tmp_path: Path) -> None:
    not_current(tmp_path)
    with pytest.raises(RuntimeError), dry_run():
        raise RuntimeError
    with dry_run():
        with dry_run():
            pass
        with pytest.raises(NotCurrentError):
            publish(tmp_path, "t1", RECIPE, never)
    assert publish(tmp_path, "t1", RECIPE, writes("x")).json("summary.json") == {"text": "x"}


def test_another_recipe_is_stale_and_says_what_changed(tmp_path: Path) -> None:
    publish(tmp_path, "t1", RECIPE, writes("x"))
    error = not_current(tmp_path, OTHER)
    assert (error.state, error.reason) == ("stale", "image changed")


def test_going_back_to_a_former_recipe_is_stale_as_long_as_it_is_not_current(tmp_path: Path) -> None:
    publish(tmp_path, "t1", RECIPE, writes("x"))
    publish(tmp_path, "t1", OTHER, writes("y"))
    assert not_current(tmp_path, RECIPE).state == "stale"
    publish(tmp_path, "t1", RECIPE, never)
    with dry_run():
        publish(tmp_path, "t1", RECIPE, never)


@pytest.mark.parametrize("damage", ["missing", "shorter", "manifest gone", "manifest cut", "schema"])
def test_a_damaged_product_says_what_is_wrong(tmp_path: Path, damage: str) -> None:
    product = publish(tmp_path, "t1", RECIPE, writes("xyz"))
    inflict(product, damage)
    error = not_current(tmp_path)
    assert error.state == "damaged"
    words = {"missing": "store/0", "shorter": "store/0", "manifest gone": "no manifest.json", "manifest cut": "no JSON"}
    assert words.get(damage, "another version") in error.reason


def test_of_much_damage_the_first_three_files_are_named(tmp_path: Path) -> None:
    def many(stage: Stage) -> None:
        for i in range(9):
            (stage.path / f"{i}").write_text("x")

    product = publish(tmp_path, "t1", RECIPE, many)
    for name in product.files:
        product.file(name).unlink()
    assert not_current(tmp_path).reason.count("missing or changed") == 3


def test_a_folder_that_is_gone_and_a_link_that_is_gone_are_missing(tmp_path: Path) -> None:
    product = publish(tmp_path, "t1", RECIPE, writes("x"))
    (tmp_path / "t1").unlink()
    error = not_current(tmp_path)
    assert (error.state, error.reason) == ("missing", "no link to its product")
    publish(tmp_path, "t1", RECIPE, never)
    shutil.rmtree(product.path)
    error = not_current(tmp_path)
    assert (error.state, error.reason) == ("missing", "its files are gone")


def test_a_damaged_former_product_does_not_hide_that_the_present_is_missing(tmp_path: Path) -> None:
    former = publish(tmp_path, "t1", RECIPE, writes("x"))
    former.file(MANIFEST).unlink()
    assert not_current(tmp_path, OTHER).state in ("missing", "stale")
    publish(tmp_path, "t1", OTHER, writes("y"))
    assert current(tmp_path, "t1").json("summary.json") == {"text": "y"}


def test_of_several_products_the_first_that_is_not_current_is_raised(tmp_path: Path) -> None:
    publish(tmp_path, "t1", RECIPE, writes("x"))

    def both() -> None:
        for name in ("t1", "t2", "t3"):
            publish(tmp_path, name, RECIPE, never)

    with dry_run(), pytest.raises(NotCurrentError) as error:
        both()
    assert error.value.name == "t2"


# changes of a recipe in words


def test_changes_are_named_by_kind_and_key() -> None:
    assert changes(RECIPE, RECIPE) == "made of the same, under another name"
    assert changes(RECIPE, replace(RECIPE, version=3)) == "code version 1 -> 3"
    assert (
        changes(RECIPE, replace(RECIPE, inputs={"image": "2", "roads": "1"})) == "image changed; roads new; label gone"
    )
    assert changes(RECIPE, replace(RECIPE, configuration={"size": 3, "grid": {"x": 2}})) == "setting grid.x changed"
    assert (
        changes(RECIPE, replace(RECIPE, configuration={"size": 3, "grid": {}}))
        == "setting grid new; setting grid.x gone"
    )
    of_two = replace(RECIPE, inputs={"label": "1"}, configuration={"grid": {"x": 1}, "edge": "pad"})
    assert changes(RECIPE, of_two) == "image gone; setting edge new; setting size gone"


def test_of_many_changed_inputs_four_are_named() -> None:
    many = replace(RECIPE, inputs={f"t{i}": "1" for i in range(9)})
    after = replace(RECIPE, inputs={f"t{i}": "2" for i in range(9)})
    assert changes(many, after) == "t0, t1, t2, t3 and 5 more changed"
    assert changes(many, replace(many, inputs={})) == "t0, t1, t2, t3 and 5 more gone"


VALUES = st.one_of(st.integers(0, 2), st.text("ab", max_size=2), st.none(), st.lists(st.integers(0, 1), max_size=2))
MAPPINGS = st.dictionaries(st.sampled_from("abc"), st.one_of(VALUES, st.dictionaries(st.sampled_from("xy"), VALUES)))
RECIPES = st.builds(Recipe, st.just("test"), st.integers(1, 2), MAPPINGS, MAPPINGS)


@given(former=RECIPES, recipe=RECIPES)
def test_recipes_that_differ_say_where(former: Recipe, recipe: Recipe) -> None:
    nothing = "made of the same, under another name"
    assert (changes(former, recipe) == nothing) == (former.fingerprint == recipe.fingerprint)


# failures


@pytest.mark.parametrize("kind", [LabelError, RasterError, ConfigError, RecipeError, LandcoverError])
def test_a_failure_of_inputs_is_recorded_beside_the_product(tmp_path: Path, kind: type[LandcoverError]) -> None:
    with pytest.raises(kind):
        publish(tmp_path, "t1", RECIPE, raises(kind(FAULT, replace(FAULT, where="t1.gpkg"))))
    record = failure(tmp_path, "t1")
    assert record is not None
    assert record.fingerprint == RECIPE.fingerprint
    assert record.problems == (FAULT, replace(FAULT, where="t1.gpkg"))
    assert str(record) == f"{FAULT}; {replace(FAULT, where='t1.gpkg')}"
    assert failure(tmp_path, "t2") is None


class TroubleError(PublishError):
    """Another error of publishing."""


@pytest.mark.parametrize(
    "error",
    [
        PublishError(FAULT),
        BusyError(FAULT),
        IncompleteError(FAULT),
        TroubleError(FAULT),
        TrackingError(FAULT),
        RuntimeError("a bug"),
        OSError("disk full"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_trouble_around_a_build_is_not_recorded(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        publish(tmp_path, "t1", RECIPE, raises(error))
    assert failure(tmp_path, "t1") is None
    assert not module.failure_path(tmp_path, "t1").exists()


def test_trouble_does_not_forget_a_failure_nor_does_a_dry_run(tmp_path: Path) -> None:
    with pytest.raises(LabelError):
        publish(tmp_path, "t1", RECIPE, raises(LabelError(FAULT)))
    with pytest.raises(TrackingError):
        publish(tmp_path, "t1", RECIPE, raises(TrackingError(FAULT)))
    assert not_current(tmp_path).state == "missing"
    record = failure(tmp_path, "t1")
    assert record is not None
    assert record.fingerprint == RECIPE.fingerprint


def test_a_failure_is_that_of_the_last_recipe_and_forgotten_after_success(tmp_path: Path) -> None:
    for recipe in (RECIPE, OTHER):
        with pytest.raises(LabelError):
            publish(tmp_path, "t1", recipe, raises(LabelError(FAULT)))
        record = failure(tmp_path, "t1")
        assert record is not None
        assert record.fingerprint == recipe.fingerprint
    publish(tmp_path, "t1", OTHER, writes("x"))
    assert failure(tmp_path, "t1") is None
    assert list(tmp_path.glob(".*.failed.json*")) == []


def test_a_failed_build_leaves_the_former_product_current(tmp_path: Path) -> None:
    product = publish(tmp_path, "t1", RECIPE, writes("x"))
    with pytest.raises(LabelError):
        publish(tmp_path, "t1", OTHER, raises(LabelError(FAULT)))
    assert current(tmp_path, "t1") == product


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"fingerprint": "1"}', '{"fingerprint": "1", "problems": [1]}']
)
def test_a_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    module.failure_path(tmp_path, "t1").write_text(text)
    assert failure(tmp_path, "t1") is None
    with pytest.raises(LabelError):
        publish(tmp_path, "t1", RECIPE, raises(LabelError(FAULT)))
    assert failure(tmp_path, "t1") is not None


# requested rebuilds, swaps and repairs


def test_a_rebuild_that_is_asked_for_is_made_once_with_the_same_bytes(tmp_path: Path) -> None:
    calls: list[str] = []
    product = publish(tmp_path, "t1", RECIPE, writes("x", calls))
    before, inode = content(product.path), product.path.stat().st_ino
    assert request_rebuild(tmp_path, "t1")
    error = not_current(tmp_path)
    assert (error.state, error.reason) == ("requested", "a rebuild was asked for")
    assert publish(tmp_path, "t1", RECIPE, writes("x", calls)) == product
    assert calls == ["x", "x"]
    assert content(product.path) == before
    assert product.path.stat().st_ino != inode
    publish(tmp_path, "t1", RECIPE, never)
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith((".rebuild", ".replaced", ".partial"))]


def test_of_nothing_no_rebuild_can_be_asked_for_but_a_failure_is_forgotten(tmp_path: Path) -> None:
    assert not request_rebuild(tmp_path / "products", "t1")
    assert not request_rebuild(tmp_path, "t1")
    with pytest.raises(LabelError):
        publish(tmp_path, "t1", RECIPE, raises(LabelError(FAULT)))
    assert not request_rebuild(tmp_path, "t1")
    assert failure(tmp_path, "t1") is None
    assert {path.name for path in tmp_path.iterdir()} == {".t1.lock", ".t1.partial"}


def test_a_rebuild_that_was_asked_for_holds_up_no_other_recipe(tmp_path: Path) -> None:
    publish(tmp_path, "t1", RECIPE, writes("x"))
    request_rebuild(tmp_path, "t1")
    assert not_current(tmp_path, OTHER).state == "stale"
    publish(tmp_path, "t1", OTHER, writes("y"))
    with dry_run():
        publish(tmp_path, "t1", OTHER, never)


def test_the_old_product_is_current_until_the_new_is_there(tmp_path: Path) -> None:
    product = publish(tmp_path, "t1", RECIPE, writes("x"))
    request_rebuild(tmp_path, "t1")

    def looks(stage: Stage) -> None:
        assert current(tmp_path, "t1") == product
        writes("x")(stage)
        assert current(tmp_path, "t1") == product

    publish(tmp_path, "t1", RECIPE, looks)


@pytest.mark.parametrize("error", [LabelError(FAULT), KeyboardInterrupt()], ids=["failed", "killed"])
def test_a_rebuild_that_ends_early_leaves_the_old_product(tmp_path: Path, error: BaseException) -> None:
    product = publish(tmp_path, "t1", RECIPE, writes("x"))
    before = content(product.path)
    request_rebuild(tmp_path, "t1")
    with pytest.raises(type(error)):
        publish(tmp_path, "t1", RECIPE, raises(error))
    assert current(tmp_path, "t1") == product
    assert content(product.path) == before
    assert not_current(tmp_path).state == "requested"


class KilledError(BaseException):
    """The process ends here."""


def stop_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, chosen: Callable[[Path], bool]) -> None:
    """Ends the build at the call of a function with a path; what it did before stays on disk."""
    original = getattr(owner, name)

    def stops(path: Path, *arguments: Any, **options: Any) -> Any:
        if chosen(path):
            raise KilledError
        return original(path, *arguments, **options)

    monkeypatch.setattr(owner, name, stops)


@pytest.mark.parametrize(
    ("owner", "name", "chosen"),
    [
        (module, "_sync_tree", lambda path: True),
        (Path, "rename", lambda path: path.name == f"t1-{RECIPE.fingerprint}"),
        (Path, "rename", lambda path: path.name.endswith(".partial")),
        (module.shutil, "rmtree", lambda path: path.name.endswith(".replaced") and path.exists()),
    ],
    ids=["before the swap", "before the old goes", "between the two", "before the old is deleted"],
)
@pytest.mark.parametrize("reason", ["requested", "damaged"])
def test_a_kill_in_the_swap_is_repaired_by_the_next_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, owner: Any, name: str, chosen: Callable[[Path], bool]
) -> None:
    product = publish(tmp_path, "t1", RECIPE, writes("xyz"))
    before = content(product.path)
    if reason == "requested":
        request_rebuild(tmp_path, "t1")
    else:
        product.file("store/0").write_text("x")
    with monkeypatch.context() as patched:
        patched.setattr(module, "exchange", lambda *_: False)  # as on a file system that cannot
        stop_at(patched, owner, name, chosen)
        with pytest.raises(KilledError):
            publish(tmp_path, "t1", RECIPE, writes("xyz"))
    assert publish(tmp_path, "t1", RECIPE, writes("xyz")) == product
    assert content(product.path) == before
    assert current(tmp_path, "t1") == product
    with dry_run():
        publish(tmp_path, "t1", RECIPE, never)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"t1", product.path.name, ".t1.lock", f".{product.path.name}.cost.json"}, "nothing is left over"


def test_after_a_kill_between_the_two_a_build_that_fails_leaves_the_old_product(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = publish(tmp_path, "t1", RECIPE, writes("x"))
    before = content(product.path)
    request_rebuild(tmp_path, "t1")
    with monkeypatch.context() as patched:
        patched.setattr(module, "exchange", lambda *_: False)
        stop_at(patched, Path, "rename", lambda path: path.name.endswith(".partial"))
        with pytest.raises(KilledError):
            publish(tmp_path, "t1", RECIPE, writes("x"))
    with pytest.raises(LabelError):
        publish(tmp_path, "t1", RECIPE, raises(LabelError(FAULT)))
    assert current(tmp_path, "t1") == product
    assert content(product.path) == before


@pytest.mark.parametrize("damage", ["missing", "shorter", "extra bytes", "manifest gone", "manifest cut", "schema"])
def test_a_damaged_product_is_built_again_in_its_folder_with_the_same_bytes(tmp_path: Path, damage: str) -> None:
    calls: list[str] = []
    product = publish(tmp_path, "t1", RECIPE, writes("xyz", calls))
    before = content(product.path)
    inflict(product, damage)
    with pytest.raises(IncompleteError):
        current(tmp_path, "t1")
    assert publish(tmp_path, "t1", RECIPE, writes("xyz", calls)) == product
    assert calls == ["xyz", "xyz"]
    assert content(product.path) == before
    assert load(product.path, deep=True) == product
    assert publish(tmp_path, "t1", RECIPE, never) == product


def test_a_damaged_product_stays_as_it_is_where_its_build_fails(tmp_path: Path) -> None:
    product = publish(tmp_path, "t1", RECIPE, writes("xyz"))
    product.file("store/0").unlink()
    with pytest.raises(LabelError):
        publish(tmp_path, "t1", RECIPE, raises(LabelError(FAULT)))
    assert product.file("summary.json").exists()
    assert not_current(tmp_path).state == "damaged"
    record = failure(tmp_path, "t1")
    assert record is not None
    assert record.fingerprint == RECIPE.fingerprint


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"schema": 2}'])
def test_a_manifest_that_is_other_json_is_damage(tmp_path: Path, text: str) -> None:
    product = publish(tmp_path, "t1", RECIPE, writes("x"))
    product.file(MANIFEST).write_text(text)
    assert not_current(tmp_path).state == "damaged"
    assert publish(tmp_path, "t1", RECIPE, writes("x")) == product
