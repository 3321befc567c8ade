"""Orchestration tests on the newest minor version of Dagster, where that is a later one than the pinned.

`python -m tools.newest_dagster [VERSION]` installs Dagster's packages beside the environment, without what they need,
and runs the tests with them in front; `make test-dagster` does so.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("dagster", "dagster-graphql", "dagster-pipes", "dagster-shared", "dagster-webserver")
TESTS = "tests/orchestration"


def available() -> list[str]:
    """Versions of Dagster that pip finds, the newest first.

    Raises:
        RuntimeError: pip finds none.
    """
    command = [sys.executable, "-m", "pip", "index", "versions", "dagster"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if match := re.search(r"Available versions: (.*)", done.stdout):
        return match[1].split(", ")
    raise RuntimeError(f"pip finds no Dagster: {done.stderr.strip()[-300:]}")


def minor(number: str) -> tuple[int, ...]:
    """Major and minor of a version."""
    return tuple(int(part) for part in number.split(".")[:2])


def install(number: str) -> Path | None:
    """Installs a version of all of Dagster's packages into a folder; None where one of them has no such version."""
    folder = REPOSITORY / ".dagster" / number
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(folder)]
    done = subprocess.run([*pip, *(f"{package}=={number}" for package in PACKAGES)], capture_output=True, check=False)
    return None if done.returncode else folder


def run_tests(folder: Path, arguments: list[str]) -> int:
    """Runs the orchestration tests with a folder's Dagster in front of the installed one; gives pytest's status."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}"}
    tests = [sys.executable, "-m", "pytest", "-m", "not long", *(arguments or [TESTS])]
    return subprocess.run(tests, cwd=REPOSITORY, env=environment, check=False).returncode


def main(arguments: list[str]) -> int:
    """Runs them, or says that none installs that is newer than the pinned minor version."""
    pinned = version("dagster")
    numbers = arguments[:1] or [number for number in available() if minor(number) > minor(pinned)]
    for number in numbers:
        if folder := install(number):
            print(f"Dagster {number}, where {pinned} is pinned:", flush=True)
            return run_tests(folder, arguments[1:])
    print(f"No Dagster installs of a later minor version than the pinned {pinned}: nothing more to run.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
