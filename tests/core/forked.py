"""Run code in a forked child, which must end in time."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable


def passes_in_a_forked_child(check: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether `check` ends in a forked child, in time and without an exception."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks beside threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            check()
            status = 0
        finally:
            os._exit(status)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False
