"""Backup and restore of a home: a tar file of consistent databases, decisions, configurations and products."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from landcover_orch.errors import Problem, PublishError
from landcover_orch.store.databases import BACKUPS, COMPANIONS, connected, copy, databases
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.store.publish import MANIFEST

FORMAT = 1
HOME, CONFIGS, DAGSTER, LAST = "home", "configs", "dagster", "backup.json"
"""Names in the tar file; `backup.json` is its last member, so that a file that was cut is known."""

FORMER = ".former"
"""Name beside them of an unused home while it is replaced."""

TEMPORARY = (".partial", ".replaced", ".removed", ".lock", ".new", ".link")
LEFT_OUT = ("workspace.yaml", f"{DAGSTER}/.logs_queue", BACKUPS)
"""Of running servers, and earlier copies of databases: not backed up."""

ARTIFACTS = "mlartifacts"
DAY_S = 86400


@dataclass(frozen=True)
class Backup:
    """A backup that was written: its file, how many files it holds, their bytes, links that leave the home."""

    path: Path
    files: int
    bytes: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Restored:
    """What was restored: how many files of the home, and own configurations that differ from the backup's."""

    files: int
    configs: tuple[str, ...]
    differing: tuple[str, ...]


def back_up(target: Path, home: Path, dagster: Path, configs: Path, *, databases_only: bool = False) -> Backup:
    """Writes a backup; servers and builds may go on.

    Databases are copied by SQLite's online backup, then what they name. Links are read before what they point to:
    a product that is published meanwhile is in the next backup.

    Args:
        target: the file, or a folder that gets a dated one.
        home: folder everything is written below.
        dagster: folder of Dagster's instance, which may lie elsewhere.
        configs: a person's own configurations.
        databases_only: without products and MLflow's files.

    Raises:
        PublishError: the file is there already or lies in the home, there is no home, or a database is damaged.
    """
    path = target / f"landcover-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar" if target.is_dir() else target
    if not home.is_dir():
        raise PublishError(Problem(str(home), "no such folder", "a home to back up", "set LANDCOVER_HOME"))
    require_outside(path, home)
    if not path.parent.is_dir():
        fix = f"mkdir -p {shlex.quote(str(path.parent))}, or name another file"
        raise PublishError(Problem(str(path.parent), "no such folder", "one for the backup", fix))
    if path.exists():
        raise PublishError(Problem(str(path), "a file", "a name that is free", "name another one"))
    members = {**(_state(home) if databases_only else _everything(home)), **_settings(dagster)}
    left_out = tuple(name for name, path in members.items() if _leaves(path, home))
    members = {name: path for name, path in members.items() if name not in left_out}
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.touch(mode=0o600)  # it may hold secrets of the home
        with partial.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                total = sum(_write(tar, members, home, dagster, configs))
                files = len(tar.getmembers())
                content = {"format": FORMAT, "files": files, "databases_only": databases_only}
                _add_bytes(tar, LAST, json.dumps(content).encode())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        fix = "choose a folder that can be written and has space for the home (`du -sh`)"
        raise PublishError(Problem(str(path), str(error.strerror or error).lower(), "a backup", fix)) from error
    finally:
        partial.unlink(missing_ok=True)
    return Backup(path, files, total, left_out)


def require_outside(target: Path, home: Path) -> None:
    """Raises PublishError where backups would lie in what they back up: they would go with it, and into each other."""
    if target.resolve().is_relative_to(home.resolve()):
        fix = f"name a folder beside it, or better on another disk, as {home.with_name(f'{home.name}-backups')}"
        raise PublishError(Problem(str(target), f"a place in the home {home}", "a place outside of it", fix))


def _write(
    tar: tarfile.TarFile, members: Mapping[str, Path], home: Path, dagster: Path, configs: Path
) -> Iterator[int]:
    """Adds everything to a tar file; gives the bytes of each part."""
    with tempfile.TemporaryDirectory(prefix=".landcover-", dir=Path(str(tar.name)).parent) as scratch:
        for number, database in enumerate(databases(home, dagster)):
            snapshot = Path(scratch) / str(number)
            copy(database.path, snapshot)
            yield _add(tar, snapshot, f"{HOME}/{database.name}")
            snapshot.unlink()
    for name, path in members.items():
        if path.is_symlink():
            link = tarfile.TarInfo(f"{HOME}/{name}")
            link.type, link.linkname, link.mtime = tarfile.SYMTYPE, str(path.readlink()), int(time.time())
            tar.addfile(link)
    for name, path in members.items():
        if not path.is_symlink():
            yield _add(tar, path, f"{HOME}/{name}")
    for path in _own_files(configs):
        yield _add(tar, path, f"{CONFIGS}/{path.relative_to(configs).as_posix()}")


def _own_files(configs: Path) -> list[Path]:
    """Configurations below a folder, and the custom code that lies among them."""
    return sorted([*configs.glob("*/*.yaml"), *(configs / "code").rglob("*.py")])


def _everything(home: Path) -> dict[str, Path]:
    """Files and links of a home by name; without databases and what is temporary."""
    skipped = {home / name for name in LEFT_OUT} | {*home.glob("*-before-*.db")}
    skipped |= {database.path for database in databases(home, home / DAGSTER)}
    return {path.relative_to(home).as_posix(): path for path in _walk(home, skipped)}


def _walk(folder: Path, skipped: Collection[Path]) -> Iterator[Path]:
    """What lies below a folder and is backed up; links are not followed."""
    for entry in sorted(folder.iterdir()):
        temporary = entry.name[0] == "." and entry.name.endswith(TEMPORARY)
        if entry in skipped or temporary or entry.name.endswith(COMPANIONS):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry, skipped)
        elif entry.is_symlink() or entry.is_file():
            yield entry


