"""Fixtures of the lineage's tests."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest


@pytest.fixture
def dagster() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of this test alone."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance
