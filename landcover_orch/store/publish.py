"""How anything reaches its final name: lock, stage, verify, manifest, rename, point.

A product is a folder `<name>-<fingerprint>/` with its `manifest.json`; the link `<name>` beside it says which product
is current. It is built in `.<name>.partial/` and appears under its name only when it is whole. The fingerprint is that
of the recipe (inputs and configuration), so the same recipe finds the product that is already there.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from landcover_orch.errors import (
    BusyError,
    IncompleteError,
    InputChangedError,
    LandcoverError,
    Problem,
    PublishError,
    TrackingError,
)
from landcover_orch.store import locks
from landcover_orch.store.canonical import canonical, digest
from landcover_orch.store.costs import Cost, measured
from landcover_orch.store.fingerprint import file_hash, status

SCHEMA = 2
"""Of manifests. 2 since build recipes say `asset`; what an earlier version wrote is never read, but built again."""

MANIFEST = "manifest.json"
RECIPE = "recipe.json"
JOURNAL = "journal.jsonl"
LOCK_PATIENCE_S = 30.0


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
        """Path of one of the product's files or stores, whose bytes are held against the manifest's checksums.

        A file is read whole the first time that a process asks for it. Of a store the metadata are: its shards carry
        checksums, which are compared where they are decoded.

        Raises:
            IncompleteError: other bytes than were published; the product is built again by the next materialisation.
        """
        self.verify(name)
        return self.path / name

    def verify(self, name: str) -> None:
        """Raises IncompleteError where a file, or the metadata of a store, has other bytes than were published."""
        store = self.path / name / STORE_METADATA
        names = [name] if name in self.files else [f"{name}/{STORE_METADATA}"] if store.is_file() else []
        damaged = [part for part in names if not _is_verified(self.path / part, self.files[part])]
        if damaged:
            rebuild_mark(self.path).touch()
            raise IncompleteError(*(_damage(self.path, part, self.files[part]) for part in damaged))

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
        path = cost_path(self.path)
        return Cost(**json.loads(path.read_text())) if path.exists() else Cost.unknown()


STORE_METADATA = "zarr.json"

SIDECARS = (".aux.xml", ".qml", ".qmd", "Thumbs.db")
"""Ends of the names of files that programs leave where they only look."""

_verified: set[tuple[str, int, int, int, int]] = set()
"""Files whose bytes this process has held against their checksums, with their status then."""


def _is_verified(path: Path, entry: Mapping[str, Any]) -> bool:
    """Whether a file has the bytes of its manifest's entry; read the first time in a process, and when it changed."""
    try:
        key = (str(path), *status(path))
        if key not in _verified and not (key[2] == entry["bytes"] and file_hash(path) == entry["sha256"]):
            return False
    except OSError:
        return False
    _verified.add(key)
    return True


def _damage(path: Path, name: str, entry: Mapping[str, Any]) -> Problem:
    """The problem of a file of a product that is not what was published."""
    expected = f"{entry['bytes']} bytes, sha256 {entry['sha256'][:12]}"
    fix = f"materialise again: `{path.parent.name}` is built anew"
    return Problem(str(path / name), "missing or changed", expected, fix)


def version_of(built: Product | Mapping[tuple[str, ...], Product]) -> str:
    """Data version of what an asset is: the fingerprint of its product, or one digest of several by their names."""
    if isinstance(built, Product):
        return built.fingerprint
    return digest([(*key, product.fingerprint) for key, product in built.items()])


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


def publish(
    folder: Path,
    name: str,
    recipe: Recipe,
    build: Callable[[Stage], None],
    *,
    present: Callable[[], Recipe] | None = None,
) -> Product:
    """Atomic publish: the product of a recipe, found where it exists whole, else built by `build` below `stage.path`.

    Afterwards `current(folder, name)` gives it. What was damaged, or marked by `request_rebuild`, is built again. An
    error of the library that ends the build is recorded beside the product (see `failure`) until its recipe changes.

    Under `dry_run` nothing is built or written.

    Args:
        folder: of the asset.
        name: of the product.
        recipe: what it is made of.
        build: writes its files.
        present: the recipe of the inputs as they are behind the build, where it reads files that others may replace.

    Raises:
        BusyError: another process is building this name.
        InputChangedError: inputs are others than before the build; nothing is published.
        NotCurrentError: under `dry_run`, where a build would have work to do.
    """
    final = folder / f"{name}-{recipe.fingerprint}"
    if _dry.get():
        return _examine(folder, name, recipe, final)
    folder.mkdir(parents=True, exist_ok=True)
    with disk_full_told(folder), locked(folder, name):
        _end_swap(final)
        if not _is_whole(final):
            with failure_recorded(folder, name, recipe):
                _build(folder, name, recipe, final, partial(_write_unchanged, folder, name, recipe, build, present))
        product = load(final)
        _point(folder, name, final)
        if (partial_path(folder, name) / MANIFEST).is_file():  # what it replaced, where a kill came before its removal
            shutil.rmtree(partial_path(folder, name))
    return product


