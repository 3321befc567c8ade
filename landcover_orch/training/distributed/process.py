"""Training process: allocator settings, parent-death signal, and a clean end on SIGTERM and SIGINT.

`python -m landcover_orch.training.distributed.process COMMAND ...` becomes a command that ends with what started it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType

from landcover_orch.interrupts import resend_lost

PARENT = "LANDCOVER_PARENT"
"""Environment variable with the id of the parent process, with which a training ends."""

UNDER_DAGSTER = "DAGSTER_PIPES_CONTEXT"
"""Environment variable that a training has which Dagster started."""

PR_SET_PDEATHSIG = 1
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_memory() -> None:
    """Allocator settings: glibc keeps freed memory for the next step (elsewhere nothing changes).

    By default it returns arrays of megabytes to the kernel, which hands them out again page by page, emptied: a
    quarter of the time of a step on a CPU.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def end_with_parent(parent: int | None = None, number: signal.Signals = signal.SIGKILL) -> None:
    """Parent-death signal (Linux): the kernel signals this process when its parent dies, so that none is orphaned.

    SIGKILL is safe for a training: checkpoint and products appear by renaming. It holds for a program that takes this
    one's place, and not for its children.

    Args:
        parent: process id the parent had when it started this process, where known.
        number: the signal.
    """
    expected = parent if parent is not None else os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    # The parent may have died before the kernel was asked.
    if os.getppid() != expected:
        os.kill(os.getpid(), number)


ASKED: list[int] = []
"""The status with which this process was asked to end, where it was."""


def require_not_asked() -> None:
    """Raises SystemExit where this process was asked to end, and goes on: what the signal raised was swallowed."""
    if ASKED:
        raise SystemExit(ASKED[0])


def end_when_asked() -> None:
    """Graceful shutdown: SIGTERM and SIGINT raise SystemExit; the next training resumes from the checkpoint.

    A terminal's Ctrl-C comes again from those who pass it on: but for the first one they are ignored, also where
    Lightning has put this handler back behind the training.
    """
    ASKED.clear()
    resend_lost(ASKED.clear)

    def exit_with_status(number: int, frame: FrameType | None) -> None:
        if not ASKED:
            ASKED.append(128 + number)
            raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, exit_with_status)


def main(command: list[str]) -> None:
    """Becomes a launcher, which is asked to end when the process that started this one dies.

    Launchers end their processes when they are asked to: torchrun those of this node, srun those of all nodes. Were
    they killed, srun would leave its job to the queue.
    """
    parent = os.environ.pop(PARENT, None)  # of this process, not of those that are launched
    end_with_parent(int(parent) if parent else None, signal.SIGTERM)
    os.execvp(command[0], command)  # noqa: S606 - a list from configs/launchers; no shell


if __name__ == "__main__":
    main(sys.argv[1:])
