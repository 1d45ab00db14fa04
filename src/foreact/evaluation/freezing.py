"""A robot that stops moving halfway, whatever its policy says: failures that are known to have stalled, to try detectors of stalling on.

From control step ceil(share horizon) on, the executed action is zero motion where actions are displacements, with the gripper as it was
last told; where actions are absolute it is the last action again. Nothing is drawn: the same seeds do the same until there. The policy is
asked as before and sees what its robot does; its plans, and so what is recorded of them, are no longer what is done.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from foreact.contract.specs import ActionSpec

__all__ = ["freezing_rule", "freezing_step", "held_action"]


def freezing_step(share: float, horizon: int) -> int:
    """The first step that is frozen."""
    return math.ceil(share * horizon - 1e-9)  # 0.3 of 10 is three, whatever the last bit says


def freezing_rule(spec: ActionSpec) -> str:
    """What the robot then does, for the protocol."""
    return "zero motion, gripper kept" if spec.reference == "delta" else "last action"


def held_action(last: Float[np.ndarray, " action"], spec: ActionSpec) -> Float[np.ndarray, " action"]:
    """What holds the robot where `last` left it."""
    if spec.reference == "absolute":
        return last
    still = np.zeros_like(last)
    if spec.gripper is not None:
        still[spec.gripper.index] = last[spec.gripper.index]
    return still
