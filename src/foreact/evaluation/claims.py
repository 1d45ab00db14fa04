"""Claims about two arms of a study and the rule by which each is judged, fixed before anything is run.

Every arm is trained from several seeds and each of these is run on the same episodes, so pairs stand within a training seed. Two
things vary, and an interval must hold both:

    between trainings   d_s, the difference within training seed s;  mean(d) +- t_{k-1} sd(d) / sqrt(k)        (Student, k seeds)
    between episodes    Newcombe's interval for paired proportions, all trainings together

The interval used is the wider of the two on each side. The rule, with `low` and `high` its ends and D the source's own difference:

    "better"     reproduced: low > 0;         not reproduced: high < D / 2 (high < 0 where the source gives no figure)
    "no worse"   reproduced: low > -margin;   not reproduced: high < -margin
    "same"       reproduced: low > -margin and high < margin;   not reproduced: high < -margin or low > margin

and otherwise undecided at this size. A claim about a measure that every training gives once has the first interval alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from foreact.contract.errors import ConfigError
from foreact.evaluation.statistics import PairedRates

__all__ = ["Claim", "Finding", "Pairs", "difference", "measured", "verdict"]

Verdict = Literal["reproduced", "not reproduced", "undecided at this size"]
Pairs = Sequence[tuple[bool, bool]]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the source says of two arms. paper: its own difference, first minus second, as a share; None where it gives no figure.

    margin: of "no worse" and "same", the difference that still counts as none. measure: what is compared in place of success.
    than: the number that a measure of `first` is compared with where there is no second arm, such as what chance gives.
    """

    says: str
    first: str
    second: str = ""
    than: float | None = None
    condition: str = ""
    measure: str = ""
    kind: Literal["better", "no worse", "same"] = "better"
    paper: float | None = None
    margin: float | None = None

    def __post_init__(self) -> None:
        if (self.kind == "better") != (self.margin is None):
            raise ConfigError("a claim of no difference has a margin, and only such a claim", where="claim", found=self)
        if bool(self.condition) == bool(self.measure):
            raise ConfigError("a claim is about success under a condition, or about a measure", where="claim", found=self)
        if (self.than is None) != bool(self.second) or (self.than is not None and not self.measure):
            raise ConfigError("a claim compares two arms, or a measure of one with a number", where="claim", found=self)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """First minus second, with the wider of two intervals; `by_seed`: within each training seed."""

    difference: float
    low: float
    high: float
    by_seed: tuple[float, ...]
    pairs: PairedRates | None = None

    def summary(self) -> dict[str, Any]:
        """As JSON data."""
        episodes = {} if self.pairs is None else {"pairs": self.pairs.n, "p_value": self.pairs.p_value}
        return {"difference": self.difference, "interval": [self.low, self.high], "by_training_seed": list(self.by_seed), **episodes}


def difference(pairs: Mapping[int, Pairs]) -> Finding:
    """`pairs`: by training seed, the outcomes of both arms on each episode. Raises `ConfigError` for fewer than two seeds."""
    by_seed = np.array([PairedRates.of(list(each)).difference for each in pairs.values()])
    mean, half = _between(by_seed)
    pooled = PairedRates.of([pair for each in pairs.values() for pair in each])
    low, high = pooled.interval()
    return Finding(difference=mean, low=max(-1.0, min(mean - half, low)), high=min(1.0, max(mean + half, high)),
                   by_seed=tuple(by_seed.tolist()), pairs=pooled)


def measured(by_seed: Sequence[float]) -> Finding:
    """`by_seed`: first minus second of one measure within each training seed. Raises `ConfigError` for fewer than two."""
    mean, half = _between(np.array(by_seed))
    return Finding(difference=mean, low=mean - half, high=mean + half, by_seed=tuple(by_seed))


def _between(by_seed: np.ndarray) -> tuple[float, float]:
    """Mean, and half of Student's interval."""
    from scipy import stats

    if len(by_seed) < 2:
        raise ConfigError("one training says nothing about how much trainings differ", where="training_seeds", found=len(by_seed),
                          accepted="2 or more; 3 for a claim")
    return float(by_seed.mean()), float(stats.t.ppf(0.975, len(by_seed) - 1) * by_seed.std(ddof=1) / np.sqrt(len(by_seed)))


def verdict(claim: Claim, found: Finding) -> Verdict:
    """By the rule above."""
    margin = claim.margin or 0.0
    match claim.kind:
        case "better":
            holds, fails = found.low > 0, found.high < (claim.paper or 0.0) / 2
        case "no worse":
            holds, fails = found.low > -margin, found.high < -margin
        case "same":
            holds, fails = found.low > -margin and found.high < margin, found.high < -margin or found.low > margin
    return "reproduced" if holds else "not reproduced" if fails else "undecided at this size"
