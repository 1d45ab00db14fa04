"""One action vector for many robots: 128 slots with names, and for each robot where its own entries lie among them.

    u[slot(n)] = a[n] for every entry n that the robot has,   u = 0 elsewhere,   mask[i] = 1 where slot i is used

The partition is that of RDT-1B (arXiv 2410.07864, table of the unified action space), which MV-WAM follows for its a_t in R^128
(section 2.2): for each arm ten joints, five gripper joints, their rates, the end effector's position, rotation, velocity and turn
rate, and a reserve; then the base. A robot with one arm uses the right one.

Where MV-WAM is silent, this is ours: a joint's or the end effector's *offset* stands in the slot of its position, and the action
spec's `reference` says which of both it is; each robot is scaled by its own statistics, so the two never share a scale. A rotation of
three numbers stands in the first three of its six slots. Proprioception uses the same slots as the action.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from foreact.contract.errors import SpecError, nearest
from foreact.contract.specs import ActionSpec, ObservationSpec

__all__ = ["APPENDIX_C", "EMBODIMENTS", "SLOTS", "UNIFIED", "Embodiment", "dual_arm", "embodiment_of"]

UNIFIED = 128
"""Slots of the unified vector."""


def _arm(side: str, start: int) -> dict[str, int]:
    numbered = (("joint", 10), ("gripper", 5), ("joint-rate", 10), ("gripper-rate", 5))
    names = [f"{side}.{kind}.{i + 1}" for kind, count in numbered for i in range(count)]
    names += [f"{side}.position.{axis}" for axis in "xyz"] + [f"{side}.rotation.{i + 1}" for i in range(6)]
    names += [f"{side}.{kind}.{axis}" for kind in ("velocity", "turn-rate") for axis in "xyz"]
    return {name: start + i for i, name in enumerate(names)}


def _slots() -> dict[str, int]:
    named = _arm("right", 0) | _arm("left", 50) | {"base.velocity.x": 100, "base.velocity.y": 101, "base.turn-rate": 102}
    return named | {f"reserve.{i}": i for i in range(UNIFIED) if i not in named.values()}


SLOTS: Mapping[str, int] = _slots()
"""Every slot by name: `right.joint.1` is 0, `left.gripper.1` is 60; slots that nobody has named are `reserve.<number>`."""


@dataclass(frozen=True, kw_only=True)
class Embodiment:
    """Where a robot's entries lie: action entry to slot, state entry to slot. A few lines of it declare a new robot."""

    name: str
    action: Mapping[str, str]
    state: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, table in (("action", self.action), ("state", self.state)):
            for entry, slot in table.items():
                if slot not in SLOTS:
                    raise SpecError("no such slot", where=f"embodiment.{what}.{entry}", found=slot, accepted="right.joint.1, "
                                    "left.gripper.1, right.position.x, base.turn-rate, reserve.103, ...", next_step=nearest(slot, SLOTS))
            twice = sorted({slot for slot in table.values() if list(table.values()).count(slot) > 1})
            if twice:
                raise SpecError("two entries share a slot", where=f"embodiment.{what}", found=", ".join(twice), accepted="a slot each",
                                next_step="arms beyond the second, hands and the like go to reserve.103 to reserve.127")

    def action_slots(self, spec: ActionSpec) -> tuple[int, ...]:
        """The slot of each entry of the action, in the spec's order."""
        return self._places(spec.names, self.action, "action")

    def state_slots(self, spec: ObservationSpec) -> tuple[int, ...]:
        """The slot of each entry of the state, in the spec's order."""
        return self._places(spec.state.names, self.state, "state")

    def _places(self, names: Iterable[str], table: Mapping[str, str], what: str) -> tuple[int, ...]:
        missing = [name for name in names if name not in table]
        if missing:
            raise SpecError(f"the embodiment {self.name} has no slot for part of the {what}", where=f"model.embodiment.{what}",
                            found=", ".join(missing), accepted=", ".join(table),
                            next_step=f'declare it: Embodiment(name=..., {what}={{"{missing[0]}": "reserve.103", ...}})')
        return tuple(SLOTS[table[name]] for name in names)


def dual_arm(name: str, joints: int) -> Embodiment:
    """Two arms of `joints` joints and a gripper each, named right_joint_1 ... right_gripper, left_joint_1 ... left_gripper."""
    table = {f"{side}_joint_{i + 1}": f"{side}.joint.{i + 1}" for side in ("right", "left") for i in range(joints)}
    table |= {f"{side}_gripper": f"{side}.gripper.1" for side in ("right", "left")}
    return Embodiment(name=name, action=table, state=table)


_FINGERS = ("pinky", "ring", "middle", "index", "thumb")
_GR1 = {f"{side}_joint_{i + 1}": f"{side}.joint.{i + 1}" for side in ("left", "right") for i in range(7)}
_GR1 |= {f"{side}_{finger}": f"{side}.gripper.{i + 1}" for side in ("left", "right") for i, finger in enumerate(_FINGERS)}
_GR1 |= {"right_thumb_turn": "reserve.45", "left_thumb_turn": "reserve.95",
         **{f"waist_{axis}": f"reserve.{103 + i}" for i, axis in enumerate(("yaw", "pitch", "roll"))}}
_SINGLE = {f"joint_{i + 1}": f"right.joint.{i + 1}" for i in range(7)} | {"gripper": "right.gripper.1"}

EMBODIMENTS: Mapping[str, Embodiment] = {robot.name: robot for robot in (
    dual_arm("dual-arm-7", 7),
    dual_arm("dual-arm-6", 6),
    Embodiment(name="single-arm-7", action=_SINGLE, state=_SINGLE),
    Embodiment(name="sawyer-hand",
               action={axis: f"right.position.{axis}" for axis in "xyz"} | {"gripper": "right.gripper.1"},
               state={f"hand_{axis}": f"right.position.{axis}" for axis in "xyz"} | {"gripper_opening": "right.gripper.1"}),
    Embodiment(name="gr1-arms-waist", action=_GR1, state=_GR1),
)}
"""Robots that are declared here.

dual-arm-7: MV-WAM's appendix C, [dTheta_R (7), g_R, dTheta_L (7), g_L], TienKung. dual-arm-6: ALOHA and AgileX, whose arms have no
seventh joint: its slot stays empty and is masked out. single-arm-7: Franka and the like. sawyer-hand: Meta-World's 4 numbers.
gr1-arms-waist: RoboCasa's humanoid; a hand's sixth finger joint and the waist stand in the reserve.
"""

APPENDIX_C: tuple[str, ...] = tuple(f"{side}_{entry}" for side in ("right", "left")
                                    for entry in (*(f"joint_{i + 1}" for i in range(7)), "gripper"))
"""The order of MV-WAM's 16 numbers (equation 5)."""


def embodiment_of(observation: ObservationSpec, action: ActionSpec) -> Embodiment:
    """The declared robot whose action has exactly these entries and whose state has these; raises `SpecError` where there is none."""
    for robot in EMBODIMENTS.values():
        if set(robot.action) == set(action.names) and set(observation.state.names) <= set(robot.state):
            return robot
    raise SpecError("no declared embodiment has these entries", where="model.embodiment",
                    found=f"action {', '.join(action.names)}; state {', '.join(observation.state.names)}",
                    accepted=", ".join(EMBODIMENTS),
                    next_step=f'declare it: model.embodiment=Embodiment(name="my-robot", action={{"{action.names[0]}": "right.joint.1", '
                              '...}, state={...})')
