"""Solvers of dx/dsigma = v(x, sigma) from noise to data, on several streams at once.

A state is a mapping of stream name to tensor; `velocity(state, sigma)` gives a mapping of the same names.
Orders of accuracy, tested by regression: euler 1, heun 2, adams-bashforth 2 with one evaluation a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Literal

from jaxtyping import Float
from torch import Tensor

__all__ = ["Solver", "State", "integrate"]

State = Mapping[str, Tensor]
Solver = Literal["euler", "heun", "adams-bashforth"]


def _move(x: State, v: State, step: float | Tensor) -> dict[str, Tensor]:
    return {name: value + step * v[name] for name, value in x.items()}


def _mix(a: State, b: State, weight_a: float, weight_b: float) -> dict[str, Tensor]:
    return {name: weight_a * a[name] + weight_b * b[name] for name in a}


def integrate(velocity: Callable[[State, Tensor], State], x: State, sigmas: Float[Tensor, " levels"], *, solver: Solver = "euler",
              ) -> dict[str, Tensor]:
    """Carry `x` from sigmas[0] to sigmas[-1] and return it there."""
    last: tuple[State, float] | None = None
    state = dict(x)
    for here, there in pairwise(sigmas):
        step = float(there - here)
        v = velocity(state, here)
        match solver:
            case "euler":
                state = _move(state, v, step)
            case "heun":
                # the trapezoid needs the slope at the far end; at sigma = 0 that slope is defined only in the limit
                ahead = velocity(_move(state, v, step), there) if float(there) > 0 else v
                state = _move(state, _mix(v, ahead, 0.5, 0.5), step)
            case "adams-bashforth":
                ratio = step / last[1] if last else 0.0
                slope = _mix(v, last[0], 1 + ratio / 2, -ratio / 2) if last else v
                state, last = _move(state, slope, step), (v, step)
    return state
