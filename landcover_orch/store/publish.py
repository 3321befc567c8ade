"""How anything reaches its final name: lock, stage, verify, manifest, rename, point.

A product is a folder `<name>-<fingerprint>/` with its `manifest.json`; the link `<name>` beside it says which product
is current. It is built in `.<name>.partial/` and appears under its name only when it is whole. The fingerprint is that
of the recipe (inputs and configuration), so the same recipe finds the product that is already there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landcover_orch.errors import BusyError, IncompleteError, Problem
from landcover_orch.store.canonical import canonical, digest
from landcover_orch.store.costs import Cost, measured
from landcover_orch.store.fingerprint import file_hash

SCHEMA = 2
"""Of manifests. 2 since build recipes say `asset`; what an earlier version wrote is never read, but built again."""

MANIFEST = "manifest.json"
RECIPE = "recipe.json"
JOURNAL = "journal.jsonl"
LOCK_PATIENCE_S = 30.0
LOCK_POLL_S = 0.1


@dataclass(frozen=True)
class Recipe:
    """Build key: what a product is made of; the same recipe gives the same fingerprint and the same bytes."""

    asset: str
    version: int
    """Of the code: raised when the same inputs and configuration would give other bytes."""

    inputs: Mapping[str, Any]
    """Name -> fingerprint of what is read."""

    configuration: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of its canonical JSON."""
        return digest(self)

    def as_dict(self) -> dict[str, Any]:
        """The recipe as a manifest holds it: models and tuples have become plain JSON values."""
        fields: dict[str, Any] = json.loads(canonical(self))
        return fields


@dataclass(frozen=True)
class Product:
    """A published folder: whole, never changed again."""

    path: Path
    fingerprint: str
    recipe: Recipe
    files: dict[str, dict[str, Any]]

    def file(self, name: str) -> Path:
        """Path of one of the product's files or stores."""
        return self.path / name

    def json(self, name: str) -> Any:
        """Content of one of the product's JSON files."""
        return json.loads(self.file(name).read_text(encoding="utf-8"))

    @property
    def bytes(self) -> int:
        """Size of all its files together."""
        return sum(int(entry["bytes"]) for entry in self.files.values())

    @property
    def cost(self) -> Cost:
        """What building it took; kept beside the product, so that its own bytes depend on the recipe alone."""
        path = _cost_path(self.path)
        return Cost(**json.loads(path.read_text())) if path.exists() else Cost.unknown()


class Stage:
    """A product being built; finished parts are journalled, so that a killed build goes on where it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._parts = _read_journal(path)

    def done(self, part: str) -> bool:
        """Whether a part was finished by an earlier build, and its files still have the recorded bytes."""
        files = self._parts.get(part)
        return files is not None and all(_matches(self.path / name, entry) for name, entry in files.items())

    def mark(self, part: str, *files: Path) -> None:
        """Records that a part and its files are finished; they must not change afterwards."""
        entries = {file.relative_to(self.path).as_posix(): _entry(file) for file in files}
        with self._lock, (self.path / JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(canonical({"part": part, "files": entries}) + "\n")
            journal.flush()
            os.fsync(journal.fileno())
            self._parts[part] = entries

    def write_json(self, name: str, value: object) -> None:
        """Writes a value as indented JSON with sorted keys: the same value gives the same bytes."""
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
        (self.path / name).write_text(text + "\n", encoding="utf-8")

    def entries(self) -> dict[str, dict[str, Any]]:
        """Size and SHA-256 of every staged file, sorted by name; journalled files are not read again."""
        known = {name: entry for files in self._parts.values() for name, entry in files.items()}
        names = sorted(p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file())
        return {n: known.get(n) or _entry(self.path / n) for n in names if n not in (JOURNAL, RECIPE, MANIFEST)}


def publish(folder: Path, name: str, recipe: Recipe, build: Callable[[Stage], None]) -> Product:
    """Atomic publish: the product of a recipe, found where it exists, else built by `build` below `stage.path`.

    Afterwards `current(folder, name)` gives it.

    Raises:
        BusyError: another process is building this name.
        IncompleteError: the product exists but its files are not what its manifest says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{name}-{recipe.fingerprint}"
    with _locked(folder, name):
        if not final.exists():
            _build(folder, name, recipe, final, build)
        product = load(final)
        _point(folder, name, final)
    return product


