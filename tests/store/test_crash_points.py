"""Crash points: a build that ends at any write, fsync or rename of `publish` leaves the old product or the new one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from landcover_orch.errors import IncompleteError
from landcover_orch.store import publish as module
from landcover_orch.store.publish import Product, Recipe, current, load, publish, request_rebuild
from tests.store.built import writes

OLD = Recipe("test", 1, {"a": "sha256:1"}, {})
NEW = replace(OLD, version=2)
CALLS = (
    *((os, name) for name in ("fsync",)),
    *((Path, name) for name in ("write_text", "rename", "replace", "symlink_to", "unlink", "mkdir", "touch")),
    (shutil, "rmtree"),
    (module, "exchange"),
)
"""Calls by which a build changes the disk."""


class Crash(BaseException):
    """The end of a process, which no code of its own survives."""


@contextmanager
def crash_at(monkeypatch: pytest.MonkeyPatch, point: int, *, behind: bool) -> Iterator[list[str]]:
    """Ends at the call of this number, from 0, before it or behind it; gives the calls that were made."""
    calls: list[str] = []

    def failing(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def at(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            if len(calls) == point + 1 and not behind:
                raise Crash
            result = call(*arguments, **options)
            if len(calls) == point + 1:
                raise Crash
            return result

        return at

    with monkeypatch.context() as patched:
        for owner, name in CALLS:
            patched.setattr(owner, name, failing(name, getattr(owner, name)))
        yield calls


def texts(product: Product) -> tuple[str, str]:
    """What a whole product holds."""
    whole = load(product.path, deep=True)
    return whole.file("store/0").read_text(), whole.json("summary.json")["text"]


def present(folder: Path) -> tuple[str, str] | None:
    """What is current; None where nothing is."""
    try:
        return texts(current(folder, "t1"))
    except IncompleteError:
        link = folder / "t1"
        assert not (link.is_symlink() and link.exists()), "what is current is whole"
        return None


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("start", ["nothing", "another recipe", "damaged", "rebuild", "copy in place of the link"])
def test_old_or_new_at_every_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, behind: bool) -> None:
    point, ended = 0, True
    seen: set[tuple[str, str] | None] = set()
    while ended:
        folder = tmp_path / str(point)
        before = prepare(folder, start)
        with crash_at(monkeypatch, point, behind=behind) as calls:
            try:
                publish(folder, "t1", NEW, writes("new"))
            except Crash:
                ended = True
            else:
                ended = False
        after = present(folder)
        assert after in {before, ("new", "new")}, f"{after} where call {point} ({calls[-1]}) was the last"
        seen.add(after)
        assert texts(publish(folder, "t1", NEW, writes("new"))) == ("new", "new")
        assert present(folder) == ("new", "new")
        hidden = [path.name for path in folder.iterdir() if path.name.endswith((".partial", ".replaced", ".link"))]
        assert hidden == [], f"left behind by a crash at call {point} ({calls[-1]})"
        point += 1
    assert point > 10, "the calls are those of a build"
    assert ("new", "new") in seen


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[list[str]]:
    """What reaches the disk, in order: `sync` of the folder, and what gets a name, `late` where not all of it was."""
    calls: list[str] = []
    synced: set[int] = set()
    fsync, rename, replace_, exchange = os.fsync, Path.rename, Path.replace, module.exchange

    def sync(descriptor: int) -> None:
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)
        calls.extend(["sync"] * (os.fstat(descriptor).st_ino == folder.stat().st_ino))

    def named(path: Path, call: Callable[..., Any], *others: Any) -> Any:
        if path.suffix == ".partial":
            all_synced = synced.issuperset(each.stat().st_ino for each in (path, *path.rglob("*")))
            calls.append("product" if all_synced else "late")
        elif path.suffix == ".link":
            calls.append("link")
        return call(path, *others)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", sync)
        patched.setattr(Path, "rename", lambda path, other: named(path, rename, other))
        patched.setattr(Path, "replace", lambda path, other: named(path, replace_, other))
        patched.setattr(module, "exchange", lambda path, other: named(path, exchange, other))
        yield calls


@pytest.mark.parametrize("start", ["nothing", "another recipe", "rebuild"])
def test_all_of_a_product_is_on_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    prepare(tmp_path / "a", start)
    (tmp_path / "a").mkdir(exist_ok=True)
    with watched(monkeypatch, tmp_path / "a") as calls:
        publish(tmp_path / "a", "t1", NEW, writes("new"))
    assert calls == (["product", "sync"] if start == "rebuild" else ["product", "sync", "link", "sync"])


def prepare(folder: Path, start: str) -> tuple[str, str] | None:
    """The folder that a build finds; gives what is current there."""
    match start:
        case "nothing":
            return None
        case "another recipe":
            publish(folder, "t1", OLD, writes("old"))
        case "damaged":
            product = publish(folder, "t1", NEW, writes("new"))
            product.file("store/0").unlink()
            (folder / "t1").unlink()
            return None
        case "rebuild":
            publish(folder, "t1", NEW, writes("old"))
            request_rebuild(folder, "t1")
        case _:
            publish(folder, "t1", OLD, writes("old"))
            link = folder / "t1"
            shutil.copytree(link.resolve(), folder / "copy")
            link.unlink()
            (folder / "copy").rename(link)
            with suppress(IncompleteError):
                current(folder, "t1")
            return None
    return "old", "old"
