"""Interrupts that Python swallows are sent again, and print nothing."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys, time
from landcover_orch.interrupts import resend_lost

class Callback:
    def __del__(self):
        os.kill(os.getpid(), signal.{signal})

{setting}
Callback()  # what the signal raises in it, Python ignores
try:
    for _ in range(100):
        time.sleep(0.05)
except KeyboardInterrupt:
    sys.exit(7)
sys.exit(0)
"""


@pytest.mark.parametrize(
    ("number", "setting", "status"),
    [
        ("SIGINT", "resend_lost()", 7),
        (
            "SIGTERM",
            "from landcover_orch.training.distributed.process import end_when_asked\nend_when_asked()",
            128 + signal.SIGINT,
        ),
    ],
)
def test_what_is_lost_comes_again(number: str, setting: str, status: int) -> None:
    script = SCRIPT.format(signal=number, setting=setting)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")
