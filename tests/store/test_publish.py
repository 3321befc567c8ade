"""Products appear whole or not at all, are found again, and say when they are damaged."""

from __future__ import annotations

import errno
import json
import multiprocessing
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from landcover_orch.errors import BusyError, IncompleteError, PublishError
from landcover_orch.store import publish as module
from landcover_orch.store.publish import MANIFEST, Recipe, Stage, current, failure, load, publish
from tests.store.built import writes

RECIPE = Recipe("test", 1, {"a": "sha256:1"}, {"size": 3, "side": 4})
OTHER = replace(RECIPE, version=2)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_product_is_whole_and_described(tmp_path: Path) -> None:
    product = publish(tmp_path / "products", "t1", RECIPE, writes("x"))
    assert product.recipe == RECIPE
    assert list(product.files) == ["store/0", "summary.json"]
    assert product.json("summary.json") == {"text": "x"}
    assert product.bytes == sum(product.file(name).stat().st_size for name in product.files)
    assert product.cost.files is not None
    assert current(tmp_path / "products", "t1") == product
    assert visible(tmp_path / "products") == ["t1", f"t1-{product.fingerprint}"]
    assert visible(product.path) == [MANIFEST, "store", "summary.json"]


def test_the_same_recipe_is_found(tmp_path: Path) -> None:
    calls: list[str] = []
    first = publish(tmp_path, "t1", RECIPE, writes("x", calls))
    assert publish(tmp_path, "t1", replace(RECIPE, configuration={"side": 4, "size": 3}), writes("y", calls)) == first
    assert calls == ["x"]


def test_another_recipe_is_built_and_going_back_is_free(tmp_path: Path) -> None:
    calls: list[str] = []
    first = publish(tmp_path, "t1", RECIPE, writes("x", calls))
    second = publish(tmp_path, "t1", OTHER, writes("y", calls))
    assert current(tmp_path, "t1") == second
    publish(tmp_path, "t1", RECIPE, writes("z", calls))
    assert current(tmp_path, "t1") == first
    assert calls == ["x", "y"]


def test_the_same_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    a, b = (publish(tmp_path / name, "t1", RECIPE, writes("x")) for name in "ab")
    assert (a.path / MANIFEST).read_bytes() == (b.path / MANIFEST).read_bytes()


@pytest.mark.parametrize("damage", ["shorter", "missing", "bytes", "manifest"])
def test_a_damaged_product_is_refused_and_built_again(tmp_path: Path, damage: str) -> None:
    product = publish(tmp_path, "t1", RECIPE, writes("xyz"))
    file = product.file(MANIFEST if damage == "manifest" else "store/0")
    if damage == "shorter":
        file.write_text("xy")
    elif damage == "bytes":
        file.write_text("xyZ")
    else:
        file.unlink()
    with pytest.raises(IncompleteError, match="materialise again"):
        load(product.path, deep=True)
    if damage == "bytes":
        load(product.path)  # only reading tells
    else:
        again = publish(tmp_path, "t1", RECIPE, writes("xyz"))
        assert load(again.path, deep=True) == product, "built again, in its place"


def test_all_damage_is_listed(tmp_path: Path) -> None:
    product = publish(tmp_path, "t1", RECIPE, writes("x"))
    for name in product.files:
        product.file(name).unlink()
    with pytest.raises(IncompleteError, match="2 problems"):
        load(product.path)


def test_nothing_is_published_before_the_first_build(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="nothing published"):
        current(tmp_path, "t1")


def test_a_failed_build_leaves_the_old_product(tmp_path: Path) -> None:
    first = publish(tmp_path, "t1", RECIPE, writes("x"))

    def fails(stage: Stage) -> None:
        (stage.path / "half").write_text("half")
        assert current(tmp_path, "t1") == first  # the link moves only after the rename
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        publish(tmp_path, "t1", OTHER, fails)
    assert current(tmp_path, "t1") == first
    assert visible(tmp_path) == ["t1", first.path.name]


def test_the_link_switches_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = publish(tmp_path, "t1", RECIPE, writes("x"))
    monkeypatch.setattr(module, "_point", lambda *arguments: (_ for _ in ()).throw(RuntimeError("killed here")))
    with pytest.raises(RuntimeError):
        publish(tmp_path, "t1", OTHER, writes("y"))
    assert current(tmp_path, "t1") == first
    monkeypatch.undo()
    calls: list[str] = []
    assert publish(tmp_path, "t1", OTHER, writes("z", calls)).json("summary.json") == {"text": "y"}
    assert calls == []


def parts(names: str, log: list[str], stop_after: str | None = None) -> Callable[[Stage], None]:
    def build(stage: Stage) -> None:
        for name in names:
            if stage.done(name):
                continue
            log.append(name)
            (stage.path / name).write_text(name * 10)
            stage.mark(name, stage.path / name)
            if name == stop_after:
                raise KeyboardInterrupt

    return build


