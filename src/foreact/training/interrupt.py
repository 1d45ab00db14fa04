"""Ctrl-C and SIGTERM ask training to stop at the next step; a second one stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from foreact.contract.progress import say

__all__ = ["Interrupted", "StopRequest", "stop_on_signals"]


class Interrupted(KeyboardInterrupt):
    """Training stopped on request after writing a checkpoint. `exit_code` is what the command line returns."""

    exit_code = 130

    def __init__(self, message: str) -> None:
        super().__init__(message)


class StopRequest:
    """Whether someone asked to stop."""

    def __init__(self) -> None:
        self.made = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        if self.made:
            raise KeyboardInterrupt
        self.made = True
        say("stopping after this step and writing a checkpoint; once more stops at once")


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Listen while the block runs; in a thread other than the main one signals cannot be heard and stay as they are."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
