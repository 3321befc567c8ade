"""Products as Dagster results."""

from __future__ import annotations

from assets.results import TABLE_ROWS, table


def test_a_long_table_is_cut_and_says_so() -> None:
    """Dagster takes records of one shape alone: of a province's tiles there are more than it shows."""
    rows = [{"tile": f"t{i}", "pixels": i} for i in range(TABLE_ROWS + 100)]
    records = [record.data for record in table(rows).records]
    assert records[:2] == rows[:2]
    assert records[-1] == {"tile": f"{TABLE_ROWS} of {TABLE_ROWS + 100} shown", "pixels": ""}
