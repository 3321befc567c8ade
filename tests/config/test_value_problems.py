"""A value of another kind than its key takes is answered in words of the file, with a fix that works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import ConfigError

SOUND = {
    "name": "town",
    "root": "/data",
    "tiles": "{image: '{tile}.tif', label: '{tile}.gpkg'}",
    "bands": "[red]",
    "legend": "cover",
    "experiments": "[quick]",
}


def load(configs: Path, **lines: str) -> Dataset:
    text = "".join(f"{key}: {value}\n" for key, value in {**SOUND, **lines}.items())
    (configs / "datasets" / "town.yaml").write_text(text)
    return config.load_dataset("town")


@pytest.mark.parametrize(
    ("key", "value", "words", "mended"),
    [
        ("splits", "{test: {tiles: [22978945_15]}}", "put 22978945_15 in quotes", "{test: {tiles: ['22978945_15']}}"),
        ("splits", "{test: {tiles: [0110]}}", "0110, which YAML reads as the number 72", "{test: {tiles: ['0110']}}"),
        ("splits", "{test: {tiles: [2020-05-01]}}", "which YAML reads as a date", "{test: {tiles: ['2020-05-01']}}"),
        ("splits", "{test: {tiles: [no]}}", "put no in quotes", "{test: {tiles: ['no']}}"),
        ("legend", "1_0", "put 1_0 in quotes", "'1_0'"),
        ("crs", "25830", "write EPSG:25830", "EPSG:25830"),
        ("experiments", "quick", "expected a list. Fix: write `experiments: [quick]`", "[quick]"),
        ("promotion", "automatic", "write `promotion: {by: automatic}`", "{by: automatic}"),
        ("retraining", "never", "write `retraining: {when: never}`", "{when: never}"),
        ("retraining", "{when: off}", "off, which YAML reads as false; expected one of ['new_data'", "{when: never}"),
        ("dtype", "unit8", "did you mean 'uint8'?", "uint8"),
        ("patches", "{size: big}", "'big'; expected a whole number", "{size: 64}"),
        ("patches", "{stride: 0}", "0; expected a value greater than or equal to 1", "{stride: 1}"),
        ("tiles", "{image: 'a.tif'}", "add the key `tiles.label`", "{image: 'a.tif', label: b.gpkg}"),
    ],
)
def test_the_message_quotes_the_file_and_its_fix_works(
    configs: Path, key: str, value: str, words: str, mended: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load(configs, **{key: value})
    (problem,) = error.value.problems
    assert words in str(problem)
    assert "Input" not in str(problem)
    assert problem.where.startswith(f"configs/datasets/town.yaml: {key}")
    load(configs, **{key: mended})


def test_a_key_that_is_a_number_to_yaml_is_read_as_it_stands(configs: Path) -> None:
    tiles: dict[str, Any] = {"image": "{tile}.tif", "label": "{tile}.gpkg"}
    text = yaml.safe_dump(tiles, default_flow_style=True).strip().removesuffix("}")
    for key in ("22978945_15", "'22978945_15'"):
        dataset = load(configs, tiles=text + f", overrides: {{{key}: {{dtype: uint16}}}}}}")
        assert [*dataset.tiles.overrides] == ["22978945_15"]
