"""What is known of products without Dagster: the tile, the experiment or the search that each is of."""

from __future__ import annotations

import pytest

from landcover_orch.store.products import ASSETS, Level


@pytest.mark.parametrize(
    ("asset", "names", "owners"),
    [
        ("patches", ["t0"], {"tile": "t0"}),
        ("report", ["unet"], {"experiment": "unet"}),
        ("prediction", ["unet", "t0"], {"experiment": "unet", "tile": "t0"}),
        ("prediction", ["t0"], {}),
        ("search", ["rates"], {"search": "rates"}),
        ("champion", ["champion"], {}),
        ("patches", ["deeper", "t0"], {}),
    ],
)
def test_a_product_is_of_what_its_folders_say(asset: str, names: list[str], owners: dict[str, str]) -> None:
    levels: tuple[Level, ...] = ("tile", "experiment", "search")
    found = {level: ASSETS[asset].owner(level, names) for level in levels}
    assert {level: name for level, name in found.items() if name is not None} == owners
