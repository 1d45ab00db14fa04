"""A monitor for deployment: two running scores of what was imagined against what came, and alarms at a stated rate of false ones.

An imagined frame that came due has a distance d to what was seen, the change c of what was seen from plan to frame, the change i that was
imagined, and the motion m that the plan commanded until then. Of successful episodes it is learnt, for each offset by itself,

    log d ~ a + b log c + s e        e of unit deviation, log c clipped to its range there

so that what moves fast is allowed to be imagined worse, and no stage of a task has an expectation of its own. From then on,

    mismatch   S <- max( 0, S + z - slack ),  z = (log d - a - b log c) / s, its mean over the frames due at a step (a one-sided CUSUM)
    collapse   R <- R + 1 where every frame due stood still, was imagined to stand still, and the plan commanded motion; else R <- 0
               still and moving: below, and above, the `tail` quantile of the successes

Both stand in multiples of their thresholds, so an alarm is where one rises above 1. Thresholds come from successes that had no part in the
fit (split conformal prediction): with M_j the most that either score reached in episode j, in multiples of its level over the fitted
episodes, both are raised by M_(k), the k-th smallest of n, k = ceil( (n + 1) (1 - rate) ). A fresh success, exchangeable with those,
raises any alarm with probability `rate` at most; k <= n needs n >= 1 / rate - 1, and fewer are refused. The probability is over draws of
the n episodes too: for one set of them, the rate lies about `rate` with a deviation of about sqrt( rate (1 - rate) / n ).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, Protocol

import numpy as np

from foreact.contract.config import encode
from foreact.contract.errors import ConfigError, DatasetError
from foreact.contract.storage import significant

__all__ = ["KINDS", "Alarm", "AlarmKind", "Calibration", "Expected", "Frame", "Monitor", "Score", "calibrate", "needed"]

AlarmKind = Literal["mismatch", "collapse"]
KINDS: tuple[AlarmKind, ...] = ("mismatch", "collapse")
_LEAST_FITTED, _LEAST_SPREAD, _FLOOR = 5, 0.05, 1e-3
"""Episodes to learn an expectation from; the least deviation of log d; below this share of the median change, all is the same."""


class Frame(Protocol):
    """An imagined frame that came due, as evaluations keep it: imagined at `step` for `step + offset`."""

    step: int
    offset: int
    distance: float
    change: float
    imagined: float | None
    motion: float | None


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """At `step`, before the action there, `kind` rose above its threshold, to `score` times of it."""

    step: int
    kind: AlarmKind
    score: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """Both scores after the frames due at `step`, in multiples of their thresholds."""

    step: int
    mismatch: float
    collapse: float


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Of successes, for frames `offset` steps ahead. base, slope, spread: a, b, s above; low, high: the range of log c.

    still, imagined_still: the change below which the world, or what was imagined of it, stands still; moving: the least motion commanded.
    """

    offset: int
    base: float
    slope: float
    spread: float
    low: float
    high: float
    still: float
    imagined_still: float
    moving: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a monitor knows. policy: the content of what it was calibrated for; distance: what d is; rate: of false alarms, at most.

    fitted, held_out: successful episodes that taught the expectation, and the thresholds. seeds: of all of them, rising. floor: of d and c.
    mismatch, collapse: the thresholds, in units of the scores themselves.
    """

    policy: str
    distance: str
    rate: float
    fitted: int
    held_out: int
    seeds: tuple[int, ...]
    expected: tuple[Expected, ...]
    floor: float
    slack: float
    mismatch: float
    collapse: float

    @property
    def fingerprint(self) -> str:
        """16 hex digits of all that it knows."""
        return hashlib.sha256(json.dumps(encode(self), sort_keys=True).encode()).hexdigest()[:16]

    def require_for(self, policy: str, distance: str, where: str) -> None:
        """Raise `ConfigError` where this was calibrated for something else."""
        for name, ours, theirs in (("policy", self.policy, policy), ("distance", self.distance, distance)):
            if ours != theirs:
                raise ConfigError(f"this monitor was calibrated for another {name}", where=where, found=ours, accepted=theirs,
                                  next_step="foreact monitor calibrate RUN --evaluation NAME, of this run and distance")


class Monitor:
    """Follows one episode. Every alarm is the rise of a score above its threshold; it must fall back before it can rise again."""

    def __init__(self, calibration: Calibration) -> None:
        self._known = calibration
        self._expected = {one.offset: one for one in calibration.expected}
        self._sum, self._still = 0.0, 0
        self._above = dict.fromkeys(KINDS, False)
        self.scores: list[Score] = []
        self.alarms: list[Alarm] = []

    def see(self, step: int, frames: Sequence[Frame]) -> tuple[Alarm, ...]:
        """What the frames that are due at `step` raise."""
        if not frames:
            return ()
        z = sum(surprise(one, self._expected[one.offset], self._known.floor) for one in frames) / len(frames)
        self._sum = max(0.0, self._sum + z - self._known.slack)
        self._still = self._still + 1 if all(stalled(one, self._expected[one.offset]) for one in frames) else 0
        now = {"mismatch": self._sum / self._known.mismatch, "collapse": self._still / self._known.collapse}
        raised = tuple(Alarm(step=step, kind=kind, score=significant(now[kind]))
                       for kind in KINDS if now[kind] > 1 and not self._above[kind])
        self._above = {kind: now[kind] > 1 for kind in KINDS}
        self.scores.append(Score(step=step, **{kind: significant(score) for kind, score in now.items()}))
        self.alarms.extend(raised)
        return raised

    def restart(self) -> None:
        """What was imagined leads elsewhere: nothing that came counts any more. What was told stays."""
        self._sum, self._still, self._above = 0.0, 0, dict.fromkeys(KINDS, False)


def surprise(frame: Frame, of: Expected, floor: float) -> float:
    """z of one frame."""
    change = min(max(math.log(max(frame.change, floor)), of.low), of.high)
    return (math.log(max(frame.distance, floor)) - of.base - of.slope * change) / of.spread


def stalled(frame: Frame, of: Expected) -> bool:
    """Whether the world stood still, and the imagined one, while the plan commanded motion."""
    assert frame.imagined is not None and frame.motion is not None, "calibration refuses records without them"
    return frame.change < of.still and frame.imagined < of.imagined_still and frame.motion > of.moving


# --- calibration ------------------------------------------------------------------------------------------------------

def needed(rate: float) -> int:
    """Held-out successes without which no threshold has this rate of false alarms."""
    return math.ceil(1 / rate - 1 - 1e-9)


def calibrate(episodes: Sequence[tuple[int, Sequence[Frame]]], *, policy: str, distance: str, rate: float = 0.05, slack: float = 1.0,
              tail: float = 0.05) -> Calibration:
    """From (seed, frames) of successful episodes; every second one teaches the expectation, the others the thresholds.

    Raises `ConfigError` for a rate out of range, `DatasetError` where there are too few episodes for it, or frames lack what is needed.
    """
    if not 0 < rate < 1:
        raise ConfigError("a rate of false alarms lies between 0 and 1", where="false_alarms", found=rate, accepted="for instance 0.05")
    told = [(seed, frames) for seed, frames in episodes if frames]
    fitted, held = told[::2], told[1::2]
    if len(held) < needed(rate) or len(fitted) < _LEAST_FITTED:
        least = max(2 * needed(rate), 2 * _LEAST_FITTED - 1)
        raise DatasetError("too few successful episodes for this rate of false alarms", where="evaluation",
                           found=f"{len(told)} in which a frame came due, of which {len(held)} are held out for the thresholds",
                           accepted=f"{least} or more for a rate of {rate:g}",
                           next_step="evaluate more seeds (seeds_per_task=...), or state a higher rate")
    if any(one.imagined is None or one.motion is None for _, frames in told for one in frames):
        raise DatasetError("these episodes do not say how much motion was imagined and commanded", where="evaluation",
                           found="records of an earlier version", next_step="evaluate again: foreact eval RUN consistency=latent")
    learnt = [one for _, frames in fitted for one in frames]
    floor = _FLOOR * float(np.median([one.change for one in learnt])) or _FLOOR
    known = {"policy": policy, "distance": distance, "rate": rate, "fitted": len(fitted), "held_out": len(held),
             "seeds": tuple(sorted({seed for seed, _ in told})), "floor": floor, "slack": slack,
             "expected": tuple(_expected(offset, [one for one in learnt if one.offset == offset], floor, tail)
                               for offset in sorted({one.offset for one in learnt}))}
    plain = Calibration(**known, mismatch=1.0, collapse=1.0)
    first = [_most(plain, frames) for _, frames in fitted]
    level = Calibration(**known, mismatch=max(float(np.quantile([m for m, _ in first], 1 - rate)), 1.0),
                        collapse=max(*(c for _, c in first), 1.0))
    most = sorted(max(_most(level, frames)) for _, frames in held)
    raised = most[math.ceil((len(held) + 1) * (1 - rate) - 1e-9) - 1]
    raised = max(raised, 1 / level.mismatch)  # a threshold of nothing would be crossed by nothing
    return Calibration(**known, mismatch=raised * level.mismatch, collapse=raised * level.collapse)


def due(frames: Iterable[Frame]) -> list[tuple[int, list[Frame]]]:
    """Frames by the step at which they came due, in order."""
    def when(one: Frame) -> int:
        return one.step + one.offset

    return [(step, list(group)) for step, group in groupby(sorted(frames, key=when), key=when)]


def _most(known: Calibration, frames: Sequence[Frame]) -> tuple[float, float]:
    """The most that each score reaches in an episode."""
    monitor = Monitor(known)
    for step, group in due(frames):
        monitor.see(step, group)
    return max(one.mismatch for one in monitor.scores), max(one.collapse for one in monitor.scores)


def _expected(offset: int, frames: Sequence[Frame], floor: float, tail: float) -> Expected:
    distance, change = (np.log(np.maximum([getattr(one, name) for one in frames], floor)) for name in ("distance", "change"))
    centred = change - change.mean()
    slope = float((centred * distance).sum() / max((centred ** 2).sum(), 1e-12))
    base = float(distance.mean() - slope * change.mean())
    spread = float(np.std(distance - base - slope * change))

    def low(name: str) -> float:
        return float(np.quantile([getattr(one, name) for one in frames], tail))

    return Expected(offset=offset, base=base, slope=slope, spread=max(spread, _LEAST_SPREAD), low=float(change.min()),
                    high=float(change.max()), still=low("change"), imagined_still=low("imagined"), moving=low("motion"))
