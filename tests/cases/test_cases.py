"""Inputs and workflows at which land-cover projects trip: each comes out right, or is a known failure of an issue.

The cases are those of `../shared/cases`, or of the folder that LANDCOVER_CASES names. `python -m tests.cases` prints
the same as a table.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.case import MAKE, Case, case_names, load_cases, written_cases
from tests.cases.known_failures import KNOWN_FAILURES, LONG
from tests.cases.lineage import LAST, PREPARED
from tests.cases.renamed import rename_keys, set_key
from tests.cases.runner import PROJECT, Runner, Verdict
from tests.cases.table import lines

NAMES, WORKFLOWS = case_names(), case_names(workflows=True)
needs_cases = pytest.mark.skipif(not NAMES, reason=f"no cases: {MAKE} is not there (set LANDCOVER_CASES to a folder)")


def _parameter(name: str, *, long: bool) -> object:
    issue = KNOWN_FAILURES.get(name) if written_cases() is None else None
    marks = [pytest.mark.long] if long else []
    if issue:
        marks.append(pytest.mark.xfail(strict=True, raises=AssertionError, reason=f"issue '{issue}'"))
    return pytest.param(name, marks=marks)


def _run(cases: dict[str, Case], name: str, scratch: Path, depth: str) -> None:
    verdict = Runner(scratch / depth, cases.get(PROJECT), depth).run(cases[name])
    assert verdict.right, "\n".join(verdict.differences)


@needs_cases
@pytest.mark.parametrize("name", [_parameter(name, long=name in LONG) for name in NAMES])
def test_a_case_comes_out_right(cases: dict[str, Case], scratch: Path, name: str) -> None:
    _run(cases, name, scratch, PREPARED)


@needs_cases
@pytest.mark.parametrize("name", [_parameter(name, long=True) for name in WORKFLOWS])
def test_a_workflow_comes_out_right_with_models_and_maps(cases: dict[str, Case], scratch: Path, name: str) -> None:
    _run(cases, name, scratch, LAST)


def test_the_list_of_known_failures_names_cases_alone() -> None:
    if MAKE.is_file() and written_cases() is None:
        assert not {*KNOWN_FAILURES, *LONG} - set(NAMES)


def test_keys_are_renamed_and_moved_and_values_stay_as_written() -> None:
    text = "name: ds\nfloors: [k-means]\nautomation: {retrain: 0 25 * * *}\ncodes: {010: a, '020': b}\n"
    table = {"floors": "baselines", "automation.retrain": "retraining.when.cron", "absent": "new"}
    expected = "name: ds\ncodes: {010: a, '020': b}\nbaselines: [k-means]\nretraining:\n  when:\n    cron: 0 25 * * *\n"
    assert rename_keys(text, table) == expected
    assert rename_keys(text, {"absent": "new"}) == text
    assert set_key("labels: {attribute: code}\n", "labels.unlabelled", "rest") == (
        "labels: {attribute: code, unlabelled: rest}\n"
    )


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ("{", "JSONDecodeError"),
        ("{}", "'outcomes'"),
        ('{"outcomes": []}', "one at least"),
        ('{"outcomes": [{"is": "refusd"}]}', "'refusd'"),
        ('{"outcomes": [{"is": "accepted", "at": "chck"}]}', "'chck'"),
        ('{"outcomes": [{"is": "accepted", "count": {}}]}', "['count']"),
    ],
)
def test_a_folder_that_is_no_case_is_named_and_the_others_are_read(tmp_path: Path, expected: str, words: str) -> None:
    for name, text in (("bad", expected), ("good", '{"outcomes": [{"is": "accepted"}]}')):
        for part in ("configs", "raw"):
            (tmp_path / name / part).mkdir(parents=True)
        (tmp_path / name / "expected.json").write_text(text)
    cases, (malformed,) = load_cases(tmp_path)
    assert [case.name for case in cases] == ["good"]
    assert str(tmp_path / "bad" / "expected.json") in malformed
    assert words in malformed


def test_a_configuration_that_cannot_be_parsed_stays_as_it_is() -> None:
    assert rename_keys("name: [\n", {"floors": "baselines"}) == "name: [\n"


def test_known_failures_are_those_of_the_projects_own_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN_FAILURES, "view", "One truth")
    verdict = Verdict(Case("view", tmp_path, ({"is": "accepted"},)), ())
    own, foreign = list(lines([verdict])), list(lines([verdict], ["bad: no outcomes"], own=False))
    assert "RIGHT, yet listed" in own[1]
    assert foreign[1].split() == ["view", "accepted", "right", "0.0"]
    assert foreign[-1] == "malformed: bad: no outcomes"


def test_the_table_has_a_row_a_case_and_counts_them(tmp_path: Path) -> None:
    case = Case("new", tmp_path, ({"is": "accepted"}, {"is": "refused"}))
    printed = list(lines([Verdict(case, ("no problem",)), Verdict(Case("sound", tmp_path, ()), ())]))
    assert printed[1].split() == ["new", "accepted", "or", "refused", "WRONG", "0.0", "no", "problem"]
    assert printed[-1] == "2 cases: 1 right, 0 known failures, 1 wrong"
