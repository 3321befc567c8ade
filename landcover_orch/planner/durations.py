"""Rough durations: what past builds of an asset took, and the total of what is to be built, in words."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from landcover_orch.store.costs import format_duration

COSTS = ".*.cost.json"
"""Files beside the products of a folder that say what their builds took: .NAME-FINGERPRINT.cost.json."""


def past_durations(folder: Path | None) -> dict[str, float]:
    """Name -> wall seconds that its last build took; of an experiment with a product a tile, all of them together."""
    if folder is None:
        return {}
    durations = measured(folder)
    for path in folder.glob("[!.]*"):
        if path.is_dir() and not path.is_symlink() and (of_tiles := measured(path)):
            durations[path.name] = sum(of_tiles.values())
    return durations


def measured(folder: Path) -> dict[str, float]:
    """Name -> wall seconds that its last build took, of the products of a folder."""
    durations: dict[str, float] = {}
    for path in sorted(folder.glob(COSTS), key=lambda path: path.stat().st_mtime):
        try:
            seconds = json.loads(path.read_text(encoding="utf-8"))["wall_s"]
        except (OSError, ValueError, KeyError):
            continue
        if seconds is not None:
            durations[path.name[1:].removesuffix(COSTS[2:]).rpartition("-")[0]] = float(seconds)
    return durations


def estimate(past: Mapping[str, float], name: str | None) -> float | None:
    """Rough seconds of a build: those of its last one, else the median of the asset's others; None where none was."""
    if name is not None and name in past:
        return past[name]
    return statistics.median(past.values()) if past else None


def total(seconds: Iterable[float | None]) -> float | None:
    """Rough seconds of all steps whose duration can be estimated; None where there is none."""
    known = [value for value in seconds if value is not None]
    return sum(known) if known else None


def time_in_words(steps: Sequence[float | None]) -> str:
    """Rough time of steps by their seconds: 'about 12 min'; 'at least' so where some were never timed, '' where all."""
    seconds = total(steps)
    if seconds is None:
        return ""
    time = format_duration(seconds) if seconds < 1 else f"about {format_duration(seconds)}"
    untimed = sum(step is None for step in steps)
    steps_untimed = f"{untimed} step{'s were' if untimed > 1 else ' was'} never timed"
    return f"at least {time}, {steps_untimed}" if untimed else time