def _leaves(path: Path, home: Path) -> bool:
    """Whether a path is a link to somewhere outside the home, which a restore refuses."""
    return path.is_symlink() and (path.readlink().is_absolute() or not path.resolve().is_relative_to(home.resolve()))


def _state(home: Path) -> dict[str, Path]:
    """What is a person's decision or the planner's memory: files beside the products of a dataset, not of them."""
    files = [path for pattern in ("*/*.json", "*/*/*.json", "*/*/*.jsonl") for path in home.glob(pattern)]
    state = [path for path in files if path.is_file() and not (path.parent / MANIFEST).exists()]
    return {
        name: path
        for path in state
        if not (name := path.relative_to(home).as_posix()).startswith((ARTIFACTS, DAGSTER)) and path.name[0] != "."
    }


def _settings(dagster: Path) -> dict[str, Path]:
    """Settings of Dagster's instance."""
    path = dagster / "dagster.yaml"
    return {f"{DAGSTER}/{path.name}": path} if path.is_file() else {}


def _add(tar: tarfile.TarFile, path: Path, name: str) -> int:
    """Adds a file; one that was removed since it was listed is left out. Gives its bytes."""
    try:
        with path.open("rb") as file:
            info = tar.gettarinfo(arcname=name, fileobj=file)
            info.type = tarfile.REGTYPE  # of a file with two names, too
            info.size = os.fstat(file.fileno()).st_size
            tar.addfile(info, file)
            return info.size
    except FileNotFoundError:
        return 0


def remove_older(folder: Path, keep: int) -> list[Path]:
    """Removes the dated backups of a folder but for the newest, and what killed ones left; gives those that went."""
    older = dated(folder)[:-keep]
    yesterday = time.time() - DAY_S
    older += [path for path in sorted(folder.glob(".landcover-*")) if path.stat().st_mtime < yesterday]
    for path in older:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return older


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(content), int(time.time())
    tar.addfile(info, io.BytesIO(content))


def restore(source: Path, home: Path, configs: Path) -> Restored:
    """Restores a backup into an empty home, which appears whole; own configurations that are not there are added.

    A home that holds only what commands make that look at a dataset counts as empty, and is replaced.

    Raises:
        PublishError: the home is not empty, or the file is no whole backup; nothing was changed.
    """
    require_file(source)
    if home.exists() and (not home.is_dir() or not is_unused(home)):
        fix = "point LANDCOVER_HOME at a new folder, or move this one away"
        raise PublishError(Problem(str(home), "it is not empty", "an empty home to restore into", fix))
    if home.is_mount():
        fix = "point LANDCOVER_HOME at a folder below it: the restored home is renamed into place"
        raise PublishError(Problem(str(home), "a mount point", "a folder", fix))
    home.parent.mkdir(parents=True, exist_ok=True)
    staged = home.with_name(f".{home.name}.restored")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        files = _extract(source, staged)
        written, differing = _restore_configs(staged / CONFIGS, configs)
        (staged / HOME).mkdir(exist_ok=True)
        if home.exists():
            home.replace(staged / FORMER)
        (staged / HOME).replace(home)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Restored(files, written, differing)


def is_unused(home: Path) -> bool:
    """Whether a home is empty, or holds only what `landcover status` makes: databases of Dagster that know no run."""
    names = {path.name for path in home.iterdir()}
    if names - {DAGSTER, *(f"{MEMORY}{ending}" for ending in ("", *COMPANIONS))}:
        return False
    if DAGSTER not in names:
        return True
    try:
        with connected(home / DAGSTER / "history" / "runs.db") as runs:
            return runs.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is None
    except sqlite3.Error:
        return False


def require_file(source: Path) -> None:
    """Raises PublishError where a backup is no file, with the newest one that lies there or in its folder."""
    if source.is_file():
        return
    folder = source if source.is_dir() else source.parent
    backups = dated(folder)
    fix = f"landcover restore {shlex.quote(str(backups[-1]))}" if backups else "name the .tar file of a backup"
    actual = "a folder" if source.is_dir() else "no such file"
    raise PublishError(Problem(str(source), actual, "a backup that `landcover backup` wrote", fix))


def dated(folder: Path) -> list[Path]:
    """The dated backups of a folder, the oldest first."""
    return sorted(folder.glob("landcover-[0-9]*T[0-9]*Z.tar"))


def _extract(source: Path, staged: Path) -> int:
    """Extracts a tar file: nothing outside the folder, no links that leave it; gives the number of its files."""
    expected, fix = "a backup that `landcover backup` wrote", "take another one; this one is damaged, or none"
    try:
        with tarfile.open(source) as tar:
            tar.extractall(staged, filter="data")
        content = json.loads((staged / LAST).read_text(encoding="utf-8"))
        count = sum(path.is_symlink() or path.is_file() for path in staged.rglob("*")) - 1
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        text = "its end is missing" if isinstance(error, FileNotFoundError) and source.is_file() else str(error)
        raise PublishError(Problem(str(source), text, expected, fix)) from error
    if content.get("format") != FORMAT or content.get("files") != count:
        text = f"format {content.get('format')} with {count} of {content.get('files')} files"
        raise PublishError(Problem(str(source), text, expected, fix))
    return count


def _restore_configs(source: Path, configs: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Copies configurations that are not there; gives those, and the ones that are there with another content."""
    written, differing = [], []
    for path in _own_files(source):
        name = path.relative_to(source).as_posix()
        target = configs / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.partial")
            shutil.copyfile(path, partial)
            partial.replace(target)
            written.append(name)
        elif target.read_bytes() != path.read_bytes():
            differing.append(name)
    return tuple(written), tuple(differing)
