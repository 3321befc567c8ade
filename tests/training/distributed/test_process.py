"""Training process: asked to end, it ends once, whatever comes behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from landcover_orch.training.distributed.process import ASKED, end_when_asked, require_not_asked


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hook = sys.unraisablehook  # that of `resend_lost` would interrupt a later test
    yield
    sys.unraisablehook = hook
    ASKED.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_behind_the_first_one_are_ignored_where_lightning_has_put_the_handler_back() -> None:
    end_when_asked()
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        os.kill(os.getpid(), signal.SIGINT)
    assert ended.value.code == 128 + signal.SIGINT
    signal.signal(signal.SIGINT, handler)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_training_whose_interrupt_was_swallowed_ends_at_its_next_step() -> None:
    require_not_asked()
    end_when_asked()
    with contextlib.suppress(SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        require_not_asked()
    assert ended.value.code == 128 + signal.SIGTERM
