"""The cases as a table: name, kinds of outcome, verdict, and the differences where it is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.cases.known_failures import KNOWN_FAILURES, NOT_RUN
from tests.cases.runner import Verdict

WIDTH = 150


def verdict_text(verdict: Verdict) -> str:
    """The verdict in a word or two: a known failure names the issue that mends it."""
    issue = KNOWN_FAILURES.get(verdict.case.name)
    if issue is None:
        return "right" if verdict.right else "WRONG"
    return f"RIGHT, yet listed: {issue}" if verdict.right else f"known: {issue}"


def unexpected(verdict: Verdict) -> bool:
    """Whether the list of known failures says otherwise."""
    return verdict.right == (verdict.case.name in KNOWN_FAILURES)


def lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """A row a case, the counts, and the workflows that nothing runs yet."""
    yield f"{'case':<26}{'right outcome':<22}{'verdict':<30}{'CPU-s':>6}  differences"
    for verdict in verdicts:
        differences = " | ".join(" ".join(text.split()) for text in verdict.differences)
        row = f"{verdict.case.name:<26}{verdict.case.kinds:<22}{verdict_text(verdict):<30}{verdict.cpu_s:6.1f}"
        yield f"{row}  {differences[:WIDTH]}".rstrip()
    right = sum(verdict.right for verdict in verdicts)
    known = sum(not verdict.right and not unexpected(verdict) for verdict in verdicts)
    yield f"{len(verdicts)} cases: {right} right, {known} known failures, {len(verdicts) - right - known} wrong"
    owned = "; ".join(f"{', '.join(names)} ('{issue}')" for issue, names in NOT_RUN.items())
    yield f"Not run yet, by the issue that owns them: {owned}."
