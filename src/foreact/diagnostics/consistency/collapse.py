"""Background collapse: a future in which nothing happens is easy to imagine, so a failure that stalls looks consistent (section 3.2).

    stalled at t     each of the last `patience` changes of what was seen lies below a floor
    floor            `share` of the median change of the task's successes

The rule looks at what was seen alone, since what matters is that the world stands still; how consistent the stalled stretch looks, and
whether it was imagined to stand still, is what is then asked of it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["stalled", "stillness"]


def stalled(changes: Float[np.ndarray, " step"], *, floor: float, patience: int = 3) -> Bool[np.ndarray, " step"]:
    """Whether an episode stands still, step by step; changes in order, one for each step at which something was imagined."""
    low = np.asarray(changes) < floor
    run = np.zeros(len(low), dtype=np.int64)
    for at, one in enumerate(low):
        run[at] = (run[at - 1] if at else 0) + 1 if one else 0
    return run >= patience


def stillness(changes: Float[np.ndarray, " step"], *, patience: int = 3) -> float:
    """The floor above which this episode would be called stalled somewhere; infinity where it is shorter than `patience`."""
    if len(changes) < patience:
        return float("inf")
    return float(np.lib.stride_tricks.sliding_window_view(np.asarray(changes), patience).max(axis=1).min())
