"""Solvers of dx/dsigma = v(x, sigma) from noise to data, on several streams at once.

A state is a mapping of stream name to tensor; `velocity(state, sigma)` gives a mapping of the same names, sigma being the
level of every stream. Streams may walk down from noise at different times: action before video, or one of them not at all.
Orders of accuracy, tested by regression: euler 1, heun 2, adams-bashforth 2 with one evaluation a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor

__all__ = ["Levels", "Solver", "State", "integrate"]

State = Mapping[str, Tensor]
Levels = Mapping[str, Tensor]
Solver = Literal["euler", "heun", "adams-bashforth"]


def _move(x: State, v: State, step: Mapping[str, float]) -> dict[str, Tensor]:
    return {name: value + step[name] * v[name] for name, value in x.items()}


def _mix(a: State, b: State, weight_a: Mapping[str, float], weight_b: Mapping[str, float]) -> dict[str, Tensor]:
    return {name: weight_a[name] * a[name] + weight_b[name] * b[name] for name in a}


def integrate(velocity: Callable[[State, Levels], State], x: State,
              sigmas: Float[Tensor, " levels"] | Mapping[str, Float[Tensor, " levels"]], *, solver: Solver = "euler") -> dict[str, Tensor]:
    """Carry `x` from sigmas[0] to sigmas[-1] and return it there.

    sigmas: one schedule for all streams, or one each, all of one length; a stream stands still where its level does.
    """
    plan = {name: sigmas[name] if isinstance(sigmas, Mapping) else sigmas for name in x}
    last: tuple[State, dict[str, float]] | None = None
    state = dict(x)
    for index in range(len(next(iter(plan.values()))) - 1):
        here, there = ({name: levels[i] for name, levels in plan.items()} for i in (index, index + 1))
        step = {name: float(there[name] - here[name]) for name in plan}
        v = velocity(state, here)
        match solver:
            case "euler":
                state = _move(state, v, step)
            case "heun":
                # the trapezoid needs the slope at the far end; at sigma = 0 that slope is defined only in the limit
                ahead = velocity(_move(state, v, step), there) if any(float(s) > 0 for s in there.values()) else v
                ahead = {name: ahead[name] if float(there[name]) > 0 else v[name] for name in v}
                half = dict.fromkeys(v, 0.5)
                state = _move(state, _mix(v, ahead, half, half), step)
            case "adams-bashforth":
                ratio = {name: step[name] / last[1][name] if last and last[1][name] else 0.0 for name in step}
                slope = v
                if last:
                    slope = _mix(v, last[0], {n: 1 + r / 2 for n, r in ratio.items()}, {n: -r / 2 for n, r in ratio.items()})
                state, last = _move(state, slope, step), (v, step)
    return state
