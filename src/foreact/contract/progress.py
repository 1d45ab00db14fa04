"""Progress with time left on standard error; one line now and then when it is not a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["Meter", "meter", "say", "track"]

T = TypeVar("T")
_LINE_EVERY = 15.0


def say(text: str) -> None:
    """One line for a person, on standard error, so that standard output stays machine-readable."""
    print(text, file=sys.stderr, flush=True)


class Meter:
    """What `meter` yields: `advance(n, note)` moves the bar."""

    def __init__(self, description: str, total: float, bar: Progress | None) -> None:
        self._description, self._total, self._bar = description, total, bar
        self._done, self._start, self._said = 0.0, time.monotonic(), time.monotonic()
        self._task = bar.add_task(description, total=total, note="") if bar else None

    def advance(self, amount: float = 1, note: str | None = None) -> None:
        self.at(self._done + amount, note)

    def at(self, done: float, note: str | None = None) -> None:
        """Move to `done` of the total; `note` is shown behind the bar."""
        self._done = done
        if self._bar is not None and self._task is not None:
            fields = {} if note is None else {"note": note}
            self._bar.update(self._task, completed=done, **fields)
            return
        now = time.monotonic()
        if now - self._said >= _LINE_EVERY and done > 0:
            self._said = now
            left = (now - self._start) / done * max(self._total - done, 0)
            say(f"{self._description}: {done:.0f}/{self._total:.0f}, {left:.0f} s left{'  ' + note if note else ''}")


@contextmanager
def meter(description: str, total: float) -> Iterator[Meter]:
    """A bar with time left: `with meter("training", steps) as m: m.advance(1, "loss 0.1")`."""
    if not sys.stderr.isatty():
        yield Meter(description, total, None)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"),
               TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield Meter(description, total, bar)


def track(items: Iterable[T], *, description: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a bar."""
    count = total if total is not None else len(items)  # type: ignore[arg-type]
    with meter(description, count) as m:
        for item in items:
            yield item
            m.advance()
