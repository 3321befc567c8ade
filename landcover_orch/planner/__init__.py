"""Planner: what of a dataset is missing or stale, why, and what may run next; it asks the store, knows no Dagster."""

from landcover_orch.planner.graph import Asset, Build, Built, Dependency, Partition
from landcover_orch.planner.plan import Plan, State, Step, by_hand, plan
from landcover_orch.planner.runs import Run, next_runs

__all__ = [
    "Asset",
    "Build",
    "Built",
    "Dependency",
    "Partition",
    "Plan",
    "Run",
    "State",
    "Step",
    "by_hand",
    "next_runs",
    "plan",
]
