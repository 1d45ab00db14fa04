"""The things of Meta-World's tasks that can stand in another task's scene: which task has which, and how one is put there.

A thing keeps its shape and colours and its collision geometry, loses its joints and so adds nothing to the state, and stands on
the table where its body's position says, so that one compiled model serves every arrangement. Meta-World's own files are read;
MuJoCo's MjSpec joins them. Two tasks that act on one kind of thing (to open a window and to close it) have the same thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from foreact.contract.errors import ConfigError, nearest
from foreact.envs.semantics import CLUTTER

__all__ = ["AWAY", "DEFAULT_DISTRACTORS", "ROOM", "THINGS", "Thing", "accepted", "attach", "model_file", "others"]


@dataclass(frozen=True)
class Thing:
    """kind: what it is, in words; body: its root in the file of its task."""

    kind: str
    body: str


_BUTTON, _HANDLE, _PUCK = Thing("button", "box"), Thing("handle", "box"), Thing("puck", "obj")

THINGS: dict[str, Thing] = {
    "assembly": Thing("round nut", "RoundNut"), "disassemble": Thing("round nut", "RoundNut"),
    "basketball": Thing("basketball", "bsktball"), "soccer": Thing("soccer ball", "soccer_ball"),
    "button-press": _BUTTON, "button-press-wall": _BUTTON,
    "button-press-topdown": _BUTTON, "button-press-topdown-wall": _BUTTON,
    "coffee-button": Thing("coffee machine", "coffee_machine"), "coffee-pull": Thing("mug", "obj"), "coffee-push": Thing("mug", "obj"),
    "dial-turn": Thing("dial", "dial"),
    "drawer-close": Thing("drawer", "drawer"), "drawer-open": Thing("drawer", "drawer"),
    "faucet-close": Thing("faucet", "faucetBase"), "faucet-open": Thing("faucet", "faucetBase"),
    "hammer": Thing("hammer", "hammerbody"),
    "handle-press": _HANDLE, "handle-press-side": _HANDLE, "handle-pull": _HANDLE, "handle-pull-side": _HANDLE,
    "lever-pull": Thing("lever", "lever"),
    "pick-place": _PUCK, "push": _PUCK, "push-back": _PUCK, "reach": _PUCK,
    "plate-slide": Thing("plate", "puck_channel"), "plate-slide-back": Thing("plate", "puck_channel"),
    "plate-slide-side": Thing("plate", "puck_channel"), "plate-slide-back-side": Thing("plate", "puck_channel"),
    "stick-pull": Thing("thermos", "object"), "stick-push": Thing("thermos", "object"),
    "window-close": Thing("window", "window"), "window-open": Thing("window", "window"),
}
"""By task. Missing are tasks whose thing fills the table (the safe door, the shelf, bins), lies in a hole or is a block like a puck."""

_OWN_KINDS = {**dict.fromkeys(("door-close", "door-open", "door-lock", "door-unlock"), "door"),
              **dict.fromkeys(("bin-picking", "hand-insert", "pick-out-of-hole", "pick-place-wall", "push-wall", "reach-wall",
                               "shelf-place", "sweep", "sweep-into"), "puck")}

ROOM = {"door-open": 0.35}
"""In front of what opens towards the robot, m."""

AWAY = (0.0, 0.0, -3.0)
"""Where things are that do not stand in the scene: under the floor."""

DEFAULT_DISTRACTORS = ("button-press-topdown", "faucet-close", "window-open", "coffee-push", "dial-turn", "plate-slide")
"""Small things that are unlike one another."""


def accepted() -> tuple[str, ...]:
    """The tasks whose thing may stand in another task's scene."""
    return tuple(THINGS)


def others(task: str, distractors: Sequence[str]) -> tuple[str, ...]:
    """Of `distractors` those whose thing is of another kind than the one that `task` acts on, one task for each kind."""
    for index, name in enumerate(distractors):
        if name not in THINGS:
            raise ConfigError("the thing of this task cannot stand in another task's scene", where=f"env.distractors[{index}]", found=name,
                              accepted=", ".join(THINGS), next_step=nearest(name, THINGS))
    own = THINGS[task].kind if task in THINGS else _OWN_KINDS.get(task, task)
    kinds = {THINGS[name].kind: name for name in reversed(distractors)}
    found = tuple(name for name in distractors if kinds[THINGS[name].kind] == name and THINGS[name].kind != own)
    if not found:
        raise ConfigError("nothing is left to stand beside the task's own thing", where="env.distractors", found=list(distractors),
                          accepted=f"at least one task whose thing is not a {own}", next_step="name more tasks")
    return tuple(dict.fromkeys(found))


def model_file(task: str) -> str:
    """Meta-World's own file of the task's scene."""
    from metaworld.env_dict import ENV_CLS_MAP

    return ENV_CLS_MAP[f"{task}-v3"].model_name.fget(None)


def attach(spec: Any, task: str) -> None:
    """Put the thing of `task` into `spec`, without joints, as a body named `CLUTTER` + task + "/" + its own name."""
    import mujoco

    source = mujoco.MjSpec.from_file(model_file(task))
    body = source.body(THINGS[task].body)
    for joint in body.find_all("joint"):
        joint.delete()
    geoms = body.find_all("geom")
    materials = {geom.material for geom in geoms}
    textures = {name for material in source.materials if material.name in materials for name in material.textures}
    for parts, used in ((source.meshes, {geom.meshname for geom in geoms}), (source.materials, materials), (source.textures, textures)):
        for part in list(parts):
            if part.name not in used:  # the arm and the table are there already
                part.delete()
    body.pos = AWAY  # out of the way of all that happens before it is placed
    spec.worldbody.add_frame().attach_body(body, f"{CLUTTER}{task}/", "")