def test_a_killed_build_goes_on_with_its_parts(tmp_path: Path) -> None:
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path, "t1", RECIPE, parts("abcd", log, "b"))
    product = publish(tmp_path, "t1", RECIPE, parts("abcd", log))
    assert log == list("abcd")
    fresh = publish(tmp_path / "fresh", "t1", RECIPE, parts("abcd", []))
    assert product.files == fresh.files
    assert (product.path / MANIFEST).read_bytes() == (fresh.path / MANIFEST).read_bytes()


def test_a_part_whose_bytes_changed_is_built_again(tmp_path: Path) -> None:
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path, "t1", RECIPE, parts("abc", log, "b"))
    (tmp_path / ".t1.partial/a").write_text("torn")
    publish(tmp_path, "t1", RECIPE, parts("abc", log))
    assert log == ["a", "b", "a", "c"]


def test_a_torn_journal_line_does_not_count(tmp_path: Path) -> None:
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path, "t1", RECIPE, parts("abc", log, "b"))
    journal = tmp_path / ".t1.partial" / module.JOURNAL
    journal.write_text(journal.read_text()[:-5])
    publish(tmp_path, "t1", RECIPE, parts("abc", log))
    assert log == ["a", "b", "b", "c"]


def test_what_another_recipe_left_is_thrown_away(tmp_path: Path) -> None:
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path, "t1", RECIPE, parts("ab", log, "a"))
    product = publish(tmp_path, "t1", OTHER, parts("c", log))
    assert list(product.files) == ["c"]


def _hold(folder: str, ready: object, release: object) -> None:
    with module.locked(Path(folder), "t1"):
        ready.set()  # type: ignore[attr-defined]
        release.wait(60)  # type: ignore[attr-defined]


def test_one_builder_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_PATIENCE_S", 0.0)
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(str(tmp_path), ready, release))
    holder.start()
    try:
        assert ready.wait(60)
        with pytest.raises(BusyError, match=f"process {holder.pid}"):
            publish(tmp_path, "t1", RECIPE, writes("x"))
    finally:
        release.set()
        holder.join(60)
    publish(tmp_path, "t1", RECIPE, writes("x"))


def test_the_manifest_is_plain(tmp_path: Path) -> None:
    product = publish(tmp_path, "t1", RECIPE, writes("x"))
    manifest = json.loads((product.path / MANIFEST).read_text())
    assert manifest["schema"] == module.SCHEMA
    assert str(tmp_path) not in (product.path / MANIFEST).read_text()
    assert product.path.name == f"t1-{manifest['fingerprint']}"


@pytest.mark.parametrize("schema", [1, module.SCHEMA + 1, None])
def test_what_another_version_wrote_is_told_and_built_again(tmp_path: Path, schema: int | None) -> None:
    calls: list[str] = []
    product = publish(tmp_path, "t1", RECIPE, writes("x", calls))
    manifest = json.loads((product.path / MANIFEST).read_text())
    recipe = {"former": "test", **{key: value for key, value in manifest["recipe"].items() if key != "asset"}}
    (product.path / MANIFEST).write_text(json.dumps({**manifest, "schema": schema, "recipe": recipe}))
    with pytest.raises(IncompleteError, match="another version of landcover_orch"):
        current(tmp_path, "t1")
    assert publish(tmp_path, "t1", OTHER, writes("y", calls)) == current(tmp_path, "t1")
    assert calls == ["x", "y"]


def test_a_copy_where_the_link_should_be_gives_way_to_it(tmp_path: Path) -> None:
    """As `cp -rL` or a backup that follows links leaves it."""
    product = publish(tmp_path, "t1", RECIPE, writes("x"))
    (tmp_path / "t1").unlink()
    shutil.copytree(product.path, tmp_path / "t1")
    assert publish(tmp_path, "t1", RECIPE, writes("x")) == product
    assert (tmp_path / "t1").is_symlink()
    (tmp_path / "t1").unlink()
    (tmp_path / "t1").mkdir()
    with pytest.raises(PublishError, match="move the folder away"):
        publish(tmp_path, "t1", RECIPE, writes("x"))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("TIFFWriteBlock")])
def test_a_full_disk_is_told_and_the_next_build_goes_on(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fills(stage: Stage) -> None:
        (stage.path / "store").mkdir()
        (stage.path / "store/0").write_text("ha")
        raise error

    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4096))
        with pytest.raises(PublishError, match=r"no space left on its disk .* Fix: free some"):
            publish(tmp_path, "t1", RECIPE, fills)
    assert failure(tmp_path, "t1") is None, "nobody waits for a hand"
    assert publish(tmp_path, "t1", RECIPE, writes("half")).file("store/0").read_text() == "half"


def test_an_error_with_space_left_stays_what_it_is(tmp_path: Path) -> None:
    def fails(stage: Stage) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        publish(tmp_path, "t1", RECIPE, fails)
