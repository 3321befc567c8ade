"""What a stage takes: wall and CPU time, peak memory, bytes and files."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """Wall and CPU seconds (children included), peak resident bytes of the process, and what was written.

    None where it is not known, never 0.
    """

    wall_s: float | None
    cpu_s: float | None
    peak_bytes: int | None
    bytes: int | None
    files: int | None

    @classmethod
    def unknown(cls) -> Cost:
        """A cost nobody measured."""
        return cls(None, None, None, None, None)

    def as_dict(self) -> dict[str, float | int | None]:
        """The fields as plain values."""
        return asdict(self)


class Meter:
    """Measures from its creation on."""

    def __init__(self) -> None:
        _forget_peak()
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()

    def result(self, written: Path) -> Cost:
        """The cost so far, with the bytes and files now below the folder `written`."""
        sizes = [path.stat().st_size for path in written.rglob("*") if path.is_file()]
        wall, cpu = time.perf_counter() - self._wall, _cpu_seconds() - self._cpu
        return Cost(round(wall, 3), round(cpu, 3), peak_bytes(), sum(sizes), len(sizes))


@contextlib.contextmanager
def measured() -> Iterator[Meter]:
    """A meter for the block under it."""
    yield Meter()


def peak_bytes() -> int:
    """Largest resident memory of this process since it began (since the last meter, where Linux allows)."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _cpu_seconds() -> float:
    process, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return process.ru_utime + process.ru_stime + children.ru_utime + children.ru_stime


def format_size(count: float) -> str:
    """A number of bytes in words: '1.4 MB'."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def format_duration(seconds: float) -> str:
    """A duration in the unit that people would use: 'less than a second', '40 s', '12 min', '3.5 h'."""
    if seconds < 1:
        return "less than a second"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
