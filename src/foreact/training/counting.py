"""Floating-point operations of what runs in a block: matrix products, convolutions and attention, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["counted"]


@contextmanager
def counted(wanted: bool = True) -> Iterator[Callable[[], float]]:
    """Gives a function that says how many there were; 0 where they are not wanted. A product of n x k and k x m counts 2 n k m."""
    if not wanted:
        yield lambda: 0.0
        return
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as mode:
        yield lambda: float(mode.get_total_flops())
