"""Fingerprints of files: what is read of them, remembered so that an unchanged terabyte is not read again."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from landcover_orch.errors import Problem, PublishError, RasterError

MEMORY = "fingerprints.sqlite"
"""Name of the SQLite file, below LANDCOVER_HOME, that remembers fingerprints."""

CLOCK_GRAIN_NS = 2_000_000_000
"""A file written this shortly before being hashed could change again under the same time stamp."""


def fingerprint(path: Path, memory: Path) -> str:
    """SHA-256 of a file's bytes, as 'sha256:...'; remembered by its status (see `status`) in the SQLite file `memory`.

    An unchanged terabyte is not read again. Files beside it that change what GDAL reads count too: masks and metadata
    of a raster (.msk, .aux.xml, world files; .hdr of a raw one), the parts of a shapefile (.dbf, .shx, .prj, .cpg).

    Raises:
        RasterError: there is no such file.
    """
    if not path.is_file():
        raise RasterError(Problem(str(path), "no such file", "a file", "restore it, or correct the dataset's paths"))
    parts = [part for part in (path, *companions(path)) if part.is_file()]
    return combined(remembered_hash(part, memory) for part in parts)


def combined(parts: Iterable[str]) -> str:
    """Fingerprint of several, in their order; that of the one where there is one alone."""
    hashes = [part.removeprefix("sha256:") for part in parts]
    return f"sha256:{hashes[0] if len(hashes) == 1 else hashlib.sha256(''.join(hashes).encode()).hexdigest()}"


def companions(path: Path) -> list[Path]:
    """Files that may lie beside a file and change what is read of it."""
    if path.suffix.lower() == ".shp":
        return [path.with_suffix(end) for end in (".dbf", ".shx", ".prj", ".cpg")]
    return [*pixel_files(path), *metadata_files(path)]


def pixel_files(path: Path) -> list[Path]:
    """Where pixels of a raster, or what lays them out, may lie beside it: its mask, the header of a raw file."""
    return [path.with_name(f"{path.name}.msk"), path.with_suffix(".hdr"), path.with_name(f"{path.name}.hdr")]


def metadata_files(path: Path) -> list[Path]:
    """Where metadata of a raster may lie beside it: place, nodata, bands, and the statistics that QGIS writes."""
    return [path.with_name(f"{path.name}.aux.xml"), *_world_files(path)]


def _world_files(path: Path) -> list[Path]:
    """Where a raster's place may stand beside it: of a .tif in .tfw, .tifw or .wld, in small letters or capitals."""
    end = path.suffix.lower()
    ends = [f"{end[:2]}{end[-1]}w", f"{end}w", ".wld"] if end else []
    return [path.with_suffix(spelt) for end in ends for spelt in (end, end.upper())]


def remembered_hash(path: Path, memory: Path) -> str:
    """SHA-256 of a file's bytes, remembered."""
    return remembered("bytes", (path,), memory, lambda: file_hash(path))


def remembered(what: str, files: Sequence[Path], memory: Path, work: Callable[[], str]) -> str:
    """What `work` gives, remembered in the SQLite file `memory` for as long as the files keep their status.

    Of each subject only the last result stays. What changed within `CLOCK_GRAIN_NS` is not remembered, nor what
    changed while it was worked out.

    Raises:
        PublishError: the memory is damaged.
    """
    subject = repr([what, *(str(path.resolve()) for path in files)])
    before = repr([status(path) for path in files])
    with digests(memory) as known:
        query = "SELECT value FROM digests WHERE (subject, status) = (?, ?)"
        row = known.execute(query, (subject, before)).fetchone()
    if row:
        return str(row[0])
    value = work()
    recent = time.time_ns() - max(status(path)[2] for path in files) <= CLOCK_GRAIN_NS
    if not recent and before == repr([status(path) for path in files]):
        with digests(memory) as known:
            known.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", (subject, before, value))
    return value


@contextmanager
def digests(memory: Path) -> Iterator[sqlite3.Connection]:
    """The memory of digests, open.

    Raises:
        PublishError: it is damaged.
    """
    memory.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(memory, timeout=60, isolation_level=None)) as known:
            known.execute("CREATE TABLE IF NOT EXISTS digests (subject TEXT PRIMARY KEY, status TEXT, value TEXT)")
            yield known
    except sqlite3.DatabaseError as error:
        fix = "delete it: it is made anew, and every file is read once more"
        raise PublishError(Problem(str(memory), f"damaged ({error})", "the memory of fingerprints", fix)) from error


def status(path: Path) -> tuple[int, int, int, int]:
    """Inode, size, and times of the last change of content and of status in ns: `cp -p` keeps the first of them."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
