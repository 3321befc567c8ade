"""File locks between processes: one holder at a time, whose file others may read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from filelock import lock_descriptor

POLL_S = 0.05
"""Seconds between looks whether another holder has ended."""


@contextmanager
def locked(path: Path, patience_s: float | None = None) -> Iterator[TextIO]:
    """File lock: holds a file until the block ends, or its process does; gives the file, open to append.

    Args:
        path: the file, made where there is none; its text stays.
        patience_s: for how long another holder is waited for; None: until it ends.

    Raises:
        TimeoutError: another process holds it for longer; the error's text is that of the file.
    """
    with path.open("a+", encoding="utf-8") as file:
        deadline = None if patience_s is None else time.monotonic() + patience_s
        while not lock_descriptor(file.fileno(), blocking=False):
            if deadline is not None and time.monotonic() > deadline:
                file.seek(0)
                raise TimeoutError(file.read())
            time.sleep(POLL_S)
        yield file


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock."""
    try:
        with path.open() as file:
            return not lock_descriptor(file.fileno(), blocking=False)
    except FileNotFoundError:
        return False
