"""Options by which a person states what the numbers of a foreign dataset mean; nothing is guessed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from foreact.cli.parsing import Parser, choice

if TYPE_CHECKING:
    from foreact.data.lerobot import StatedConventions

__all__ = ["add_conventions", "stated"]

_WORDS = {
    "reference": ("absolute", "delta"),
    "frame": ("end-effector", "joint", "base"),
    "rotation": ("none", "euler-xyz", "axis-angle", "quaternion-wxyz", "6d"),
}


def add_conventions(parser: Parser) -> None:
    group = parser.add_argument_group("what the dataset means", "needed once for a dataset that was not written by foreact")
    for word, names in _WORDS.items():
        group.add_argument(f"--action-{word}", metavar="|".join(names), type=choice(f"--action-{word}", names))
    group.add_argument("--action-low", type=float, nargs="+", metavar="X", help="lower bounds: one for all entries, or one each")
    group.add_argument("--action-high", type=float, nargs="+", metavar="X", help="upper bounds, likewise")
    group.add_argument("--gripper", type=float, nargs=3, metavar=("INDEX", "OPEN", "CLOSED"),
                       help="which action entry is the gripper, and its values when open and closed")
    group.add_argument("--no-gripper", action="store_true", help="the action has no gripper")
    group.add_argument("--state-units", nargs="+", metavar="UNIT", help="units of the state: one for all entries, or one each")


def stated(options: argparse.Namespace) -> StatedConventions:
    from foreact.contract.specs import GripperConvention
    from foreact.data.lerobot import StatedConventions

    gripper = options.gripper and GripperConvention(index=int(options.gripper[0]), open=options.gripper[1], closed=options.gripper[2])
    return StatedConventions(
        action_reference=options.action_reference, action_frame=options.action_frame, action_rotation=options.action_rotation,
        action_low=options.action_low and tuple(options.action_low), action_high=options.action_high and tuple(options.action_high),
        gripper=gripper, no_gripper=options.no_gripper, state_units=options.state_units and tuple(options.state_units))
