"""Workflows of the kind `file`: bits turn over and disks run full, and no product is read as something else."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from landcover_orch import raster
from landcover_orch.errors import IncompleteError
from landcover_orch.store.publish import rebuild_mark
from tests.cases import lineage
from tests.cases.case import MAKE, Case, case_names, overwrite
from tests.cases.compare import CaseRun
from tests.cases.lineage import LAST
from tests.cases.runner import PROJECT, Runner
from tests.cases.test_workflows import current, materialised

pytestmark = pytest.mark.skipif(PROJECT not in case_names(), reason=f"no case {PROJECT}: {MAKE} is not there")

FLIPS = 100


@pytest.fixture
def project(cases: dict[str, Case], scratch: Path) -> Iterator[CaseRun]:
    """The case `project`, materialised whole."""
    with Runner(scratch / LAST, cases[PROJECT], LAST).opened_project(cases[PROJECT]) as run:
        yield run


@pytest.mark.parametrize(
    ("asset", "name", "file"),
    [
        ("ground_truth", "a", "classes.tif"),
        ("land_cover_map", "a", "class.tif"),
        pytest.param("model", "small", "model.safetensors", marks=pytest.mark.long),  # it is trained again
    ],
)
def test_no_bit_is_read_as_other_classes_or_weights_and_the_next_run_mends_it(
    project: CaseRun, asset: str, name: str, file: str
) -> None:
    product = current(asset, name)
    path = product.path / file
    content, draw = path.read_bytes(), random.Random(0)
    for bit in [draw.randrange(8 * len(content)) for _ in range(FLIPS)]:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        overwrite(path, bytes(damaged))
        with pytest.raises(IncompleteError, match=rf"{file}: missing or changed.* Fix: materialise again"):
            current(asset, name).file(file)
    assert rebuild_mark(product.path).exists()
    materialised(project)
    assert current(asset, name).file(file).read_bytes() == content


def test_a_disk_that_was_full_while_the_class_raster_was_written(project: CaseRun) -> None:
    path = current("ground_truth", "a").file("classes.tif")
    content = path.read_bytes()
    path.unlink()

    def full(target: Path, *_: Any, **__: Any) -> None:
        target.write_bytes(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with mock.patch.object(raster, "write_cog", full):
        attempt = lineage.guarded(lambda: lineage.run(project.dagster, ["ground_truth"]))
    assert attempt.crash is None
    assert "no space left on its disk" in "\n".join(attempt.problems)
    materialised(project)
    assert current("ground_truth", "a").file("classes.tif").read_bytes() == content
