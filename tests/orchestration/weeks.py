"""Weeks of a dataset without waiting: the sensor's ticks by a clock of their own, and the runs that it requests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from assets import chain
from assets.definitions import collect, lineage
from assets.partitions import TILES
from landcover_orch import config
from landcover_orch.store import publish
from tests import tiny
from tests.in_process import training_in_process

MOST_TICKS = 40


@dataclass
class Weeks:
    """A dataset whose weeks pass: what ran in each, and what the ticks said."""

    dagster: dg.DagsterInstance
    name: str = tiny.NAME
    now: datetime = datetime(2026, 1, 5, tzinfo=UTC)
    cursor: str | None = None
    said: list[str] = field(default_factory=list)

    def pass_week(self) -> list[str]:
        """The runs of a week: job and partitions of each in order; ticks go on until one requests nothing."""
        self.now += timedelta(days=7)
        self.said.clear()
        runs: list[str] = []
        with training_in_process():
            for _ in range(MOST_TICKS):
                requests = self.tick()
                if not requests and not json.loads(self.cursor or "{}").get("active"):
                    return runs
                runs += [self.execute(request) for request in requests]
        raise AssertionError(f"the chain never rests: {runs}")

    def tick(self) -> list[dg.RunRequest]:
        """One tick, a minute after the last one."""
        self.now += timedelta(seconds=chain.LOOK_S)
        dataset = config.load_dataset(self.name)
        result = chain.tick(dataset, lineage(dataset), self.dagster, self.cursor, self.now)
        self.cursor = result.cursor
        if result.skip_reason:
            self.said.append(str(getattr(result.skip_reason, "skip_message", result.skip_reason)))
        for event in result.asset_events:
            self.dagster.report_runless_asset_event(event)
        return list(result.run_requests or [])

    def execute(self, request: dg.RunRequest) -> str:
        """Runs what was requested; gives its stage and partitions."""
        definitions = collect([config.load_dataset(self.name)])
        job = definitions.resolve_job_def(str(request.job_name))
        self.last = job.execute_in_process(
            instance=self.dagster,
            asset_selection=request.asset_selection,
            partition_key=request.partition_key,
            tags={**request.tags, **({"dagster/partition": request.partition_key} if request.partition_key else {})},
            raise_on_error=False,
        )
        names = json.loads(request.tags[TILES]) if TILES in request.tags else [request.partition_key]
        chosen = " ".join(name for name in names if name)
        return f"{request.tags[chain.STAGE]} {chosen}".strip()


def versions(home: Path, asset: str, name: str = tiny.NAME) -> dict[str, str]:
    """Name -> fingerprint of the current products of an asset."""
    links = [path for path in (home / name / asset).glob("[!.]*") if path.is_symlink()]
    return {path.name: publish.current(path.parent, path.name).fingerprint for path in sorted(links)}
