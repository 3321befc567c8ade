"""`python -m tests.cases.memory CASE FOLDER`: a case with `at_most`, its memory bounded and measured."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from tests.cases import compare, lineage
from tests.cases.case import Case, copy_case, load_case
from tests.cases.compare import CaseRun

MIB = 2**20
BOUND_MIB = 1000
"""What the process may take above what it holds after the sound case: more than any `at_most`, less than a machine."""


def _status(name: str) -> int:
    """A line of /proc/self/status in MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) // 1024


def _growth(case: Case, folder: Path) -> tuple[int, list[str], int]:
    """Peak memory above the start in MiB, differences, and the longest message of a case."""
    folder.mkdir(parents=True, exist_ok=True)
    copy_case(case, folder)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    with lineage.environment(folder), dg.DagsterInstance.ephemeral() as dagster:
        run = CaseRun(case, folder, dagster)
        differences = list(compare.differences(run, case.outcomes[0]))
        messages = [*run.check.problems, *run.through("ground_truth").problems]
    return _status("VmHWM") - before, differences, max(map(len, messages), default=0)


def _differences(case: Case, folder: Path) -> Iterator[str]:
    sound = load_case(case.folder.parent / "sound")
    _growth(sound, folder / "warm")
    least, _, _ = _growth(sound, folder / "sound")
    bound = (_status("VmData") + BOUND_MIB) * MIB
    resource.setrlimit(resource.RLIMIT_DATA, (bound, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    growth, differences, longest = _growth(case, folder / case.name)
    yield from (text[:300] for text in differences)
    limits = case.outcomes[0]["at_most"]
    if growth - least > limits["megabytes"]:
        yield f"{growth - least} MiB above those of a sound case for {limits['megabytes']}"
    if longest > limits["characters"]:
        yield f"a message of {longest} characters for {limits['characters']}"


if __name__ == "__main__":
    print(json.dumps(list(_differences(load_case(Path(sys.argv[1])), Path(sys.argv[2]) / "memory"))))
