"""The Semantic condition: things of other tasks stand beside the task's own, and only the instruction says which is meant.

The seed alone chooses which of them stand, and where: on the table, in the picture of the camera `scene`, clear of the task's
own things, of its goal, and of the way from the hand over the thing to the goal; preferably neither hiding one another nor the
task's thing. Those not chosen lie under the floor. Things that stand do not move; the hand may touch them. The physics of the
task is the same as in Clean to the last bit as long as it does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreact.envs.cameras import Pose, project
from foreact.envs.extents import extent, subtree
from foreact.envs.semantics import ARM, CLUTTER, HAND, OBJECT, geom_classes
from foreact.envs.things import AWAY

__all__ = ["SEMANTIC_VERSION", "Arrangement"]

SEMANTIC_VERSION = 1

_STREAM = 0x53454D41
_TABLE_LOW, _TABLE_HIGH = np.array([-0.66, 0.25]), np.array([0.6, 0.97])
_GAP, _CORRIDOR, _TRIES, _GOOD = 0.03, 0.09, 200, 0.15
_PICTURE = np.array([[0.0, 0.0], [1.0, 1.0]])
_DERIVED = ("xpos", "xmat", "xipos", "ximat")


@dataclass(frozen=True)
class _Solid:
    """One attached thing: its bodies and geoms in the model, and its bounds (2, 3) about its root, z from the table on."""

    root: int
    bodies: NDArray[np.intp]
    geoms: NDArray[np.intp]
    sites: NDArray[np.intp]
    bounds: NDArray[np.float64]


class Arrangement:
    """Places the attached things of one compiled model. `arrange(data, seed)` right after the task's own start.

    room: how much the task's own thing needs in front of it beside its way, in m, as a door does that swings open.
    """

    def __init__(self, model: Any, view: Pose, standing: int, room: float = 0.0) -> None:
        import mujoco

        self._mj, self._model, self._view, self._standing, self._room = mujoco, model, view, standing, room
        self._scratch = mujoco.MjData(model)
        mujoco.mj_kinematics(model, self._scratch)
        classes, shown = geom_classes(model), model.geom_group <= 2
        self._own = np.flatnonzero((classes == OBJECT) & shown)
        self._robot = np.flatnonzero(np.isin(classes, (ARM, HAND)) & shown)
        roots = [b for b in range(model.nbody) if model.body(b).name.startswith(CLUTTER) and model.body_parentid[b] == 0]
        solids = [self._solid(root) for root in roots]
        self._solids = sorted(solids, key=lambda solid: -np.prod(np.ptp(solid.bounds[:, :2], axis=0)))  # the largest is placed first

    def arrange(self, data: Any, seed: int) -> None:
        """Choose and place, in the model and in what is drawn from `data`; its state is only read."""
        draw = np.random.Generator(np.random.PCG64((seed, _STREAM)))
        scratch, mj = self._scratch, self._mj
        scratch.qpos[:], scratch.mocap_pos[:], scratch.mocap_quat[:] = data.qpos, data.mocap_pos, data.mocap_quat
        mj.mj_kinematics(self._model, scratch)
        own, hand = extent(self._model, scratch, self._own), scratch.body("hand").xpos[:2].copy()
        chosen = set(draw.permutation(len(self._solids))[:self._standing].tolist())
        robot, way = self._rectangle(extent(self._model, scratch, self._robot)), self._way(scratch, hand, own)
        taken = [own - np.array([[0.0, self._room, 0.0], [0.0, 0.0, 0.0]])]
        for index, solid in enumerate(self._solids):
            place = self._place(draw, solid, taken, way, robot) if index in chosen else None
            self._model.body_pos[solid.root] = AWAY if place is None else place
            if place is not None:
                taken.append(solid.bounds + place)
        mj.mj_kinematics(self._model, scratch)
        for solid in self._solids:
            for name in _DERIVED:
                getattr(data, name)[solid.bodies] = getattr(scratch, name)[solid.bodies]
            for kind, rows in (("geom", solid.geoms), ("site", solid.sites)):
                for name in ("xpos", "xmat"):
                    getattr(data, f"{kind}_{name}")[rows] = getattr(scratch, f"{kind}_{name}")[rows]

    def _solid(self, root: int) -> _Solid:
        model = self._model
        rows = subtree(model, root)
        geoms = np.flatnonzero(np.isin(model.geom_bodyid, rows))
        bounds = extent(model, self._scratch, geoms[model.geom_group[geoms] <= 2]) - self._scratch.xpos[root]
        return _Solid(root, rows, geoms, np.flatnonzero(np.isin(model.site_bodyid, rows)), bounds)

    def _way(self, data: Any, hand: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (N, 2) from the hand to the task's thing, and on to each goal."""
        thing = own[:, :2].mean(0)
        goals = [data.site_xpos[site, :2] for site in range(self._model.nsite)
                 if "goal" in self._model.site(site).name and not self._model.site(site).name.startswith(CLUTTER)
                 and np.abs(data.site_xpos[site]).max() < 2]
        share = np.linspace(0, 1, 12)[:, None]
        return np.concatenate([hand + share * (thing - hand), *(thing + share * (goal - thing) for goal in goals)])

    def _place(self, draw: np.random.Generator, solid: _Solid, taken: list[NDArray[np.float64]], way: NDArray[np.float64],
               robot: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Where `solid` stands: of the clear places drawn, the first that is seen well and hides little, else the best; None for none."""
        low, high = _TABLE_LOW - solid.bounds[0, :2], _TABLE_HIGH - solid.bounds[1, :2]
        before, best, least = [self._rectangle(box) for box in taken], None, np.inf
        for spot in draw.uniform(low, high, (_TRIES, 2)):
            place = np.array([*spot, -solid.bounds[0, 2]])
            box = solid.bounds + place
            if min(_gap(box, other) for other in taken) < _GAP or _distance(box, way) < _CORRIDOR:
                continue
            seen = self._rectangle(box)
            cost = 2 * (1 - _share(seen, _PICTURE)) + _share(seen, robot)
            cost += sum(_share(seen, other) + _share(other, seen) for other in before)
            if cost < least - 1e-9:
                best, least = place, cost
            if least < _GOOD:
                break
        return best

    def _rectangle(self, box: NDArray[np.float64]) -> NDArray[np.float64]:
        """(2, 2): the box as the camera sees it, in shares of the picture."""
        corners = np.array([[box[i, 0], box[j, 1], box[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
        pixels, _ = project(self._view, corners, height=1, width=1)
        return np.stack([pixels.min(0), pixels.max(0)])


def _gap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Metres between two boxes on the table, below 0 where they overlap."""
    return float(np.maximum(one[0, :2] - other[1, :2], other[0, :2] - one[1, :2]).max())


def _distance(box: NDArray[np.float64], points: NDArray[np.float64]) -> float:
    """The least distance on the table between the box and any of the points."""
    outside = np.maximum(np.maximum(box[0, :2] - points, points - box[1, :2]), 0)
    return float(np.linalg.norm(outside, axis=1).min())


def _share(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How much of the rectangle `one` lies within `other`."""
    common = np.maximum(np.minimum(one[1], other[1]) - np.maximum(one[0], other[0]), 0)
    return float(common.prod() / max(float((one[1] - one[0]).prod()), 1e-12))
