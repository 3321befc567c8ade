"""`python -m tests.cases.stand_in PRODUCT LOOKS`: stands in for a training process that has trained PRODUCT.

It reports it to Dagster as a training does, each line of its messages in two halves; between them it waits until the
reader, which writes a byte to LOOKS at each look, has looked at the first. Without LOOKS it ends without a message.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from dagster_pipes import PipesFileMessageWriterChannel, PipesMessage, open_dagster_pipes

POLL_S, PATIENCE_S = 0.02, 60


def wait_for_a_look(looks: Path) -> None:
    """Returns once a look that began after the call has ended."""
    seen, deadline = looks.stat().st_size, time.monotonic() + PATIENCE_S
    while looks.stat().st_size < seen + 2:
        if time.monotonic() > deadline:
            sys.exit("nobody looks at the messages")
        time.sleep(POLL_S)


def main(path: Path, looks: Path) -> None:
    """Reports a product."""
    from landcover_orch.store import publish
    from landcover_orch.training.__main__ import Pipes

    def write_halves(channel: PipesFileMessageWriterChannel, message: PipesMessage) -> None:
        line = json.dumps(message) + "\n"
        for part in (line[: len(line) // 2], line[len(line) // 2 :]):
            with Path(channel._path).open("a", encoding="utf-8") as file:
                file.write(part)
            wait_for_a_look(looks)

    PipesFileMessageWriterChannel.write_message = write_halves
    with open_dagster_pipes() as context:
        reporter = Pipes(context)
        reporter.line("epoch 1 of 1: trained elsewhere")
        reporter.done(publish.load(path), None)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
