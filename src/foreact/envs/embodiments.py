"""Other embodiments of Meta-World's robot: links, fingers and colours of another arm on the same joints.

What is drawn is replaced, what moves and touches is not: each visible part of arm and hand goes into a group that is not drawn, and a
part of another shape is drawn in its place, fitted to the box of the mesh it replaces, without mass or contact. So an episode is the
same to the last bit and looks as if another robot did it: video to learn what happens from, as people's hands are in EgoDex, and no
example of how this robot acts. Parts stay on their bodies, so that segmentation calls them arm and hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.contract.errors import ConfigError, nearest

__all__ = ["EMBODIMENTS", "EMBODIMENT_VERSION", "OWN", "Embodiment", "embody", "require_embodiment"]

EMBODIMENT_VERSION = 1
OWN = "own"
_UNSEEN_GROUP = 3
_HANDS = frozenset({"hand", "rightclaw", "leftclaw", "rightpad", "leftpad"})
_THICK = 0.011  # radius of a round finger, m
_ALONG = ((0.5**0.5, 0.0, 0.5**0.5, 0.0), (0.5**0.5, -(0.5**0.5), 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))
"""Quaternions that turn a capsule's axis to x, y, z."""
_RGBA = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Embodiment:
    """links: the shape that each link's mesh is replaced by, "box" or "capsule"; slim: how thick it is, against the box of the mesh.

    colours: of the links in turn from the base on. fingers: their shape; finger_colour, and palm_colour of what carries them.
    """

    links: str
    slim: float
    colours: tuple[_RGBA, ...]
    fingers: str
    finger_colour: _RGBA
    palm_colour: _RGBA


EMBODIMENTS: dict[str, Embodiment] = {
    "tubes": Embodiment(links="capsule", slim=0.75, colours=((0.82, 0.84, 0.86, 1.0), (0.20, 0.35, 0.65, 1.0)), fingers="capsule",
                        finger_colour=(0.12, 0.12, 0.13, 1.0), palm_colour=(0.9, 0.55, 0.1, 1.0)),
    "blocks": Embodiment(links="box", slim=0.8, colours=((0.25, 0.5, 0.3, 1.0), (0.75, 0.75, 0.35, 1.0)), fingers="box",
                         finger_colour=(0.45, 0.25, 0.55, 1.0), palm_colour=(0.2, 0.2, 0.2, 1.0)),
}


def require_embodiment(name: str, *, where: str = "env.embodiment") -> None:
    """Raise `ConfigError` for an embodiment that is not declared."""
    if name != OWN and name not in EMBODIMENTS:
        raise ConfigError("no such embodiment", where=where, found=name, accepted=", ".join((OWN, *EMBODIMENTS)),
                          next_step=nearest(name, (OWN, *EMBODIMENTS)))


def embody(spec: Any, name: str) -> None:
    """Give the robot in `spec` the look of the embodiment `name`."""
    look = EMBODIMENTS[name]
    spec.compiler.fitaabb = 1  # a mesh becomes the shape about it
    links = 0
    for body in spec.body("base").find_all("body"):
        for geom in list(body.geoms):
            if geom.group > 2 or geom.rgba[3] == 0:
                continue
            if body.name in _HANDS:
                _finger(body, geom, look)
            elif geom.meshname:
                _link(body, geom, look, look.colours[links % len(look.colours)])
                links += 1
            else:
                geom.rgba = [*look.palm_colour[:3], geom.rgba[3]]
    for site in spec.sites:
        if site.name in ("rightEndEffector", "leftEndEffector"):
            site.rgba = [*site.rgba[:3], 0.0]  # the red dots on Sawyer's fingertips


def _link(body: Any, geom: Any, look: Embodiment, colour: _RGBA) -> None:
    import mujoco

    part = _instead(body, geom, colour)
    part.type = mujoco.mjtGeom.mjGEOM_CAPSULE if look.links == "capsule" else mujoco.mjtGeom.mjGEOM_BOX
    part.meshname, part.fitscale = geom.meshname, look.slim


def _finger(body: Any, geom: Any, look: Embodiment) -> None:
    """A pad, the plate behind it or the rail that both slide on: boxes that lie along one of their axes."""
    import mujoco

    size = np.array(geom.size)
    axis = int(size.argmax())
    part = _instead(body, geom, look.palm_colour if body.name == "hand" else look.finger_colour)
    if look.fingers == "capsule":
        part.type, part.size = mujoco.mjtGeom.mjGEOM_CAPSULE, [_THICK, size[axis] - _THICK, 0]
        part.quat = _ALONG[axis]
    else:
        part.type, part.size = mujoco.mjtGeom.mjGEOM_BOX, np.maximum(size, 0.008)


def _instead(body: Any, geom: Any, colour: _RGBA) -> Any:
    """A part that is only drawn, where `geom` is, which no longer is."""
    part = body.add_geom()
    part.pos, part.quat = geom.pos, geom.quat
    part.contype = part.conaffinity = 0
    part.group, part.rgba, part.density, part.mass = 1, colour, 0.0, 0.0
    geom.group = _UNSEEN_GROUP
    return part
