"""How much room parts of a compiled MuJoCo model take: boxes along the world's axes, and the rows that belong to a body."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["extent", "subtree"]


def extent(model: Any, data: Any, geoms: NDArray[np.intp]) -> NDArray[np.float64]:
    """(2, 3) in m: the box that holds `geoms` where `data` has them. A mesh counts by its vertices, since its own box may be turned."""
    import mujoco

    found = []
    for geom in geoms:
        turn, place = data.geom_xmat[geom].reshape(3, 3), data.geom_xpos[geom]
        if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
            mesh = model.geom_dataid[geom]
            first = model.mesh_vertadr[mesh]
            points = model.mesh_vert[first:first + model.mesh_vertnum[mesh]] @ turn.T + place
            found.append((points.min(0), points.max(0)))
        else:
            middle, reach = place + turn @ model.geom_aabb[geom, :3], np.abs(turn) @ model.geom_aabb[geom, 3:]
            found.append((middle - reach, middle + reach))
    return np.stack([np.min([low for low, _ in found], 0), np.max([high for _, high in found], 0)])


def subtree(model: Any, root: int) -> NDArray[np.intp]:
    """`root` and all bodies below it; a parent's number is below its children's."""
    found = {root}
    for body in range(root + 1, model.nbody):
        if int(model.body_parentid[body]) in found:
            found.add(body)
    return np.array(sorted(found))