def current(folder: Path, name: str) -> Product:
    """The product that was last published under `name`.

    Raises:
        IncompleteError: there is none, or it is damaged.
    """
    link = folder / name
    if not link.is_symlink():
        raise IncompleteError(
            Problem(str(link), "nothing published", "a product", f"materialise the asset `{folder.name}` for {name}")
        )
    return load(link.resolve())


def load(path: Path, *, deep: bool = False) -> Product:
    """A published product whose files all have the size (and, if `deep`, the bytes) that its manifest says.

    Raises:
        IncompleteError: no manifest, one of another version, or files missing, added or changed; all are named.
    """
    remedy = f"delete {path} and materialise again"
    if not (path / MANIFEST).is_file():
        raise IncompleteError(Problem(str(path), f"no {MANIFEST}", "a published product", remedy))
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if manifest.get("schema") != SCHEMA:
        problem = f"written by another version of landcover_orch (manifest schema {manifest.get('schema')})"
        fix = f"materialise the asset `{path.parent.name}` again, or give LANDCOVER_HOME a new folder"
        raise IncompleteError(Problem(str(path), problem, f"schema {SCHEMA}", fix))
    problems = [
        Problem(
            str(path / name), "missing or changed", f"{entry['bytes']} bytes, sha256 {entry['sha256'][:12]}", remedy
        )
        for name, entry in manifest["files"].items()
        if not _matches(path / name, entry, deep=deep)
    ]
    if problems:
        raise IncompleteError(*problems)
    return Product(path, manifest["fingerprint"], Recipe(**manifest["recipe"]), manifest["files"])


def _build(folder: Path, name: str, recipe: Recipe, final: Path, build: Callable[[Stage], None]) -> None:
    partial = _partial(folder, name, recipe)
    with measured() as cost:
        build(Stage(partial))
    files = Stage(partial).entries()
    manifest = {
        "schema": SCHEMA,
        "name": name,
        "fingerprint": recipe.fingerprint,
        "recipe": recipe.as_dict(),
        "files": files,
    }
    (partial / JOURNAL).unlink(missing_ok=True)
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (partial / RECIPE).unlink()
    _sync_tree(partial)
    _replace_text(_cost_path(final), canonical(cost.result(partial).as_dict()))
    partial.rename(final)
    _sync(folder)


def _partial(folder: Path, name: str, recipe: Recipe) -> Path:
    """The staging folder: what a killed build of the same recipe left, else empty."""
    partial = folder / f".{name}.partial"
    same = partial / RECIPE
    if partial.exists() and not (same.is_file() and same.read_text(encoding="utf-8") == canonical(recipe)):
        shutil.rmtree(partial)
    partial.mkdir(exist_ok=True)
    _replace_text(same, canonical(recipe))
    return partial


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    path = folder / f".{name}.lock"
    with path.open("a+") as file:
        _acquire(file.fileno(), path)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _acquire(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = path.read_text() or "unknown"
                raise BusyError(
                    Problem(
                        str(path),
                        f"held by process {holder}",
                        "no other build",
                        f"wait for it, or end process {holder}",
                    )
                ) from None
        time.sleep(LOCK_POLL_S)


def _point(folder: Path, name: str, final: Path) -> None:
    link, temporary = folder / name, folder / f".{name}.link"
    if link.is_symlink() and link.readlink() == Path(final.name):
        return
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(final.name)
    temporary.replace(link)
    _sync(folder)


def _read_journal(path: Path) -> dict[str, dict[str, Any]]:
    """Finished parts of an earlier build; a last line that a kill cut short does not count."""
    journal = path / JOURNAL
    if not journal.exists():
        return {}
    lines = journal.read_text(encoding="utf-8").split("\n")
    complete, rest = lines[:-1], lines[-1]
    if rest:
        _replace_text(journal, "".join(f"{line}\n" for line in complete))
    return {entry["part"]: entry["files"] for entry in map(json.loads, complete)}


def _entry(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": file_hash(file)}


def _matches(file: Path, entry: dict[str, Any], *, deep: bool = True) -> bool:
    if not file.is_file() or file.stat().st_size != entry["bytes"]:
        return False
    return not deep or file_hash(file) == entry["sha256"]


def _cost_path(product: Path) -> Path:
    return product.with_name(f".{product.name}.cost.json")


def _replace_text(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _sync_tree(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
