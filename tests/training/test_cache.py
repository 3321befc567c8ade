"""Patches kept in memory or in a mapped file are those of the stores, or there is an error that says what to do."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landcover_orch.errors import TrainingError
from landcover_orch.training import cache
from landcover_orch.training.cache import open_source
from landcover_orch.training.product import recipe
from tests.training.classroom import NAME, experiment, in_memory, manifest, patches


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_cache_gives_the_same_batches(tmp_path: Path, dtype: str) -> None:
    source = patches(70, dtype=dtype)
    caches = cache.in_memory(source, "here"), cache.on_disk(source, tmp_path, "train", "d", "here")
    for indices in np.random.default_rng(0).integers(0, 70, (9, 16)):
        image, label = source.take(indices)
        for resident in caches:
            assert len(resident) == 70
            for part, expected in zip(resident.take(indices), (image, label), strict=True):
                np.testing.assert_array_equal(part, expected)
                assert (part.dtype, type(part)) == (expected.dtype, np.ndarray)
    np.testing.assert_array_equal(caches[0].class_count(), source.class_count())
    np.testing.assert_array_equal(caches[1].class_count(), source.class_count())


@pytest.mark.parametrize("asked", ["none", "disk", "memory"])
def test_the_experiment_says_which(tmp_path: Path, asked: str) -> None:
    with in_memory():
        plain, source = (open_source(manifest(), tmp_path, "train", experiment(cache=mode)) for mode in ("none", asked))
    assert isinstance(source, cache.Resident) == (asked != "none")
    assert (tmp_path / NAME / "cache" / "train").exists() == (asked == "disk")
    for part, expected in zip(source.take(np.arange(9)), plain.take(np.arange(9)), strict=True):
        np.testing.assert_array_equal(part, expected)


def test_a_model_is_the_same_whatever_the_cache(tmp_path: Path) -> None:
    assert len({str(recipe(manifest(), experiment(cache=mode), tmp_path)) for mode in ("none", "disk", "memory")}) == 1


def test_a_cache_is_written_once_and_an_old_one_removed(tmp_path: Path) -> None:
    first, second = patches(5, seed=1), patches(6, seed=2)
    old = cache.on_disk(first, tmp_path, "train", "a", "here")
    other = cache.on_disk(first, tmp_path, "validation", "a", "here")
    again = cache.on_disk(second, tmp_path, "train", "a", "here")
    np.testing.assert_array_equal(again.take(np.arange(5))[0], first.image)
    new = cache.on_disk(second, tmp_path, "train", "b", "here")
    np.testing.assert_array_equal(new.take(np.arange(6))[0], second.image)
    assert len([path for path in tmp_path.glob("train-*") if path.is_dir()]) == 1
    for left in (old, other):  # who still maps what was removed reads on
        np.testing.assert_array_equal(left.take(np.arange(5))[1], first.label)


class Broken:
    """Patches whose second half cannot be read."""

    def __init__(self) -> None:
        self._whole = patches(64)

    def __len__(self) -> int:
        return 64

    def take(self, indices: Any) -> Any:
        """Images and labels of the first half."""
        if (indices >= 32).any():
            raise OSError("the disk is gone")
        return self._whole.take(indices)

    def class_count(self) -> Any:
        """Never asked for."""


def test_half_a_cache_is_none(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        cache.on_disk(Broken(), tmp_path, "train", "a", "here")
    assert not list(tmp_path.glob("train*"))
    all_patches = patches(64)
    np.testing.assert_array_equal(
        cache.on_disk(all_patches, tmp_path, "train", "a", "here").take(np.arange(64))[0], all_patches.image
    )


def test_two_trainings_at_once_write_one_cache(tmp_path: Path) -> None:
    def labels(_: int) -> int:
        return int(cache.on_disk(patches(200), tmp_path, "train", "a", "here").take(np.arange(200))[1].sum())

    with ThreadPoolExecutor(2) as pool:  # each opens the lock for itself, as processes do
        assert list(pool.map(labels, range(2))) == [int(patches(200).label.sum())] * 2
    assert len([path for path in tmp_path.glob("train-*") if path.is_dir()]) == 1


def test_what_does_not_fit_is_refused_with_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = patches(10)
    monkeypatch.setattr(cache, "free_memory", lambda: 3 * 2**30)
    cache.in_memory(source, "here")
    monkeypatch.setattr(cache, "free_memory", lambda: 2**31 + 100)
    with pytest.raises(TrainingError, match=r"10 patches of 0\.0 GiB.*set `cache: disk`"):
        cache.in_memory(source, "x.yaml")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 99}))
    with pytest.raises(TrainingError, match=r"x\.yaml: cache: 10 patches .*set `cache: none`"):
        cache.on_disk(source, tmp_path, "train", "a", "x.yaml")


def test_a_container_has_less_memory_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "CGROUP", tmp_path)
    machine = cache.free_memory()
    for name, text in (("max", "5000"), ("current", "4000"), ("stat", "anon 3000\nfile 700\n")):
        (tmp_path / f"memory.{name}").write_text(f"{text}\n")
    assert cache.free_memory() == 1700 < machine
    (tmp_path / "memory.max").write_text("max\n")
    assert cache.free_memory() > 1700
