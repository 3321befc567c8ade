"""`python -m tests.cases [FOLDER]`: runs every case of a folder (LANDCOVER_CASES, or generated ones) as a table."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

from tests.cases.case import MAKE, load_cases, write_cases, written_cases  # noqa: E402 - behind the filter
from tests.cases.known_failures import KNOWN_FAILURES  # noqa: E402
from tests.cases.runner import PROJECT, Runner, Verdict  # noqa: E402
from tests.cases.table import lines, unexpected  # noqa: E402


def main() -> int:
    """Prints the table; 1 where a case is wrong that is no known failure, or right that is one."""
    parser = argparse.ArgumentParser(prog="python -m tests.cases", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="FOLDER/NAME/{configs,raw,after,expected,expected.json}")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these cases alone")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory(prefix="cases-") as scratch:
        folder = options.folder or written_cases()
        verdicts, malformed = _run(folder, options.only, Path(scratch))
    for line in lines(verdicts, malformed, own=folder is None):
        print(line)
    known = KNOWN_FAILURES if folder is None else {}
    return int(bool(malformed) or any(unexpected(verdict, known) for verdict in verdicts))


def _run(folder: Path | None, only: list[str] | None, scratch: Path) -> tuple[list[Verdict], list[str]]:
    if folder is None:
        if not MAKE.is_file():
            sys.exit(f"no cases: {MAKE} is not there; give a FOLDER, or set LANDCOVER_CASES")
        folder = scratch / "cases"
        write_cases(folder)
    cases, malformed = load_cases(folder.resolve())
    if not cases and not malformed:
        sys.exit(f"no cases in {folder}: no NAME/expected.json")
    if unknown := sorted({*(only or ())} - {case.name for case in cases}):
        sys.exit(f"no case called {', '.join(unknown)} in {folder}")
    runner = Runner(scratch / "run", next((case for case in cases if case.name == PROJECT), None))
    return [runner.run(case) for case in cases if only is None or case.name in only], malformed


if __name__ == "__main__":
    sys.exit(main())
