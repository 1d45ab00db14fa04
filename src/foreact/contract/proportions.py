"""Success rates with their uncertainty: one rate, and two rates measured on the same seeds.

Sources: Wilson (1927) for one proportion; the exact McNemar test (binomial on the discordant pairs); for the difference of
paired proportions Newcombe's square-and-add interval (1998, Statistics in Medicine 17, 2635-2650), phi without continuity
correction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

__all__ = ["PairedRates", "Rate", "rate_of"]


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """`successes` of `n` trials, with the Wilson score interval [low, high]."""

    successes: int
    n: int
    confidence: float = 0.95

    def __post_init__(self) -> None:
        assert 0 <= self.successes <= self.n and self.n > 0, (self.successes, self.n)

    @classmethod
    def of(cls, outcomes: Sequence[bool]) -> Rate:
        return cls(successes=sum(outcomes), n=len(outcomes))

    @property
    def value(self) -> float:
        return self.successes / self.n

    @property
    def interval(self) -> tuple[float, float]:
        z, n, p = _z(self.confidence), self.n, self.value
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (0.0 if self.successes == 0 else centre - half, 1.0 if self.successes == n else centre + half)

    def told(self, counted: str = "successes") -> dict[str, Any]:
        """With the interval, as JSON has it; `counted` is the word for what came true."""
        return {"n": self.n, counted: self.successes, "rate": self.value, "interval": list(self.interval)}


def rate_of(outcomes: Iterable[bool], counted: str) -> dict[str, Any] | None:
    """`Rate.told` of these; None of none."""
    kept = [bool(each) for each in outcomes]
    return Rate.of(kept).told(counted) if kept else None


@dataclass(frozen=True, kw_only=True)
class PairedRates:
    """Two policies on the same trials, counted by who succeeded."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, pairs: Sequence[tuple[bool, bool]]) -> PairedRates:
        """From (first succeeded, second succeeded) per trial."""
        count = {cell: sum(1 for pair in pairs if pair == cell) for cell in ((True, True), (True, False), (False, True), (False, False))}
        return cls(both=count[True, True], only_first=count[True, False], only_second=count[False, True], neither=count[False, False])

    @property
    def n(self) -> int:
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float:
        """Rate of the first minus rate of the second."""
        return (self.only_first - self.only_second) / self.n

    @property
    def p_value(self) -> float:
        """Exact two-sided McNemar: how likely so lopsided a split of the discordant pairs is if neither policy is better."""
        discordant = self.only_first + self.only_second
        tail = sum(math.comb(discordant, k) for k in range(min(self.only_first, self.only_second) + 1))
        return min(1.0, 2 * tail / 2**discordant)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Newcombe's score interval of `difference`, from the two Wilson intervals and the correlation of the pairs."""
        first = Rate(successes=self.both + self.only_first, n=self.n, confidence=confidence)
        second = Rate(successes=self.both + self.only_second, n=self.n, confidence=confidence)
        (l1, u1), (l2, u2), p1, p2 = first.interval, second.interval, first.value, second.value
        margins = math.prod((first.successes, self.n - first.successes, second.successes, self.n - second.successes))
        determinant = self.both * self.neither - self.only_first * self.only_second
        phi = determinant / math.sqrt(margins) if margins else 0.0

        def distance(a: float, b: float) -> float:
            return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))

        return (max(self.difference - distance(p1 - l1, u2 - p2), -1.0), min(self.difference + distance(u1 - p1, p2 - l2), 1.0))
