"""Numbers with their uncertainty. Rates and paired rates live in `contract.proportions`; here are means and percentiles.

Intervals of means are percentile bootstraps (Efron, 1979) with a fixed seed, so that a result read twice says the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.contract.proportions import PairedRates, Rate

__all__ = ["Mean", "PairedRates", "Percentiles", "Rate"]


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean of `n` values with its bootstrap interval [low, high]."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float], *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Mean:
        """Values are taken as independent; episodes are, steps of one episode are not."""
        x = np.asarray(values, dtype=np.float64)
        assert x.ndim == 1 and len(x) > 0, x.shape
        drawn = np.random.default_rng(seed).integers(0, len(x), (resamples, len(x)))
        tail = (1 - confidence) / 2
        low, high = np.quantile(x[drawn].mean(axis=1), [tail, 1 - tail])
        return cls(value=float(x.mean()), low=float(low), high=float(high), n=len(x))


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """Latencies: median, 95th percentile (linear between order statistics) and the worst, of `n` measurements."""

    p50: float
    p95: float
    worst: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Percentiles | None:
        """None where nothing was measured."""
        if not len(values):
            return None
        p50, p95, worst = np.quantile(np.asarray(values, dtype=np.float64), [0.5, 0.95, 1.0])
        return cls(p50=float(p50), p95=float(p95), worst=float(worst), n=len(values))