@contextmanager
def disk_full_told(folder: Path) -> Iterator[None]:
    """Raises PublishError where what it holds ended for want of disk space, whatever a library made of that.

    What a build had finished stays; the next one goes on from there.
    """
    try:
        yield
    except LandcoverError:
        raise
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full and shutil.disk_usage(folder).free > FULL_BYTES:
            raise
        fix = "free some, and materialise again: it goes on where it was"
        problem = Problem(str(folder), f"no space left on its disk ({error})", "space for what is built", fix)
        raise PublishError(problem) from error


FULL_BYTES = 2**20
"""Free bytes up to which a disk counts as full: GDAL, SQLite and zarr each say it in their own words."""


def _write_unchanged(
    folder: Path,
    name: str,
    recipe: Recipe,
    build: Callable[[Stage], None],
    present: Callable[[], Recipe] | None,
    stage: Stage,
) -> None:
    """Builds, and raises InputChangedError where the inputs are others behind it."""
    build(stage)
    present_recipe = present() if present else recipe
    if present_recipe.fingerprint != recipe.fingerprint:
        difference = f"replaced while it was read: {changes(recipe, present_recipe)}"
        fix = "materialise it again, once the files are copied"
        raise InputChangedError(Problem(f"{folder.name} {name}", difference, "inputs that stay as they are", fix))


_dry: ContextVar[bool] = ContextVar("dry_run", default=False)


class NotCurrentError(PublishError):
    """What a build would publish is not what is current: raised under `dry_run`, with the reason in words."""

    def __init__(self, folder: Path, name: str, recipe: Recipe, state: State, reason: str) -> None:
        super().__init__(Problem(f"{folder.name} {name}", reason, "a current product", "materialise it"))
        self.folder, self.name, self.recipe, self.state, self.reason = folder, name, recipe, state, reason


State = Literal["missing", "stale", "damaged", "requested"]
"""Why a product is built: it is not there; of another recipe; not what its manifest says; asked for by a person."""


@contextmanager
def dry_run() -> Iterator[None]:
    """Dry run: builds below it publish nothing, and raise NotCurrentError at the first product they would build."""
    token = _dry.set(True)
    try:
        yield
    finally:
        _dry.reset(token)


def _examine(folder: Path, name: str, recipe: Recipe, final: Path) -> Product:
    """The product of a recipe where it is whole and current.

    Raises:
        NotCurrentError: it is not.
    """

    def not_current(state: State, reason: str) -> NotCurrentError:
        return NotCurrentError(folder, name, recipe, state, reason)

    link = folder / name
    former = _manifest_recipe(link.resolve()) if link.is_symlink() else None
    if former is not None and former.fingerprint != recipe.fingerprint:
        raise not_current("stale", changes(former, recipe))
    try:
        product = load(final)
    except IncompleteError as error:
        if not final.exists():
            raise not_current("missing", "its files are gone" if link.is_symlink() else "nothing published") from error
        raise not_current("damaged", "; ".join(f"{p.where}: {p.found}" for p in error.problems[:3])) from error
    if rebuild_mark(final).exists():
        raise not_current("requested", "a rebuild was asked for")
    if former is None:
        raise not_current("missing", "no link to its product")
    return product


