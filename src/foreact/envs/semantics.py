"""What the parts of a scene of Meta-World or ALOHA are: background, arm, hand, object or goal.

An object is what the task acts on. Things of other tasks that stand in the scene are background, as the clutter of Random is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ARM", "BACKGROUND", "CLASSES", "CLUTTER", "GOAL", "HAND", "OBJECT", "classes_of", "geom_classes", "has_own_color"]

CLASSES = ("background", "arm", "hand", "object", "goal")
BACKGROUND, ARM, HAND, OBJECT, GOAL = range(len(CLASSES))

CLUTTER = "beside/"
"""How the names of bodies begin that belong to other tasks."""

_FURNITURE = frozenset({"world", "tablelink", "RetainingWall", "table", "midair"})
_ARMS = frozenset({"base", "vx300s_left", "vx300s_right"})
_HANDS = frozenset({"hand", "mocap", "vx300s_left/gripper_link", "vx300s_right/gripper_link"})


def body_classes(model: Any) -> NDArray[np.uint8]:
    """Class of each body (nbody,): a body is what the nearest named ancestor in the list above makes it."""
    classes = np.full(model.nbody, OBJECT, np.uint8)
    for body in range(model.nbody):  # parents come before their children
        name, parent = model.body(body).name, model.body_parentid[body]
        if name in _FURNITURE or name.startswith(CLUTTER):
            classes[body] = BACKGROUND
        elif name in _ARMS:
            classes[body] = ARM
        elif name in _HANDS:
            classes[body] = HAND
        elif parent != 0:
            classes[body] = classes[parent]
    return classes


def geom_classes(model: Any) -> NDArray[np.uint8]:
    """Class of each geom (ngeom,)."""
    return body_classes(model)[model.geom_bodyid]


def classes_of(model: Any, ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Classes of the ids that a painter's `geoms` gives: geoms by body, goal sites as goal, other sites by body."""
    bodies = body_classes(model)
    sites = bodies[model.site_bodyid]
    for site in range(model.nsite):
        if "goal" in model.site(site).name:
            sites[site] = GOAL
    # Ids run ..., -3 (site 1), -2 (site 0), -1 (nothing), 0 (geom 0), ...: one table serves all.
    table = np.concatenate([sites[::-1], [BACKGROUND], bodies[model.geom_bodyid]]).astype(np.uint8)
    return table[ids + model.nsite + 1]


def has_own_color(model: Any) -> NDArray[np.bool_]:
    """Geoms (ngeom,) drawn in their own colour. MuJoCo lets a colour that is not the default grey beat the material's."""
    return (model.geom_matid < 0) | (model.geom_rgba != np.float32([0.5, 0.5, 0.5, 1.0])).any(axis=1)
