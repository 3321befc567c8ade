"""Runs cases: a scratch folder each, one materialised project for all workflows, a verdict each."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg

from assets import instance
from landcover_orch.store.locks import locked
from tests.cases import compare, lineage
from tests.cases.case import REPOSITORY, Case, Outcome, copy_after, copy_case, mirror, stamps
from tests.cases.compare import CaseRun

REPLACED = "replaced_while_read"
PROJECT = "project"


@dataclass(frozen=True)
class Verdict:
    """Whether a case came out right, and where not, the first difference of each right outcome."""

    case: Case
    differences: tuple[str, ...]
    cpu_s: float = 0.0

    @property
    def right(self) -> bool:
        """Whether one of the right outcomes came out."""
        return not self.differences


class Runner:
    """Runs cases below a folder, which processes may share: workflows happen one at a time, at one path.

    Args:
        folder: scratch space.
        project: the case that all workflows start from; None where there is none.
        depth: the asset up to which that project is materialised, and workflows are followed.
    """

    def __init__(self, folder: Path, project: Case | None, depth: str = lineage.LAST) -> None:
        self._folder, self._project, self._depth = folder, project, depth

    def run(self, case: Case) -> Verdict:
        """The verdict on a case, with the CPU time of this process and its children."""
        started = sum(os.times()[:4])
        measured = any("at_most" in outcome for outcome in case.outcomes)
        differences = tuple(self._measured(case) if measured else self._differences(case))
        return Verdict(case, differences, sum(os.times()[:4]) - started)

    def _differences(self, case: Case) -> list[str]:
        """The first difference of each right outcome; none where one came out."""
        differences = []
        for outcome in case.outcomes:
            with self.opened_project(case) if case.workflow else self._input(case, outcome) as run:
                work = _replaced(run) if case.name == REPLACED else compare.differences(run, outcome)
                first = next(work, None)
            if first is None:
                return []
            differences.append(first)
        return differences

    @contextlib.contextmanager
    def _input(self, case: Case, outcome: Outcome) -> Iterator[CaseRun]:
        """A case in a folder of its own, with a Dagster instance of its own."""
        folder = self._folder / "inputs" / case.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        copy_case(case, folder)
        opened = instance.opened if "exit_code" in outcome else dg.DagsterInstance.ephemeral
        with lineage.environment(folder), opened() as dagster:
            yield CaseRun(case, folder, dagster)
        shutil.rmtree(folder)

    @contextlib.contextmanager
    def opened_project(self, case: Case) -> Iterator[CaseRun]:
        """A case in the folder of the materialised project, whose home is as it was after its first run."""
        folder, snapshot = self._folder / "workflow", self._folder / "snapshot"
        self._folder.mkdir(parents=True, exist_ok=True)
        with locked(self._folder / "workflow.lock"):
            folder.mkdir(exist_ok=True)
            if not snapshot.exists():
                self._materialise_project(case, folder, snapshot)
            mirror(snapshot, folder / "home")
            copy_case(case, folder)
            shared = stamps(snapshot)
            with lineage.environment(folder), instance.opened() as dagster:
                yield CaseRun(case, folder, dagster, self._depth)
            changed = {str(path.relative_to(snapshot)) for path, _ in stamps(snapshot).items() ^ shared.items()}
            if changed:
                shutil.rmtree(snapshot)
                raise RuntimeError(f"written in place, where workflows share them: {sorted(changed)}")

    def _materialise_project(self, case: Case, folder: Path, snapshot: Path) -> None:
        """Makes the products of the project, from which the workflows start."""
        copy_case(self._project or case, folder)
        with lineage.environment(folder), instance.opened() as dagster:
            assets = lineage.assets_through(dagster, self._depth)
            failed = lineage.guarded(lambda: lineage.run(dagster, assets)).failed
        assert failed is None, f"the project cannot be materialised: {failed}"
        shutil.copytree(folder / "home", snapshot, symlinks=True)

    def _measured(self, case: Case) -> Iterator[str]:
        """Differences of a case whose memory is measured, in a process that may not take much."""
        command = [sys.executable, "-W", "ignore", "-m", "tests.cases.memory", str(case.folder), str(self._folder)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if done.returncode:
            yield f"ended with {done.returncode}: {done.stderr.strip()[-200:]}"
        else:
            yield from json.loads(done.stdout.splitlines()[-1])


def _replaced(run: CaseRun) -> Iterator[str]:
    """Differences where an orthophoto is replaced between its fingerprint and the reading of its pixels."""
    from landcover_orch import raster

    image = run.folder / "raw" / "a.tif"
    shutil.rmtree(run.products)
    run.dagster.wipe()
    failed = lineage.guarded(lambda: lineage.run(run.dagster, ["ground_truth"])).failed
    if failed:
        yield failed
    old, read = lineage.image_fingerprint("a"), raster.reader
    replaced = []

    def replacing(source: Any, *more: Any, **how: Any) -> Any:
        if Path(source.path) == image and not replaced:
            copy_after(run.case, run.folder)
            replaced.append(image)
        return read(source, *more, **how)

    with mock.patch.object(raster, "reader", replacing):
        attempt = lineage.guarded(lambda: lineage.run(run.dagster, ["patches"]))
    if attempt.crash or not replaced:
        yield f"traceback: {attempt.crash}" if attempt.crash else "nothing read the orthophoto through raster.reader"
    if lineage.image_fingerprint("a") == old:
        yield "the orthophoto was not replaced"
    manifests = (run.products / "patches").glob("a-*/manifest.json")  # also those that are no longer current
    if any(old in manifest.read_text(encoding="utf-8") for manifest in manifests):
        yield "patches of the new pixels carry the fingerprint of the old ones"
