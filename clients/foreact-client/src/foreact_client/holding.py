"""What a robot is told while there is nothing to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["holding_still"]


def holding_still(metadata: Mapping[str, Any], last: np.ndarray | None, seen: Mapping[str, Any]) -> np.ndarray:
    """The action that holds a robot of these specs where it is. last: its last action, None before the first; seen: its last look.

    Zero motion where actions are displacements, with the gripper kept as it was last told; where they are absolute the last action again,
    and before the first one the state's entries of the same names. Raises `ValueError` where the state has none.
    """
    action, state = metadata["action"], metadata["observation"]["state"]
    if action["reference"] == "delta":
        still = np.zeros(len(action["names"]), np.float32)
        if last is not None and action["gripper"] is not None:
            still[action["gripper"]["index"]] = last[action["gripper"]["index"]]
        return still
    if last is not None:
        return last
    entries = dict(zip(state["names"], seen["state"], strict=True))
    missing = sorted(set(action["names"]) - set(entries))
    if missing:
        raise ValueError(f"nothing says how this robot holds still: its state has no {', '.join(missing)}")
    return np.clip(np.float32([entries[name] for name in action["names"]]), action["low"], action["high"]).astype(np.float32)
