"""The learning-rate factor over one stage."""

from __future__ import annotations

import math

from foreact.training.settings import Schedule

__all__ = ["learning_rate_factor"]


def learning_rate_factor(schedule: Schedule, *, step: int, progress: float) -> float:
    """Factor for step `step` (from 0) of a stage of whose budget `progress` (0 to 1) is spent.

    Warm-up is (step + 1) / warmup_steps, times the curve, so that both meet without a jump.
    """
    p = min(max(progress, 0.0), 1.0)
    match schedule.kind:
        case "constant":
            curve = 1.0
        case "linear":
            curve = 1.0 - p
        case "cosine":
            curve = 0.5 * (1.0 + math.cos(math.pi * p))
        case "constant-then-linear":
            held = schedule.constant_fraction
            curve = 1.0 if p <= held else (1.0 - p) / (1.0 - held)
    if schedule.kind != "constant":
        curve = schedule.final + (1.0 - schedule.final) * curve
    warm = min(1.0, (step + 1) / schedule.warmup_steps) if schedule.warmup_steps > 0 else 1.0
    return warm * curve
