"""How the training process keeps its memory, and ends: with its parent, and cleanly when it is asked to."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_memory() -> None:
    """Has glibc's allocator keep what is freed for the next step (elsewhere nothing changes).

    By default it returns arrays of megabytes to the kernel, which hands them out again page by page, emptied: a
    quarter of the time of a step on a CPU.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def end_with_parent(parent: int | None = None) -> None:
    """Has the kernel kill this process when its parent dies (Linux), so that a killed worker leaves no training behind.

    SIGKILL is safe here: checkpoint and products appear by renaming.

    Args:
        parent: process id the parent had when it started this process, where known.
    """
    expected = parent if parent is not None else os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have died before the kernel was asked.
    if os.getppid() != expected:
        os.kill(os.getpid(), signal.SIGKILL)


def end_when_asked() -> None:
    """Turns SIGTERM and SIGINT into an ordinary end of the program, whose checkpoint the next one goes on from."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
