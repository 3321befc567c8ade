"""The training process keeps its memory, ends with its parent, and cleanly when asked."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CHILD = """
import signal, sys
from landcover_orch.training.distributed.process import end_with_parent
end_with_parent()
print("ready", flush=True)
signal.pause()
"""
PARENT = f"""
import subprocess, sys, signal
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_killed_parent_leaves_no_child() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.kill()
            parent.wait(10)
            ended, _, _ = select.select([child], [], [], 10)
            assert ended == [child]
        finally:
            os.close(child)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_parent_that_died_before_leaves_no_child() -> None:
    script = (
        "from landcover_orch.training.distributed.process import end_with_parent; end_with_parent(1); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_end_runs_what_has_to_be_closed(number: signal.Signals) -> None:
    script = """
import os, sys
from landcover_orch.training.distributed.process import end_when_asked
end_when_asked()
try:
    os.kill(os.getpid(), int(sys.argv[1]))
finally:
    print("closed")
"""
    done = subprocess.run([sys.executable, "-c", script, str(int(number))], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (128 + number, "closed\n")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    child = """
import resource
from landcover_orch.training.distributed.process import keep_memory
keep_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step(): return [b"x" * 2**22 for _ in range(4)]
step(); before = faults()
for _ in range(10): step()
print(faults() - before)
"""
    child_process = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    assert int(child_process.stdout) < 1024  # one step's 16 MiB are 4096 pages


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_launcher_is_asked_to_end_when_its_parent_dies(tmp_path: Path) -> None:
    launcher = f"""
import os, signal, sys
from pathlib import Path
def asked(*_):
    Path({str(tmp_path)!r}, "asked").write_text(os.environ.get("LANDCOVER_PARENT", "nobody's"))
    sys.exit()
signal.signal(signal.SIGTERM, asked)
print("ready", flush=True)
signal.pause()
"""
    command = [sys.executable, "-m", "landcover_orch.training.distributed.process", sys.executable, "-c", launcher]
    parent = f"""
import os, subprocess, signal
environment = {{**os.environ, "LANDCOVER_PARENT": str(os.getpid())}}
child = subprocess.Popen({command!r}, stdout=subprocess.PIPE, env=environment)
child.stdout.readline()
print(child.pid, flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        child = os.pidfd_open(int(started.stdout.readline()))
        try:
            started.kill()
            ended, _, _ = select.select([child], [], [], 10)
            assert ended == [child]
        finally:
            os.close(child)
    assert (tmp_path / "asked").read_text() == "nobody's"
