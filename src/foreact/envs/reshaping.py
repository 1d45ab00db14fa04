"""A body's whole subtree in another size or another shape, in an MjSpec before it is compiled: what is drawn and what is touched alike.

Scaling by s = (sx, sy, sz) along the world's axes, as the body stands in its file, about a point on its own vertical axis. In a frame
turned by R against the world a local axis i is stretched by |diag(s) R e_i|: exact where s is uniform or R maps axes to axes, as almost
everywhere in Meta-World; else a part keeps its right angles and is stretched along its own axes. Round parts stay round: their radius takes
the geometric mean across. Masses and inertias that a file states grow with volume, and with volume times length squared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["angular", "rescale"]


def rescale(spec: Any, body: Any, scale: tuple[float, float, float], fixed: float) -> None:
    """Scale what lies below `body`, whose own place stays; the height `fixed` in m, against the body's, stays where it is."""
    turn = _rotation(body)
    lift = turn.T @ np.array([0.0, 0.0, (1 - scale[2]) * fixed])
    _scale_inside(spec, body, _along(np.asarray(scale, np.float64), turn), lift)


def angular(spec: Any, body: Any) -> None:
    """Round parts below `body` get corners: cylinders and capsules become boxes of the same extent, drawn and touched, and so do
    the meshes of what a joint moves, drawn."""
    import mujoco

    kinds = mujoco.mjtGeom
    spec.compiler.fitaabb = 1  # a mesh becomes the box about it
    for geom in body.find_all("geom"):
        if geom.type in (kinds.mjGEOM_CYLINDER, kinds.mjGEOM_CAPSULE):
            radius, half = float(geom.size[0]), float(geom.size[1])
            geom.size = [radius, radius, half + (radius if geom.type == kinds.mjGEOM_CAPSULE else 0.0)]
            geom.type = kinds.mjGEOM_BOX
    for moved in {joint.parent.name: joint.parent for joint in body.find_all("joint")}.values():
        for geom in moved.find_all("geom"):
            if geom.type == kinds.mjGEOM_MESH:
                geom.type = kinds.mjGEOM_BOX


def _scale_inside(spec: Any, body: Any, scale: NDArray[np.float64], lift: NDArray[np.float64]) -> None:
    """`scale` along the body's own axes, then `lift` in its frame, for all that is fixed to it."""
    if body.explicitinertial:
        body.ipos = scale * np.nan_to_num(np.array(body.ipos)) + lift
        volume = float(np.prod(scale))
        body.mass, body.inertia = body.mass * volume, np.array(body.inertia) * volume ** (5 / 3)
    for joint in body.joints:
        joint.pos = scale * np.array(joint.pos) + lift
        if int(joint.type) == 2:  # a slide: its travel is a length
            stretch = float(np.linalg.norm(scale * np.array(joint.axis)) / np.linalg.norm(joint.axis))
            joint.range, joint.ref, joint.springref = np.array(joint.range) * stretch, joint.ref * stretch, joint.springref * stretch
    for part in (*body.geoms, *body.sites):
        part.pos = scale * np.array(part.pos) + lift
    for geom in body.geoms:
        _scale_geom(spec, geom, _along(scale, _rotation(geom)))
    for site in body.sites:
        site.size = np.array(site.size) * float(np.cbrt(np.prod(scale)))
    for child in body.bodies:
        child.pos = scale * np.array(child.pos) + lift
        _scale_inside(spec, child, _along(scale, _rotation(child)), np.zeros(3))


def _scale_geom(spec: Any, geom: Any, scale: NDArray[np.float64]) -> None:
    import mujoco

    kinds, size = mujoco.mjtGeom, np.array(geom.size)
    across = float(np.sqrt(scale[0] * scale[1]))
    if geom.meshname:
        geom.meshname = _scaled_mesh(spec, geom.meshname, scale)
    elif geom.type in (kinds.mjGEOM_CYLINDER, kinds.mjGEOM_CAPSULE):
        geom.size = [size[0] * across, size[1] * scale[2], 0.0]
    elif geom.type == kinds.mjGEOM_SPHERE:
        geom.size = size * float(np.cbrt(np.prod(scale)))
    else:
        geom.size = size * scale
    if np.isfinite(geom.mass):
        geom.mass = geom.mass * float(np.prod(scale))


def _scaled_mesh(spec: Any, name: str, scale: NDArray[np.float64]) -> str:
    """The name of a copy of the mesh, made once for each scale."""
    wanted = f"{name}*{'*'.join(f'{value:.6f}' for value in scale)}"
    if wanted not in {mesh.name for mesh in spec.meshes}:
        source = next(mesh for mesh in spec.meshes if mesh.name == name)
        copy = spec.add_mesh()
        copy.name, copy.file, copy.scale = wanted, source.file, np.array(source.scale) * scale
        copy.refpos, copy.refquat, copy.inertia, copy.smoothnormal = source.refpos, source.refquat, source.inertia, source.smoothnormal
    return wanted


def _along(scale: NDArray[np.float64], turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much each axis of a frame turned by `turn` is stretched by `scale` along the axes of the frame outside."""
    return np.linalg.norm(scale[:, None] * turn, axis=0)


def _rotation(element: Any) -> NDArray[np.float64]:
    """(3, 3): the frame of a body or geom in that of its parent; Meta-World writes quaternions or intrinsic x-y-z angles in rad."""
    import mujoco

    turn = np.zeros(9)
    if element.alt.type == mujoco.mjtOrientation.mjORIENTATION_EULER:
        quat = np.zeros(4)
        mujoco.mju_euler2Quat(quat, np.array(element.alt.euler), "xyz")
    else:
        quat = np.array(element.quat)
    mujoco.mju_quat2Mat(turn, quat)
    return turn.reshape(3, 3)
