"""Legends are consistent or refused; no look-up table can wrap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch.config import load_legend
from landcover_orch.config.yamlfile import parse
from landcover_orch.errors import ConfigError, LabelError
from landcover_orch.labels.codes import MAX_CODE, entry, lookup_table
from landcover_orch.legend import Legend

CLASSES = [{"id": 0, "name": "field", "colour": "#ffee00"}, {"id": 1, "name": "wood", "colour": "#00A010"}]
CODES = {"1": "field", "7": "wood", "9": "ignore"}


def make(**changes: Any) -> Legend:
    return parse({"name": "cover", "classes": CLASSES, "codes": CODES, **changes}, Legend, "test")


def test_codes_classes_and_colours() -> None:
    found = make(codes={1: "field", "FDC": "wood", "9": "ignore"})
    assert found.class_of_code == {"1": 0, "FDC": 1, "9": 255}
    assert found.names == ("field", "wood")
    assert found.id_of("ignore") == 255
    assert found.palette == {0: (255, 238, 0), 1: (0, 160, 16), 255: (0, 0, 0)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": CLASSES[::-1]}, "class ids are \\[1, 0\\]"),
        ({"classes": [CLASSES[0], {**CLASSES[1], "name": "field"}]}, "class names must differ"),
        ({"classes": [CLASSES[0], {**CLASSES[1], "name": "ignore"}]}, "none may be 'ignore'"),
        ({"codes": {"1": "fields"}}, "code '1' maps to 'fields'"),
        (
            {"codes": {"#ff0000": "field", "#ffc800": "wood"}, "colour_tolerance": 100},
            "colours #ff0000 and #ffc800 are nearer than twice colour_tolerance 100",
        ),
        ({"burn_order": ["1", "7"]}, "burn_order leaves out \\['9'\\]"),
        ({"burn_order": ["1", "7", "9", "2"]}, "burn_order names '2'"),
        ({"classes": [{**CLASSES[0], "colour": "red"}, CLASSES[1]]}, "colour"),
        ({"classes": [{**CLASSES[0], "id": 255}, CLASSES[1]]}, "less than 255"),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(**changes)


def test_true_and_false_are_no_codes() -> None:
    with pytest.raises(ConfigError):
        make(codes={True: "field"})


@given(st.dictionaries(st.integers(0, MAX_CODE), st.integers(0, 255), max_size=40), st.data())
def test_the_table_agrees_with_the_dictionary(codes: dict[int, int], data: st.DataObject) -> None:
    table = lookup_table(codes)
    asked = data.draw(st.lists(st.integers(0, MAX_CODE) | st.sampled_from([*codes, 0]), max_size=30))
    found = table[np.array(asked, np.uint16)]
    assert found.tolist() == [codes.get(code, 256) for code in asked]


@pytest.mark.parametrize("code", [-1, 65_536, 10**9])
def test_codes_beyond_the_table_are_errors(code: int) -> None:
    with pytest.raises(LabelError, match=str(code)):
        lookup_table({3: 0, code: 1})


@pytest.mark.parametrize("name", ["landscape", "bakerlake", "buildings", "raba"])
def test_the_shipped_legends_load(name: str) -> None:
    assert load_legend(name).name == name


def test_a_code_falls_under_itself_or_the_longest_beginning() -> None:
    known = ("312", "31*", "3*", "*")
    assert [entry(code, known) for code in ("312", "311", "351", "511", "3")] == ["312", "31*", "3*", "*", "3*"]
    assert entry("511", ("3*",)) is None