def _manifest_recipe(path: Path) -> Recipe | None:
    try:
        return Recipe(**json.loads((path / MANIFEST).read_text(encoding="utf-8"))["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def changes(former: Recipe, recipe: Recipe) -> str:
    """Difference of two recipes in words: which inputs and settings are added, gone or changed, and the version."""
    before, after = former.as_dict(), recipe.as_dict()
    words = [f"code version {before['version']} -> {after['version']}"] if before["version"] != after["version"] else []
    for part, label in (("inputs", ""), ("configuration", "setting ")):
        old, new = _flat(before[part]), _flat(after[part])
        for text, names in (
            ("changed", sorted(key for key in old.keys() & new.keys() if old[key] != new[key])),
            ("new", sorted(new.keys() - old.keys())),
            ("gone", sorted(old.keys() - new.keys())),
        ):
            if names:
                more = f" and {len(names) - CHANGES_SHOWN} more" if len(names) > CHANGES_SHOWN else ""
                words.append(f"{label}{', '.join(names[:CHANGES_SHOWN])}{more} {text}")
    return "; ".join(words) or "made of the same, under another name"


CHANGES_SHOWN = 4
"""Names of inputs or settings that a reason lists."""


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted names, one level below the first."""
    return {
        f"{key}.{inner}" if inner else key: entry
        for key, value in values.items()
        for inner, entry in (value.items() if isinstance(value, dict) and value else [("", value)])
    }


def request_rebuild(folder: Path, name: str) -> bool:
    """Marks the current product of a name to be built again although it is current; False where there is none.

    It stays current until the new build takes its place. A recorded failure of the name is forgotten.
    """
    failure_path(folder, name).unlink(missing_ok=True)
    link = folder / name
    if not link.is_symlink() or not link.exists():
        return False
    rebuild_mark(link.resolve()).touch()
    return True


def _end_swap(final: Path) -> None:
    """Ends a swap that a kill cut short: the old product comes back where the new one is not there yet."""
    if replaced_path(final).exists() and not final.exists():
        replaced_path(final).rename(final)
    shutil.rmtree(replaced_path(final), ignore_errors=True)


def replaced_path(final: Path) -> Path:
    """Where a product lies while another takes its place."""
    return final.with_name(f".{final.name}.replaced")


def rebuild_mark(final: Path) -> Path:
    """The file that asks for a product to be built again."""
    return final.with_name(f".{final.name}.rebuild")


def _is_whole(final: Path) -> bool:
    """Whether a product can be used as it lies there, and nobody asked for it to be built again."""
    try:
        load(final)
    except IncompleteError:
        return False
    return not rebuild_mark(final).exists()


@dataclass(frozen=True)
class Failure:
    """A build that ended with an error about its inputs: the fingerprint of its recipe, and the problems."""

    fingerprint: str
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems))


def failure_path(folder: Path, name: str) -> Path:
    """Where the failure of a name's last build is recorded."""
    return folder / f".{name}.failed.json"


def failure(folder: Path, name: str) -> Failure | None:
    """The failure of a name's last build; None where it went well, or the record is damaged."""
    try:
        record = json.loads(failure_path(folder, name).read_text(encoding="utf-8"))
        return Failure(record["fingerprint"], tuple(Problem(**problem) for problem in record["problems"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def failure_recorded(folder: Path, name: str, recipe: Recipe) -> Iterator[None]:
    """Records an error about inputs, so that nobody tries the same again by itself; trouble around it is none."""
    path = failure_path(folder, name)
    try:
        yield
    except (PublishError, TrackingError):
        raise
    except LandcoverError as error:
        record = {"fingerprint": recipe.fingerprint, "problems": [vars(problem) for problem in error.problems]}
        _replace_text(path, json.dumps(record, indent=1))
        raise
    path.unlink(missing_ok=True)


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
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise IncompleteError(Problem(str(path / MANIFEST), "no JSON of keys and values", "a manifest", remedy))
    if manifest.get("schema") != SCHEMA:
        problem = f"written by another version of landcover_orch (manifest schema {manifest.get('schema')})"
        fix = f"materialise the asset `{path.parent.name}` again, or give LANDCOVER_HOME a new folder"
        raise IncompleteError(Problem(str(path), problem, f"schema {SCHEMA}", fix))
    recipe = _manifest_recipe(path)
    if recipe is None or not _is_described(manifest):
        raise IncompleteError(Problem(str(path / MANIFEST), "keys are missing", "a manifest", remedy))
    if not recipe.fingerprint == manifest["fingerprint"] == path.name[-len(recipe.fingerprint) :]:
        mismatch = f"fingerprint {manifest['fingerprint']} of a recipe of {recipe.fingerprint}"
        raise IncompleteError(Problem(str(path / MANIFEST), mismatch, "those of its folder's name", remedy))
    problems = [
        _damage(path, name, entry)
        for name, entry in manifest["files"].items()
        if not _matches(path / name, entry, deep=deep)
    ]
    problems += [
        Problem(str(path / name), "a file that was not published", "the files of its manifest", f"delete {path / name}")
        for name in _unpublished(path, manifest["files"], deep=deep)
    ]
    if problems:
        raise IncompleteError(*problems)
    return Product(path, manifest["fingerprint"], recipe, manifest["files"])


def _is_described(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest says what its product is, and of each file its size and checksum."""
    files = manifest.get("files")
    return (
        isinstance(manifest.get("fingerprint"), str)
        and isinstance(files, dict)
        and all(
            isinstance(entry, dict) and isinstance(entry.get("bytes"), int) and isinstance(entry.get("sha256"), str)
            for entry in files.values()
        )
    )


def _unpublished(path: Path, files: Mapping[str, Any], *, deep: bool) -> list[str]:
    """Names in a product's folder that its manifest does not know; within stores only a deep check asks.

    What programs that only look leave beside a file, as QGIS its statistics and styles, is no part of the product.
    """
    known = {MANIFEST, *files, *(name.partition("/")[0] for name in files)}
    entries = (entry for entry in path.rglob("*") if entry.is_file()) if deep else path.iterdir()
    names = (entry.relative_to(path).as_posix() for entry in entries)
    others = (name for name in names if name not in known and not name.endswith(SIDECARS))
    return sorted(name for name in others if not any(part.startswith(".") for part in name.split("/")))


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
    _replace_text(cost_path(final), canonical(cost.result(partial).as_dict()))
    _swap(partial, final)
    _sync(folder)


def _swap(partial: Path, final: Path) -> None:
    """Renames the staging folder to its final name; what lay there, damaged or to be replaced, gives way to it.

    Both change places at once where the file system can do that; elsewhere nothing is current for a moment, which the
    next build mends.
    """
    if final.exists() and exchange(partial, final):
        shutil.rmtree(partial)
    elif final.exists():
        final.rename(replaced_path(final))
        partial.rename(final)
        shutil.rmtree(replaced_path(final))
    else:
        partial.rename(final)
    rebuild_mark(final).unlink(missing_ok=True)


def exchange(path: Path, other: Path) -> bool:
    """Atomic exchange of two folders (Linux: renameat2 with RENAME_EXCHANGE); False where it cannot be done."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    done = libc.renameat2(AT_FDCWD, os.fsencode(path), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    return bool(done == 0)


AT_FDCWD, RENAME_EXCHANGE = -100, 2


def partial_path(folder: Path, name: str) -> Path:
    """The staging folder of a name."""
    return folder / f".{name}.partial"


def _partial(folder: Path, name: str, recipe: Recipe) -> Path:
    """The staging folder: what a killed build of the same recipe left, else empty."""
    partial = partial_path(folder, name)
    same = partial / RECIPE
    if partial.exists() and not (same.is_file() and same.read_text(encoding="utf-8") == canonical(recipe)):
        shutil.rmtree(partial)
    partial.mkdir(exist_ok=True)
    _replace_text(same, canonical(recipe))
    return partial


@contextmanager
def locked(folder: Path, name: str, patience_s: float | None = None) -> Iterator[None]:
    """Exclusive lock of a name: one build of it, or one removal, at a time.

    Raises:
        BusyError: another process holds it for longer than the patience (default: `LOCK_PATIENCE_S`).
    """
    path = folder / f".{name}.lock"
    with ExitStack() as stack:
        try:
            file = stack.enter_context(locks.locked(path, LOCK_PATIENCE_S if patience_s is None else patience_s))
        except TimeoutError as error:
            holder = str(error) or "unknown"
            fix = f"wait for it, or end process {holder}"
            raise BusyError(Problem(str(path), f"held by process {holder}", "no other build", fix)) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _point(folder: Path, name: str, final: Path) -> None:
    link, temporary = folder / name, folder / f".{name}.link"
    if link.is_symlink() and link.readlink() == Path(final.name):
        return
    if link.is_dir() and not link.is_symlink():
        _remove_copy(link)
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(final.name)
    temporary.replace(link)
    _sync(folder)


def _remove_copy(link: Path) -> None:
    """Removes the copy of a product that stands where its link should, as a backup that follows links leaves it.

    Raises:
        PublishError: it is no product.
    """
    if not (link / MANIFEST).is_file():
        raise PublishError(Problem(str(link), "a folder", "a link to a product", "move the folder away"))
    shutil.rmtree(link)


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


def cost_path(product: Path) -> Path:
    """The file beside a product that says what building it took."""
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
