"""Cases that come out wrong today, by the title of the issue that mends them. One that comes right must leave."""

from __future__ import annotations

PLANNER = "Scheduled retraining"
SIGHT = "First sight"
TRUTH = "One truth"

KNOWN_FAILURES: dict[str, str] = {}

LONG = frozenset({"diverging_recipe", "long_code"})
"""Inputs that train, or that are measured in a process of their own: `make test-long` runs them."""
