"""Two commands that materialise one dataset at once."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from assets import instance
from assets.materialise import LOCK, materialise
from landcover_orch.store import publish
from tests import tiny


def test_a_second_command_waits_for_the_first_and_says_for_which(
    configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tiny.write(configs, tmp_path / "raw")
    (home / tiny.NAME).mkdir()
    lines: list[str] = []
    with ExitStack() as first:
        first.enter_context(publish.locked(home / tiny.NAME, LOCK))

        def log(line: str) -> None:
            lines.append(line)
            first.close()  # the first command ends

        with instance.opened() as dagster:
            outcome = materialise(dagster, dataset, ("ground_truth",), log=log)
    assert lines[0] == f"  waits: another command materialises tiny (held by process {os.getpid()})"
    assert outcome.plan.up_to_date
    assert lines[1].startswith("  ground_truth t0, t1, t2")
