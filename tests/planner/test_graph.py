"""Stages follow from the assets' dependencies and partitions; one that no run can build at once is refused."""

from __future__ import annotations

import pytest

from landcover_orch.errors import ConfigError
from landcover_orch.planner.graph import Placement, stage_order

LINEAGE = {
    "table": Placement("sum", None, ("map",)),
    "map": Placement("map", "tiles", ("champion", "photo")),
    "champion": Placement("elect", None, ("report",)),
    "board": Placement("elect", None, ("champion", "report")),
    "report": Placement("evaluate", "experiments", ("photo",)),
}
"""In no order; `photo` is a file, and no asset that is planned."""


def test_stages_come_in_the_order_of_what_they_are_made_of() -> None:
    assert stage_order(LINEAGE) == ["evaluate", "elect", "map", "sum"]


def test_a_stage_that_waits_for_one_that_waits_for_it_is_refused() -> None:
    """The table in the stage of the champion would be built before and after the maps."""
    with pytest.raises(ConfigError, match=r"stages of table, champion, board, map: elect -> map -> elect; expected"):
        stage_order({**LINEAGE, "table": LINEAGE["table"]._replace(stage="elect")})


def test_a_stage_of_unlike_partitions_is_refused() -> None:
    """The table in the stage of the maps would be built by each run of some tiles."""
    with pytest.raises(ConfigError, match="stage map: unlike partitions of table, map; expected"):
        stage_order({**LINEAGE, "table": LINEAGE["table"]._replace(stage="map")})
