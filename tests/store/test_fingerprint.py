"""Fingerprints follow bytes, and an unchanged file is not read again."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

import pytest

from landcover_orch.errors import PublishError, RasterError
from landcover_orch.store import fingerprint as module
from landcover_orch.store.fingerprint import fingerprint, remembered

LONG_AGO = 1_600_000_000_000_000_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tile.tif"
    path.write_bytes(b"pixels")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    real = module.file_hash
    monkeypatch.setattr(module, "file_hash", lambda path: seen.append(path.name) or real(path))
    return seen


def test_it_is_the_sha256_of_the_bytes(file: Path, tmp_path: Path) -> None:
    assert fingerprint(file, tmp_path / "m.db") == f"sha256:{hashlib.sha256(b'pixels').hexdigest()}"


def test_an_unchanged_file_is_read_once(file: Path, tmp_path: Path, reads: list[str]) -> None:
    assert len({fingerprint(file, tmp_path / "m.db") for _ in range(3)}) == 1
    assert reads == ["tile.tif"]


def test_a_changed_file_is_read_again(file: Path, tmp_path: Path, reads: list[str]) -> None:
    first = fingerprint(file, tmp_path / "m.db")
    file.write_bytes(b"PIXELS")
    os.utime(file, ns=(LONG_AGO, LONG_AGO + 10**9))
    assert fingerprint(file, tmp_path / "m.db") != first
    assert len(reads) == 2


def test_a_file_that_was_just_written_is_not_trusted(tmp_path: Path, reads: list[str]) -> None:
    """It could change again under the same time stamp."""
    path = tmp_path / "new.tif"
    path.write_bytes(b"a")
    fingerprint(path, tmp_path / "m.db")
    fingerprint(path, tmp_path / "m.db")
    assert len(reads) == 2


@pytest.mark.parametrize("sidecar", ["tile.tif.msk", "tile.tif.aux.xml", "tile.tfw", "tile.TFW", "tile.wld"])
def test_sidecars_count(file: Path, tmp_path: Path, sidecar: str) -> None:
    alone = fingerprint(file, tmp_path / "m.db")
    (tmp_path / sidecar).write_bytes(b"more")
    assert fingerprint(file, tmp_path / "m.db") != alone


@pytest.mark.parametrize("sidecar", ["town.dbf", "town.shx", "town.prj", "town.cpg"])
def test_the_parts_of_a_shapefile_count(tmp_path: Path, sidecar: str) -> None:
    """A shapefile's codes stand in its .dbf."""
    (tmp_path / "town.shp").write_bytes(b"shapes")
    alone = fingerprint(tmp_path / "town.shp", tmp_path / "m.db")
    (tmp_path / sidecar).write_bytes(b"more")
    assert fingerprint(tmp_path / "town.shp", tmp_path / "m.db") != alone


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match="no such file"):
        fingerprint(tmp_path / "none.tif", tmp_path / "m.db")
    (tmp_path / "none.tfw").write_bytes(b"a sidecar alone is no raster")
    with pytest.raises(RasterError, match="no such file"):
        fingerprint(tmp_path / "none.tif", tmp_path / "m.db")


def test_a_damaged_memory_is_named_and_the_fix_works(file: Path, tmp_path: Path) -> None:
    memory = tmp_path / "m.db"
    before = fingerprint(file, memory)
    memory.write_bytes(b"SQLite format 3\0" + bytes(5000))
    with pytest.raises(PublishError, match=r"m\.db: damaged .* Fix: delete it"):
        fingerprint(file, memory)
    memory.unlink()
    assert fingerprint(file, memory) == before


def test_an_error_of_the_work_is_no_fault_of_the_memory(file: Path, tmp_path: Path) -> None:
    def fails() -> str:
        raise sqlite3.DatabaseError("malformed")

    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        remembered("features", (file,), tmp_path / "m.db", fails)
