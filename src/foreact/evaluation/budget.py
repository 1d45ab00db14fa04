"""Accuracy at budget: what is said of one point of a grid beside its success (survey, section 7.7), and which points no other beats.

Sustained horizon. Of n episodes let T_i be the step at which episode i was solved, infinite where it was not. Among those still running
after h steps, the share that is solved yet is

    q(h) = #{i : h < T_i < inf} / #{i : T_i > h},        H = min {h >= 0 : q(h) < 1/2},

the steps for which going on with the policy is at least an even bet, where the horizon of the evaluation cuts off; a policy that solves
less than half of its episodes has H = 0. q is told with the number it is a share of, for few episodes run long.

Fronts. A point is on the front where no other is at least as successful and at least as fast, and better in one of the two.

The baseline at equal latency is the best of its points that are no slower: what the same time buys without imagining a future.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from foreact.envs.touch import ENDINGS
from foreact.evaluation.rollout import EpisodeRecord

__all__ = ["Sustained", "at_equal_latency", "failures", "front", "sustained"]


@dataclass(frozen=True, kw_only=True)
class Sustained:
    """steps: H; running: episodes that were still running then; shares: (h, q(h), running) wherever q changes."""

    steps: int
    running: int
    shares: tuple[tuple[int, float, int], ...]


def sustained(records: Sequence[EpisodeRecord]) -> Sustained:
    """H of these episodes, by the equation above; an episode that is solved ends at its first success."""
    solved = sorted(record.steps for record in records if record.success)
    shares, horizon = [], None
    for h in (0, *sorted(set(solved))):
        left, running = sum(t > h for t in solved), len(records) - sum(t <= h for t in solved)
        share = left / running if running else 0.0
        shares.append((h, share, running))
        if horizon is None and share < 0.5:
            horizon = (h, running)
    steps, running = horizon if horizon is not None else (0, len(records))
    return Sustained(steps=steps, running=running, shares=tuple(shares))


def failures(records: Iterable[EpisodeRecord]) -> dict[str, int]:
    """Of the episodes that were not solved: how each stood at its end with what the task acts on; "unknown" where nobody could feel."""
    found = Counter("unknown" if r.touch is None else r.touch.ending(r.steps) for r in records if not r.success)
    return {name: found[name] for name in (*ENDINGS, "unknown") if found[name] or name != "unknown"}


class Placed(Protocol):
    """A point in the plane of latency and success."""

    @property
    def ms(self) -> float: ...

    @property
    def success(self) -> float: ...


P = TypeVar("P", bound=Placed)


def front(points: Sequence[P]) -> list[P]:
    """The points that no other beats, fastest first; of equals the first is kept."""
    kept: list[P] = []
    for point in sorted(points, key=lambda p: (p.ms, -p.success)):
        if not kept or point.success > kept[-1].success:
            kept.append(point)
    return kept


def at_equal_latency(points: Sequence[P], ms: float) -> P | None:
    """The most successful of those that take at most `ms`, the fastest of equals; None where all are slower."""
    able: list[Any] = [point for point in points if point.ms <= ms]
    return min(able, key=lambda p: (-p.success, p.ms)) if able else None
