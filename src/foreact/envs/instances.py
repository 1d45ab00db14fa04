"""The Instance condition: the task's own thing in sizes and shapes that no demonstration shows, chosen by the seed alone.

A variant is declared once for all tasks; which a task offers is data: those on which Meta-World's scripted expert, which knows
nothing of it, still succeeds within 300 steps on at least 8 of 10 development seeds. What Meta-World measures success by (sites,
bodies, constants) is left as it is, so that success means the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.contract.errors import ConfigError, nearest
from foreact.envs.extents import extent, subtree
from foreact.envs.reshaping import angular, rescale
from foreact.envs.things import THINGS, model_file

__all__ = ["INSTANCE_VERSION", "OFFERED", "VARIANTS", "Variant", "chosen", "offered", "reshaping"]

INSTANCE_VERSION = 1

_STREAM = 0x494E5354
_SAFE = {"door-close": "door", "door-open": "door", "door-lock": "door", "door-unlock": "door"}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """scale: along the world's x (across the table), y (away from the robot) and z, with the bottom left where it is. angular: round
    parts get corners."""

    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    angular: bool = False


VARIANTS: dict[str, Variant] = {
    "larger": Variant(scale=(1.15, 1.15, 1.15)), "smaller": Variant(scale=(0.85, 0.85, 0.85)),
    "compact": Variant(scale=(0.92, 0.92, 0.92)), "deeper": Variant(scale=(1.0, 1.3, 1.0)),
    "wider": Variant(scale=(1.3, 1.0, 1.0)), "narrower": Variant(scale=(0.75, 1.0, 1.0)),
    "broad": Variant(scale=(1.25, 1.25, 1.0)), "slim": Variant(scale=(0.75, 0.75, 1.0)),
    "taller": Variant(scale=(1.0, 1.0, 1.2)), "flatter": Variant(scale=(1.1, 1.1, 0.85)),
    "angular": Variant(angular=True), "broad-angular": Variant(scale=(1.2, 1.2, 1.0), angular=True),
}

_MOST = ("larger", "smaller", "wider", "slim", "taller", "flatter", "angular", "broad-angular")

OFFERED: dict[str, tuple[str, ...]] = {
    "button-press": ("larger", "wider", "taller", "angular", "broad-angular"),
    "button-press-topdown": ("larger", "deeper", "wider", "narrower", "broad", "slim", "taller", "angular", "broad-angular"),
    "coffee-button": ("larger", "smaller", "wider", "taller", "flatter", "angular", "broad-angular"),
    "dial-turn": _MOST,
    "door-close": _MOST,
    "door-open": ("larger", "smaller", "wider", "slim", "flatter", "angular", "broad-angular"),
    "drawer-close": ("smaller", "wider", "flatter", "angular", "broad-angular"),
    "drawer-open": ("larger", "smaller", "wider", "taller", "flatter", "angular", "broad-angular"),
    "faucet-close": ("larger", "smaller", "deeper", "wider", "narrower", "broad", "slim", "taller", "flatter", "angular", "broad-angular"),
    "faucet-open": ("larger", "smaller", "wider", "taller", "flatter", "angular", "broad-angular"),
    "handle-press": _MOST,
    "handle-press-side": _MOST,
    "lever-pull": ("larger", "smaller", "wider", "slim", "taller", "angular", "broad-angular"),
    "plate-slide": _MOST,
    "window-close": ("larger", "wider", "taller", "flatter", "angular", "broad-angular"),
    "window-open": ("larger", "deeper", "wider", "broad", "taller", "flatter", "angular", "broad-angular"),
}
"""By task, in an order that seeds choose from: a change of it is another version. The evidence is in `instances.csv`, next to this file."""


def offered(task: str, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The variants of the task's thing, or those `wanted`; raises `ConfigError` where the task does not offer them."""
    if task not in OFFERED:
        raise ConfigError("this task's thing has no variants", where="env.condition", found=f"instance of {task}",
                          accepted=", ".join(OFFERED), next_step="evaluate one of these tasks under instance")
    for index, name in enumerate(wanted):
        if name not in OFFERED[task]:
            raise ConfigError(f"the thing of {task} has no such variant", where=f"env.variants[{index}]", found=name,
                              accepted=", ".join(OFFERED[task]), next_step=nearest(name, OFFERED[task]))
    return tuple(wanted) or OFFERED[task]


def chosen(names: Sequence[str], seed: int) -> str:
    """Which variant the seed has."""
    return names[int(np.random.Generator(np.random.PCG64((seed, _STREAM))).integers(len(names)))]


def reshaping(task: str, name: str) -> Callable[[Any], None]:
    """What makes the task's thing the variant `name`, in an MjSpec."""
    root, variant = THINGS[task].body if task in THINGS else _SAFE[task], VARIANTS[name]

    def edit(spec: Any) -> None:
        body = spec.body(root)
        if variant.angular:
            angular(spec, body)
        rescale(spec, body, variant.scale, _bottom(task, root))

    return edit


def _bottom(task: str, root: str) -> float:
    """How high the lowest visible point of the thing lies above its own origin, in m."""
    import mujoco

    model = mujoco.MjModel.from_xml_path(model_file(task))
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    body = model.body(root).id
    geoms = np.flatnonzero(np.isin(model.geom_bodyid, subtree(model, body)) & (model.geom_group <= 2))
    return float(extent(model, data, geoms)[0, 2] - data.xpos[body, 2])
