"""Decisions on composites: every rule of the table, and properties that hold for any label."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch.config import load_legend
from landcover_orch.config.yamlfile import parse as parse_model
from landcover_orch.errors import LabelError
from landcover_orch.labels import composites
from landcover_orch.labels.codes import Decision
from landcover_orch.labels.composites import decide, meaning, parts
from landcover_orch.labels.siose import parse
from landcover_orch.labels.siose_covers import CODIIGE, PREDEFINED, SIMPLE
from landcover_orch.legend import Legend

CLASSES = [{"id": 0, "name": "forest", "colour": "#006600"}, {"id": 1, "name": "rest", "colour": "#cccccc"}]
CODES = {"CNF": "forest", "FDC": "forest", "PST": "rest", "EDF": "rest", "VAP": "rest", "ZQM": "ignore", "DHS": "rest"}


def legend(codes: dict[str, str] | None = None, **composites: Any) -> Legend:
    plain = {"name": "woods", "classes": CLASSES, "codes": codes or CODES, "composites": composites}
    return parse_model(plain, Legend, "test")


def decided(label: str, **composites: Any) -> tuple[str, str]:
    rules = legend(**composites)
    result = decide(parts(parse(label), rules), rules)
    return result.how, result.name


@pytest.mark.parametrize(
    ("label", "rule", "expected"),
    [
        ("CNF", "dominant", ("simple", "forest")),
        ("ZQM", "dissolve", ("simple", "ignore")),
        ("A(80CNF_20PST)", "dominant", ("dominant", "forest")),
        ("A(75CNF_25PST)", "dominant", ("dominant", "forest")),
        ("A(40CNF_35FDC_25PST)", "dominant", ("mixed", "ignore")),
        ("A(40CNF_35FDC_25PST)", "dissolve", ("dissolved", "forest")),
        ("A(80CNF_20PST)", "dissolve", ("dominant", "forest")),
        ("A(74CNF_26PST)", "dissolve", ("mixed", "ignore")),
        ("A(20CNF_80ZQM)", "dissolve", ("dominant", "ignore")),
        ("A(80CNF_20PST)", "ignore", ("ignored", "ignore")),
        ("A(80CNF_20PST)", "soft", ("soft", "ignore")),
        ("A(80CNF_20FDC)", "soft", ("dissolved", "forest")),
        ("A(60CNF_40CNFpl)", "ignore", ("simple", "forest")),
        ("A(70FDC_30R(60PST_40CNF))", "dissolve", ("dissolved", "forest")),
        ("DHS", "dissolve", ("predefined", "rest")),
        ("DHS(60FDC_40CNF)", "dissolve", ("dissolved", "forest")),
    ],
)
def test_the_rules(label: str, rule: str, expected: tuple[str, str]) -> None:
    assert decided(label, rule=rule) == expected


@pytest.mark.parametrize(
    ("told", "label", "expected"),
    [
        ("forest", "DHS", ("predefined", "forest")),
        ("forest", "DHS(90PST_10FDC)", ("predefined", "forest")),
        ("ignore", "DHS(90PST_10FDC)", ("predefined", "ignore")),
        ("members", "DHS(90PST_10FDC)", ("dominant", "rest")),
        ("forest", "A(80DHS(90PST_10FDC)_20PST)", ("dominant", "forest")),
    ],
)
def test_what_a_predefined_composite_means(told: str, label: str, expected: tuple[str, str]) -> None:
    assert decided(label, predefined={"DHS": told}) == expected
    assert decided(label, predefined={"701": told}) == expected


def test_members_count_by_themselves_or_not_at_all() -> None:
    few = {code: name for code, name in CODES.items() if code != "DHS"}
    rules = legend(few, predefined={"DHS": "members"})
    assert composites.unknown(["DHS", "FDC"], rules) == ["DHS"]


def test_a_cover_is_known_by_any_of_its_names() -> None:
    numbers = legend({"31*": "forest", "101": "rest", "LOC": "rest"})
    assert meaning("FDC", numbers) == meaning("316", numbers) == "forest"
    assert meaning("EDF", numbers) == meaning("101", numbers) == "rest"
    assert meaning("LAL", numbers) == meaning("241", numbers) == "rest"
    assert meaning("PST", numbers) is None


def test_a_cover_is_first_what_it_is_called() -> None:
    both = legend({"VAP": "rest", "PAV": "ignore", "104": "forest"}, predefined={"813": "forest", "UDS": "rest"})
    assert [meaning(name, both) for name in ("VAP", "PAV", "104")] == ["rest", "ignore", "forest"]
    assert [meaning(name, both) for name in ("UDS", "813")] == ["rest", "forest"]


def test_a_meaning_for_what_siose_has_not_is_refused() -> None:
    composites.require_predefined(legend(predefined={"DHS": "rest", "813": "ignore", "A": "forest"}))
    with pytest.raises(LabelError, match=r"composites.predefined: \['DSH', 'CNF'\]; expected composites of SIOSE"):
        composites.require_predefined(legend(predefined={"DSH": "rest", "CNF": "forest", "DHS": "rest"}))


def test_shares_keep_what_the_label_says() -> None:
    rules = legend(rule="soft")
    result = decide(parts(parse("A(50CNF_20FDC_20PST_10ZQM)"), rules), rules)
    assert result == Decision("soft", "ignore", result.fractions)
    assert dict(result.fractions) == {"forest": 0.7, "rest": 0.2, "ignore": 0.1}


_percentages = st.lists(st.integers(1, 60), min_size=2, max_size=5)


@given(_percentages, st.data(), st.floats(0.51, 1))
def test_any_composite(weights: list[int], data: st.DataObject, least: float) -> None:
    covers = data.draw(
        st.lists(st.sampled_from(sorted(CODES)), min_size=len(weights), max_size=len(weights), unique=True)
    )
    told = tuple((cover, weight / sum(weights)) for cover, weight in zip(covers, weights, strict=True))
    result = {rule: decide(told, legend(rule=rule, min_fraction=least)) for rule in ("dominant", "dissolve", "soft")}
    fractions = dict(result["soft"].fractions)
    assert sum(fractions.values()) == pytest.approx(1)
    for decision in (result["dominant"], result["dissolve"]):
        assert (decision.how == "mixed") <= (decision.name == "ignore")
        if decision.how != "mixed":
            assert fractions[decision.name] >= least - 1e-9
    if result["dominant"].how == "dominant":  # dissolving only adds decisions, it changes none
        assert result["dissolve"] == result["dominant"]
    assert (result["dissolve"].how == "mixed") == (max(fractions.values()) < least - 1e-9)


def test_every_decision_has_a_number_and_a_class() -> None:
    rules = legend()
    numbers = composites.coding(rules, "rest")
    assert len(set(numbers.codes)) == len(composites.HOW) * 3
    assert numbers.classes[numbers.codes.index("dissolved: forest")] == 0
    assert numbers.classes[numbers.codes.index("mixed: ignore")] == 255
    assert numbers.classes[numbers.unlabelled] == 1


def test_a_decision_without_a_share_above_one_half_is_refused() -> None:
    with pytest.raises(ValueError, match=r"greater than 0\.5"):
        legend(min_fraction=0.5)
    with pytest.raises(ValueError, match="no class, 'ignore' or 'members'"):
        legend(predefined={"DHS": "wood"})


@pytest.mark.parametrize(("kind", "labels"), [("siose", {**SIMPLE, **PREDEFINED}), ("codiige", CODIIGE)])
def test_shipped_legends_name_every_code_of_siose(kind: str, labels: dict[Any, Any]) -> None:
    for name, classes in {"forest": 2, "proportions": 10, "covers": 13}.items():
        result = load_legend(f"{kind}-{name}")
        assert set(result.codes) == {str(label) for label in labels}
        assert len(result.classes) == classes
        unused = set(result.names) - set(result.codes.values())
        assert unused <= UNUSED


def test_a_shipped_legend_calls_a_cover_the_same_by_label_and_by_number() -> None:
    numbers = {label: str(code) for label, (code, _) in {**SIMPLE, **PREDEFINED}.items()}
    for name in ("forest", "proportions", "covers"):
        result = load_legend(f"siose-{name}")
        assert {label: meaning(number, result) for label, number in numbers.items()} == result.codes
    rasterised = load_legend("siose-forest-numbers").codes
    assert {label: rasterised[number] for label, number in numbers.items()} == load_legend("siose-forest").codes
    assert set(rasterised) == {"0", *numbers.values()}


UNUSED = {"no_data", "clouds", "building"}
"""What no label tells: clouds, and buildings apart from the yards around them (CODIIGE)."""


def test_shipped_legends_call_a_cover_the_same_by_all_its_labels() -> None:
    for name in ("forest", "proportions", "covers"):
        result = load_legend(f"siose-{name}")
        for one, other in (("LOC", "LAL"), ("GNP", "GMP"), ("CCH", "ACH"), ("ACU", "AUC"), ("VAP", "PAV")):
            assert result.codes[one] == result.codes[other]
        assert (
            result.codes["CNF"]
            == {"forest": "forest", "proportions": "coniferous", "covers": "coniferous forest"}[name]
        )
