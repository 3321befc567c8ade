"""Fingerprints of files: what their bytes are, remembered so that an unchanged terabyte is not read again."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from landcover_orch.errors import Problem, RasterError

MEMORY = "fingerprints.sqlite"
"""Name of the SQLite file, below LANDCOVER_HOME, that remembers fingerprints."""

CLOCK_GRAIN_NS = 2_000_000_000
"""A file written this shortly before being hashed could change again under the same time stamp."""


def fingerprint(path: Path, memory: Path) -> str:
    """SHA-256 of a file's bytes, as 'sha256:...'; remembered by path, size and time in the SQLite file `memory`.

    An unchanged terabyte is not read again. Files beside it that change what GDAL reads count too: masks and metadata
    of a raster (.msk, .aux.xml, world files; .hdr of a raw one), the parts of a shapefile (.dbf, .shx, .prj, .cpg).

    Raises:
        RasterError: there is no such file.
    """
    if not path.is_file():
        raise RasterError(Problem(str(path), "no such file", "a file", "restore it, or correct the dataset's paths"))
    hashes = [_remembered_hash(part, memory) for part in (path, *_companions(path)) if part.is_file()]
    combined = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    return f"sha256:{combined}"


def combined_fingerprint(paths: Iterable[Path], memory: Path) -> str:
    """Fingerprint of several files in their order; that of the file where there is one alone."""
    parts = [fingerprint(path, memory) for path in paths]
    return parts[0] if len(parts) == 1 else f"sha256:{hashlib.sha256(''.join(parts).encode()).hexdigest()}"


def _companions(path: Path) -> list[Path]:
    if path.suffix.lower() == ".shp":
        return [path.with_suffix(end) for end in (".dbf", ".shx", ".prj", ".cpg")]
    added = [path.with_name(path.name + end) for end in (".msk", ".aux.xml", ".hdr")]
    return [*added, path.with_suffix(".hdr"), *_world_files(path)]


def _world_files(path: Path) -> list[Path]:
    """Where a raster's place may stand beside it: of a .tif in .tfw, .tifw or .wld, in small letters or capitals."""
    end = path.suffix.lower()
    ends = [f"{end[:2]}{end[-1]}w", f"{end}w", ".wld"] if end else []
    return [path.with_suffix(spelt) for end in ends for spelt in (end, end.upper())]


def _remembered_hash(path: Path, memory: Path) -> str:
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    memory.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(memory, timeout=60, isolation_level=None)) as known:
        known.execute("CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INT, mtime INT, sha256 TEXT)")
        row = known.execute("SELECT sha256 FROM files WHERE (path, size, mtime) = (?, ?, ?)", key).fetchone()
        if row:
            return str(row[0])
        value = file_hash(path)
        if time.time_ns() - stat.st_mtime_ns > CLOCK_GRAIN_NS:
            known.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", (*key, value))
    return value


def remembered(what: str, files: Sequence[Path], memory: Path, work: Callable[[], str]) -> str:
    """What `work` gives, remembered in the SQLite file `memory` for as long as the files keep their size and time."""
    stats = [path.stat() for path in files]
    key = repr([what, *((str(p.resolve()), s.st_size, s.st_mtime_ns) for p, s in zip(files, stats, strict=True))])
    memory.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(memory, timeout=60, isolation_level=None)) as known:
        known.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value TEXT)")
        row = known.execute("SELECT value FROM results WHERE key = ?", (key,)).fetchone()
        if row:
            return str(row[0])
        value = work()
        if time.time_ns() - max(s.st_mtime_ns for s in stats) > CLOCK_GRAIN_NS:
            known.execute("INSERT OR REPLACE INTO results VALUES (?, ?)", (key, value))
    return value


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
