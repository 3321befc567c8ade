"""Interrupts that Python swallows: Ctrl-C or SIGTERM that comes while a callback of the garbage collector runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

AGAIN_S = 0.05
"""Seconds after which a lost interrupt is sent again."""


def resend_lost(on_lost: Callable[[], object] = lambda: None) -> None:
    """Sends an interrupt again that was raised where Python ignores exceptions (`sys.unraisablehook`), and prints none.

    A signal handler raises wherever the main thread is: in a `__del__` or the callback of a weak reference the
    exception is printed, and the process goes on as if nobody had asked it to end.

    Args:
        on_lost: called before it is sent again.
    """

    def hook(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt | SystemExit):
            on_lost()
            again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), signal.SIGINT))
            again.daemon = True
            with contextlib.suppress(RuntimeError):  # the interpreter is ending as it is
                again.start()
        else:
            sys.__unraisablehook__(unraisable)

    sys.unraisablehook = hook
