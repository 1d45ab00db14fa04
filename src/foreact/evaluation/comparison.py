"""Two policies on the same episodes: the difference with its interval and test, or a refusal."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from foreact.contract.errors import ProtocolMismatchError
from foreact.evaluation.protocol import require_same
from foreact.evaluation.result import Result
from foreact.evaluation.statistics import PairedRates, Rate

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """first minus second, paired on (task, seed, condition). `tasks`: the same within each task."""

    first: Rate
    second: Rate
    pairs: PairedRates
    tasks: dict[str, PairedRates]
    across: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """As JSON data."""
        return {"n": self.pairs.n, "first": _rate(self.first), "second": _rate(self.second), "across": list(self.across),
                **_difference(self.pairs), "tasks": {task: _difference(pairs) for task, pairs in self.tasks.items()},
                "interval_method": "Newcombe's score interval for paired proportions, 95 %", "test": "exact McNemar, two-sided"}


def compare(first: Result, second: Result, *, across: Collection[str] = ()) -> Comparison:
    """Pair two results. Raises `ProtocolMismatchError` where protocols or episodes differ.

    across: top-level fields of the protocol that the comparison spans on purpose: `("condition",)` sets the clean part of a
    result beside its random part (`result.only(condition="clean")`), paired on (task, seed).
    """
    require_same(first.protocol, second.protocol, across=across)
    spans = "condition" in across
    if spans and max(len(first.conditions), len(second.conditions)) > 1:
        raise ProtocolMismatchError("each side must hold one condition", where="compare",
                                    found=f"{', '.join(first.conditions)} against {', '.join(second.conditions)}",
                                    next_step='narrow them: result.only(condition="clean")')
    ours, theirs = ({(r.task, r.seed, "" if spans else r.condition): r.success for r in result.episodes} for result in (first, second))
    if ours.keys() != theirs.keys():
        alone = sorted(ours.keys() ^ theirs.keys())
        raise ProtocolMismatchError("the two results hold different episodes", where="compare",
                                    found=f"{len(alone)} on one side only, first {alone[0]}", accepted="the same tasks and seeds",
                                    next_step="evaluate both on the same seeds")
    keys = sorted(ours)
    paired = {key: (ours[key], theirs[key]) for key in keys}
    tasks = {task: PairedRates.of([paired[k] for k in keys if k[0] == task]) for task in dict.fromkeys(k[0] for k in keys)}
    return Comparison(first=first.rate, second=second.rate, pairs=PairedRates.of(list(paired.values())), tasks=tasks,
                      across=tuple(across))


def _rate(rate: Rate) -> dict[str, Any]:
    return {"successes": rate.successes, "rate": rate.value, "interval": list(rate.interval)}


def _difference(pairs: PairedRates) -> dict[str, Any]:
    return {"difference": pairs.difference, "interval": list(pairs.interval()), "p_value": pairs.p_value,
            "only_first": pairs.only_first, "only_second": pairs.only_second, "both": pairs.both, "neither": pairs.neither}
