"""Status of a dataset: what is missing or stale and why, the runs that are to come, rough time, disk by asset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from assets import chain
from assets.definitions import lineage
from assets.lineage import sources
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import LandcoverError
from landcover_orch.planner import Plan, Run, State, Step, next_runs
from landcover_orch.planner.durations import time_in_words
from landcover_orch.store import publish
from landcover_orch.store.costs import format_size as size
from landcover_orch.store.products import folder

ORDER = (State.FAILED, State.BLOCKED, State.BUILD, State.WAITING)
NAMES_SHOWN = 4


@dataclass(frozen=True)
class Disk:
    """Disk space of an asset in bytes: of the products that are current, and of all."""

    asset: str
    current: int
    total: int


@dataclass(frozen=True)
class Status:
    """Status of a dataset."""

    dataset: str
    plan: Plan
    runs: tuple[Run, ...]
    waiting: tuple[str, ...]
    """Tiles that wait for files."""

    disk: tuple[Disk, ...]

    def lines(self) -> Iterator[str]:
        """The status as text."""
        todo = self.plan.of(State.BUILD, State.WAITING)
        broken = self.plan.of(State.FAILED, State.BLOCKED)
        if self.plan.up_to_date:
            yield f"{self.dataset}: everything is up to date."
        else:
            time = time_in_words([step.seconds for step in todo])
            yield f"{self.dataset}: {len(todo)} to build{time and f', {time}'}; {len(broken)} cannot be built."
        shown: dict[str, str] = {}
        for steps in groups(self.plan):
            yield f"  {steps[0].state.value:<8} {title(steps)}"
            problems_text = "; ".join(dict.fromkeys(str(problem) for step in steps for problem in step.problems))
            if problems_text and problems_text in shown:
                yield f"           as {shown[problems_text]}"
                continue
            shown.setdefault(problems_text, title(steps))
            yield f"           {steps[0].reason}"
            fixes = dict.fromkeys(problem.fix for step in steps for problem in step.problems)
            missing = (fix for fix in fixes if fix not in steps[0].reason)
            yield from (f"           Fix: {fix}" for fix in list(missing)[:NAMES_SHOWN])
        yield from (f"  waits    {text}" for text in self.waiting)
        yield from (f"  next run {run}" for run in self.runs)
        if self.disk:
            yield "Disk:"
        for disk in self.disk:
            other = disk.total - disk.current
            note = (
                f"  ({size(other)} of it former: `landcover clean {self.dataset}` lists what nothing uses)"
                if other
                else ""
            )
            yield f"  {disk.asset:<18} {size(disk.total):>9}{note}"
        if todo:
            yield f"Next: landcover materialise {self.dataset}"
        elif broken:
            yield f"Next: mend what cannot be built, then landcover materialise {self.dataset}"


def status(dataset: Dataset, instance: dg.DagsterInstance) -> Status:
    """Looks at a dataset's files and products; builds nothing.

    Raises:
        ConfigError, CatalogueError: nothing can be looked at.
    """
    waiting = sources.observe(instance, dataset).waiting
    described = chain.state_plan(dataset, lineage(dataset), instance)
    return Status(dataset.name, described, tuple(next_runs(described)), waiting, tuple(disk_usage(dataset, described)))


def groups(described: Plan) -> list[list[Step]]:
    """Steps that are not current, the broken first; those of an asset, a state and a reason are one group.

    Reasons that differ in the name of the step's own partition are one.
    """
    grouped: dict[tuple[State, str, str], list[Step]] = {}
    for state in ORDER:
        for step in described.of(state):
            name = rf"(?<![\w-]){re.escape(step.partition)}(?![\w-])" if step.partition else "$^"
            grouped.setdefault((state, step.asset, re.sub(name, "*", step.reason)), []).append(step)
    return list(grouped.values())


def title(steps: list[Step]) -> str:
    """Asset and partitions of a group in words."""
    names = [step.partition for step in steps if step.partition is not None]
    shown = ", ".join(names[:NAMES_SHOWN]) + (f" and {len(names) - NAMES_SHOWN} more" * (len(names) > NAMES_SHOWN))
    return f"{steps[0].asset} {shown}".rstrip()


def disk_usage(dataset: Dataset, described: Plan) -> Iterator[Disk]:
    """Disk space of the assets of a dataset that have products, by their manifests."""
    for asset in described.assets:
        products = folder(config.home(), dataset.name, asset.name)
        current, total = 0, 0
        linked = {link.resolve() for link in links(products)}
        manifests = (*products.glob(f"[!.]*/{publish.MANIFEST}"), *products.glob(f"[!.]*/[!.]*/{publish.MANIFEST}"))
        for path in {manifest.parent.resolve() for manifest in manifests}:
            try:
                used = publish.load(path).bytes
            except (LandcoverError, OSError, ValueError):
                used = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            total += used
            current += used if path in linked else 0
        if total:
            yield Disk(asset.name, current, total)


def links(folder: Path) -> list[Path]:
    """The links of current products in a folder of an asset, and in those of its experiments."""
    return [path for path in (*folder.glob("[!.]*"), *folder.glob("[!.]*/[!.]*")) if path.is_symlink()]
