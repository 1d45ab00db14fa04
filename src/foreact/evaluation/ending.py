"""Worker processes are ended for certain, and their channels with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from typing import Any

__all__ = ["end"]

_PATIENCE = 10.0


def end(processes: Sequence[BaseProcess], channels: Iterable[Queue[Any]]) -> None:
    """Asked first, then, since on a busy machine a graphics library can take its time to let go, killed."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(timeout=_PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
    for channel in channels:
        channel.cancel_join_thread()
        channel.close()
