"""SIOSE's labels: every example of its grammar, round trips of any tree, and what is wrong with wrong ones."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.labels.siose import SHOWN, Composite, Cover, SioseError, Tree, fractions, parse, parse_all, write
from landcover_orch.labels.siose_covers import ARRANGEMENTS, CODIIGE, PREDEFINED, SIMPLE


def _shares(label: str) -> dict[str, Any]:
    return {cover.label: pytest.approx(fraction) for cover, fraction in fractions(parse(label))}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("FDC", {"FDC": 1.0}),
        ("CHLsc", {"CHL": 1.0}),
        ("76PAV_24EDF", {"PAV": 0.76, "EDF": 0.24}),
        ("A(60CNFpl_40MTR)", {"CNF": 0.6, "MTR": 0.4}),
        ("UDS(50EDFva_30ZAU_20VAP)", {"EDF": 0.5, "ZAU": 0.3, "VAP": 0.2}),
        ("A(70FDC_30R(60PST_40MTR))", {"FDC": 0.7, "PST": 0.18, "MTR": 0.12}),
        ("DHS", {"DHS": 1.0}),
        ("A(50DHS(80PST_20FDP)_50FDP)", {"PST": 0.4, "FDP": 0.6}),
    ],
)
def test_the_examples_of_the_grammar(label: str, expected: dict[str, float]) -> None:
    assert _shares(label) == expected
    assert write(parse(label)) == label


def test_attributes_are_kept_and_tell_covers_apart() -> None:
    assert parse("EDFvaad") == Cover("EDF", ("va", "ad"))
    assert dict(fractions(parse("60CNFpl_40CNF"))) == {Cover("CNF", ("pl",)): 0.6, Cover("CNF"): 0.4}


def _percentages(count: int) -> st.SearchStrategy[tuple[int, ...]]:
    """`count` whole numbers from 1 that sum to 100."""
    cuts = st.lists(st.integers(1, 99), min_size=count - 1, max_size=count - 1, unique=True)
    return cuts.map(lambda inner: tuple(b - a for a, b in zip([0, *sorted(inner)], [*sorted(inner), 100], strict=True)))


_attributes = st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=2), max_size=3).map(tuple)
_covers = st.builds(Cover, st.sampled_from([*SIMPLE, *PREDEFINED]), _attributes)


def _composites(
    parts: st.SearchStrategy[Tree], heads: st.SearchStrategy[str], attributes: st.SearchStrategy[tuple[str, ...]]
) -> st.SearchStrategy[Tree]:
    def members(parts: list[Tree]) -> st.SearchStrategy[tuple[tuple[int, Tree], ...]]:
        return _percentages(len(parts)).map(lambda percents: tuple(zip(percents, parts, strict=True)))

    return st.builds(Composite, heads, st.lists(parts, min_size=1, max_size=4).flatmap(members), attributes)


_heads = st.sampled_from([*ARRANGEMENTS, *PREDEFINED])
_parts = st.recursive(_covers, lambda inner: _composites(inner, _heads, _attributes), max_leaves=12)
_trees = _parts | _composites(_parts, st.just(""), st.just(()))


@settings(max_examples=200, deadline=None)
@given(_trees)
def test_any_tree_returns_from_its_label_and_its_shares_sum_to_one(tree: Tree) -> None:
    assert parse(write(tree)) == tree
    assert sum(fraction for _, fraction in fractions(tree)) == pytest.approx(1, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.text("AMRIFDCNUSPT()_0123456789abé ", max_size=30))
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(SioseError):
        assert write(parse(text)).replace("0", "") == text.replace("0", "")  # 060 % reads as 60 %


@pytest.mark.parametrize(
    ("label", "position", "expected"),
    [
        ("", 1, "a cover"),
        ("FDX", 1, "did you mean"),
        ("A(60CNFpl_30MTR)", 3, "sum to 100, not 90"),
        ("A(60CNF_40MTR", 14, "')'"),
        ("A(CNF_40MTR)", 3, "a percentage from 1 to 100"),
        ("A(0CNF_100MTR)", 3, "a percentage from 1 to 100"),
        ("A(0060CNF_40MTR)", 3, "a percentage from 1 to 100"),
        ("\uff16\uff10FDC_40PST", 1, "a percentage from 1 to 100"),
        ("A(33.3CNF_66.7PST)", 5, "a cover"),
        ("60CNF_41MTR", 1, "sum to 100, not 101"),
        ("A(60CNF,40MTR)", 8, "'_' and a further member, or ')'"),
        ("A(60cnf_40MTR)", 5, "did you mean 'CNF'"),
        ("A(60CNF_40(50PST_50MTR))", 11, "a cover"),
        ("FDC ", 4, "the end"),
        ("60CNF_40MTR)", 12, "the end"),
        ("311", 1, "set `labels.content` to code or largest"),
        ("A(101CNF)", 3, "a percentage from 1 to 100"),
        ("A60CNF", 2, "'(' after A"),
        ("FDC)", 4, "the end"),
        ("FDC(60PST_40MTR)", 4, "the end"),
        ("76PAV24EDF", 6, "a further member, or the end"),
        ("Z(60CNF_40MTR)", 1, "a cover"),
        ("CHLs", 4, "attributes of two lower-case letters each"),
        ("A(100" * 30 + "FDC" + ")" * 30, 102, "at most 20 levels"),
    ],
)
def test_an_error_says_polygon_label_position_and_what_was_expected(label: str, position: int, expected: str) -> None:
    with pytest.raises(SioseError) as error:
        parse(label, "ES-77")
    text = str(error.value)
    assert "polygon ES-77" in text
    assert repr(label if len(label) <= SHOWN else f"{label[:SHOWN]}...") in text
    assert expected in text
    assert f"character {position} " in text


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("100FDC", {"FDC": 1.0}),
        ("A(100FDC)", {"FDC": 1.0}),
        ("24EDF_76PAV", {"EDF": 0.24, "PAV": 0.76}),
        ("A(060CNF_040MTR)", {"CNF": 0.6, "MTR": 0.4}),
        ("A(60CNF_40CNF)", {"CNF": 1.0}),
        ("UDSva(50A(50EDF_50VAP)_50EDF)", {"EDF": 0.75, "VAP": 0.25}),
    ],
)
def test_what_is_unusual_is_read_all_the_same(label: str, expected: dict[str, float]) -> None:
    assert _shares(label) == expected


@pytest.mark.parametrize("length", [10_000, 1_000_000])
@pytest.mark.parametrize("piece", ["A(100", "A", "1", "a", "50FDC_", "("])
def test_a_label_of_any_length_is_refused_in_one_line(piece: str, length: int) -> None:
    with pytest.raises(SioseError) as error:
        parse(piece * (length // len(piece)), "1")
    assert len(str(error.value)) < 300


def test_all_wrong_labels_come_in_one_error_with_their_polygons() -> None:
    with pytest.raises(SioseError) as error:
        parse_all([("1", "FDC"), ("2", "FDX"), ("3", "A("), *((str(i), "?") for i in range(10, 40))])
    assert "polygon 2:" in str(error.value)
    assert "polygon 3:" in str(error.value)
    assert "12 more wrong ones" in str(error.value)
    assert parse_all([("1", "FDC"), ("1", "CNF")]) == [Cover("FDC"), Cover("CNF")]


def test_every_cover_of_the_tables_is_known_once() -> None:
    assert (len(SIMPLE), len(PREDEFINED), len(CODIIGE)) == (46, 45, 46)
    assert not set(SIMPLE) & set(PREDEFINED)
    assert SIMPLE["CNF"] == (316, "coníferas")
    assert PREDEFINED["DHS"] == (701, "dehesa")
    assert CODIIGE[312] == "bosque de coníferas"
    assert all(code > 0 and name for code, name in (*SIMPLE.values(), *PREDEFINED.values()))
