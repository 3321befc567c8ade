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
        ("splits", "{test: {tiles: [23]}}", "23, which YAML reads as the number 23", "{test: {tiles: ['23']}}"),
        ("splits", "{test: {tiles: [1e3]}}", "put 1e3 in quotes", "{test: {tiles: ['1e3']}}"),
        ("splits", "{test: {tiles: [true]}}", "put true in quotes", "{test: {tiles: ['true']}}"),
        ("crs", "25830", "write EPSG:25830", "EPSG:25830"),
        ("experiments", "quick", "expected a list. Fix: write `experiments: [quick]`", "[quick]"),
        ("promotion", "automatic", "write `promotion: {by: automatic}`", "{by: automatic}"),
        ("retraining", "never", "write `retraining: {when: never}`", "{when: never}"),
        ("retraining", "{when: off}", "'off'; expected one of ['new_data'", "{when: never}"),
        ("dtype", "unit8", "did you mean 'uint8'?", "uint8"),
        ("nodata", "no", "'no' is neither `file`, `none` nor a number", "none"),
        ("nodata", "true", "'true' is neither `file`, `none` nor a number", "none"),
        ("nodata", "-9999", "-9999 is no value of uint8, whole numbers from 0 to 255", "file"),
        ("nodata", "254.5", "254.5 is no value of uint8", "254"),
        ("nodata", "1e400", "inf is no value of uint8", "none"),
        ("patches", "{size: yes}", "'yes'; expected a whole number", "{size: 064}"),
        ("patches", "{size: true}", "'true'; expected a whole number", "{size: 64}"),
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


@pytest.mark.parametrize("name", ["22978945_15", "0110", "2020-05-01", "no", "off", "1_30"])
def test_a_text_that_an_earlier_yaml_reads_otherwise_is_read_as_it_stands(configs: Path, name: str) -> None:
    for written in (name, f"'{name}'"):
        assert load(configs, splits=f"{{test: {{tiles: [{written}]}}}}").splits.test.tiles == (name,)
        assert load(configs, legend=written).legend == name


def test_a_number_with_leading_zeros_is_decimal_as_people_read_it(configs: Path) -> None:
    assert load(configs, patches="{size: 064, stride: 010}").patches.size == 64
    assert load(configs, patches="{size: 064, stride: 010}").patches.stride == 10
    with pytest.raises(ConfigError, match="377 is no value of uint8"):
        load(configs, nodata="0377")


def test_nodata_of_a_file_of_another_dtype_need_not_fit_the_datasets(configs: Path) -> None:
    tiles = "{image: '{tile}.tif', label: '{tile}.gpkg', overrides: {a: {dtype: int32}}}"
    assert load(configs, nodata="-2147483648", tiles=tiles).nodata == -(2**31)
    assert load(configs, dtype="float32", nodata=".nan").dtype == "float32"


def test_a_key_that_is_a_number_to_yaml_is_read_as_it_stands(configs: Path) -> None:
    tiles: dict[str, Any] = {"image": "{tile}.tif", "label": "{tile}.gpkg"}
    text = yaml.safe_dump(tiles, default_flow_style=True).strip().removesuffix("}")
    for key in ("22978945_15", "'22978945_15'"):
        dataset = load(configs, tiles=text + f", overrides: {{{key}: {{dtype: uint16}}}}}}")
        assert [*dataset.tiles.overrides] == ["22978945_15"]
