"""An instant as it is drawn: the poses of geoms, sites, cameras and lights, without the physics behind them.

A trajectory is kept as stages while it runs and drawn later, only if it is worth it, in as many conditions as wanted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stage", "set_stage", "take_stage"]

Stage = dict[str, NDArray[np.float64]]

_FIELDS = ("geom_xpos", "geom_xmat", "site_xpos", "site_xmat", "cam_xpos", "cam_xmat", "light_xpos", "light_xdir",
           "xpos", "xmat", "xipos", "ximat", "subtree_com", "xanchor", "xaxis")


def take_stage(data: Any) -> Stage:
    """A copy of everything that the renderer reads from `data`."""
    return {name: getattr(data, name).copy() for name in _FIELDS}


def set_stage(data: Any, stage: Stage) -> None:
    """Write `stage` over the derived poses of `data`. Positions and velocities stay; put the old stage back afterwards."""
    for name, values in stage.items():
        getattr(data, name)[:] = values
