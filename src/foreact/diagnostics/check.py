"""One claim about a model with the figures that it rests on; a check can fail, and says by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = ["Check", "bootstrap_mean"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """`holds`: True, False, or None where the claim is not made for such a model. `says`: the finding in one sentence."""

    name: str
    holds: bool | None
    says: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> dict[str, Any]:
        """As JSON data."""
        return {"name": self.name, "holds": self.holds, "says": self.says, "figures": dict(self.figures)}


def bootstrap_mean(values: Sequence[float] | Float[np.ndarray, " n"], *, draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Mean with a 95 % percentile interval over resampled windows."""
    values = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    means = values[generator.integers(0, len(values), (draws, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)
