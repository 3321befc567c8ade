"""Progress of a materialisation: a bar with what is left on a terminal, lines alone in a file."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from tests import tiny

COMMAND = """
import sys
from assets import instance
from assets.materialise import materialise
from landcover_orch import config
with instance.opened() as dagster:
    materialise(dagster, config.load_dataset("tiny"), ("ground_truth",), force=sys.argv[1:])
"""


def test_a_terminal_shows_a_bar_and_a_file_none(configs: Path, home: Path, tmp_path: Path) -> None:
    tiny.write(configs, tmp_path / "raw")
    command = [sys.executable, "-W", "ignore", "-c", COMMAND]
    in_file = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ground_truth t0, t1, t2" in in_file.stdout
    assert "\x1b" not in in_file.stdout + in_file.stderr
    assert "products" not in in_file.stdout
    shown = on_terminal([*command, "ground_truth/t1"])
    assert "ground_truth t1" in shown, "lines stand above the bar"
    assert re.search(r"products .*2/3.*min left", shown), "two are current, one of three is built again"


def on_terminal(command: list[str]) -> str:
    """What a command writes to a terminal, without its colours."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 4096):
            written += part
    except OSError:  # the terminal's other end is closed
        pass
    assert process.wait() == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode(errors="replace"))
