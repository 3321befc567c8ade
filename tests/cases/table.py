"""The cases as a table: name, kinds of outcome, verdict, and the differences where it is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tests.cases.known_failures import KNOWN_FAILURES
from tests.cases.runner import Verdict

WIDTH = 150


def verdict_text(verdict: Verdict, known: Mapping[str, str]) -> str:
    """The verdict in a word or two: a known failure names the issue that mends it."""
    issue = known.get(verdict.case.name)
    if issue is None:
        return "right" if verdict.right else "WRONG"
    return f"RIGHT, yet listed: {issue}" if verdict.right else f"known: {issue}"


def unexpected(verdict: Verdict, known: Mapping[str, str]) -> bool:
    """Whether the list of known failures says otherwise."""
    return verdict.right == (verdict.case.name in known)


def lines(verdicts: Sequence[Verdict], malformed: Sequence[str] = (), *, own: bool = True) -> Iterator[str]:
    """A row a case, then the folders that are none, and the counts.

    Args:
        verdicts: of the cases.
        malformed: what is wrong with folders that are no cases.
        own: whether they are the project's own cases: known failures are theirs.
    """
    listed = KNOWN_FAILURES if own else {}
    yield f"{'case':<26}{'right outcome':<22}{'verdict':<30}{'CPU-s':>6}  differences"
    for verdict in verdicts:
        differences = " | ".join(" ".join(text.split()) for text in verdict.differences)
        row = f"{verdict.case.name:<26}{verdict.case.kinds:<22}{verdict_text(verdict, listed):<30}{verdict.cpu_s:6.1f}"
        yield f"{row}  {differences[:WIDTH]}".rstrip()
    right = sum(verdict.right for verdict in verdicts)
    known = sum(not verdict.right and not unexpected(verdict, listed) for verdict in verdicts)
    yield f"{len(verdicts)} cases: {right} right, {known} known failures, {len(verdicts) - right - known} wrong"
    yield from (f"malformed: {text}" for text in malformed)
