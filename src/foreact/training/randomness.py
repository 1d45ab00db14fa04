"""Every random number of training follows from (seed, step, part of the batch): nothing is drawn from a running state.

So a resumed run needs no generator's state to be bit-exact, validation and logging cannot disturb training, and the
number of processes does not change the noise that a part of the batch is given.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["derived_seed", "preserved", "seed_everything"]


def derived_seed(*words: int) -> int:
    """A 63-bit seed from non-negative integers; different words give unrelated seeds."""
    high, low = np.random.SeedSequence(words).generate_state(2)
    return (int(high) << 31) ^ int(low)


def seed_everything(seed: int) -> torch.Generator:
    """Seed the global generators of Python, numpy and torch (all devices), and return one of its own on the CPU."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed ^ 0x5DEECE66D)


@contextmanager
def preserved() -> Iterator[None]:
    """Give the caller's global generators back as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(numpy)
