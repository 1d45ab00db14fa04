"""Pictures without any graphics library: one ray per pixel through MuJoCo's ray caster, flat colours, simple light.

A last resort for machines where no OpenGL can be had. Slower and plainer than OpenGL, and a family of its own in the
protocol: textures become their mean colour, surfaces are lit by their distance, hidden edges are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreact.envs.cameras import Pose
from foreact.envs.rendering import Decorate
from foreact.envs.semantics import has_own_color

__all__ = ["RayPainter"]

_BACKGROUND = np.array([127, 126, 122], np.uint8)
_SHOWN_GROUPS = np.array([1, 1, 1, 0, 0, 0], np.uint8)


class RayPainter:
    """The `Painter` of last resort."""

    def __init__(self, model: Any, data: Any, *, height: int, width: int) -> None:
        import mujoco

        self._mj, self._model, self._data = mujoco, model, data
        self._height, self._width = height, width
        self._colors = np.zeros((0, 3))
        self.refresh_textures()

    def color(self, pose: Pose, decorate: Decorate | None = None) -> NDArray[np.uint8]:
        distance, ids, _, base = self._cast(pose, decorate)
        geom, site = ids >= 0, ids <= -2
        base[geom] = self._geom_colors()[ids[geom]]
        base[site] = self._model.site_rgba[-2 - ids[site], :3]
        hit = np.isfinite(distance)
        light = 0.55 + 0.45 / (1.0 + np.where(hit, distance, 0.0))
        image = np.where(hit[:, None], np.clip(base * light[:, None], 0, 1) * 255, _BACKGROUND).astype(np.uint8)
        return np.ascontiguousarray(image.reshape(self._height, self._width, 3).transpose(2, 0, 1))

    def depth(self, pose: Pose, decorate: Decorate | None = None) -> NDArray[np.float32]:
        distance, _, rays, _ = self._cast(pose, decorate)
        return (distance * (rays @ pose.forward)).astype(np.float32).reshape(self._height, self._width)

    def geoms(self, pose: Pose, decorate: Decorate | None = None) -> NDArray[np.int32]:
        return self._cast(pose, decorate)[1].reshape(self._height, self._width)

    def refresh_textures(self) -> None:
        """Colour per material: its own times the mean of its texture."""
        model, colors = self._model, self._model.mat_rgba[:, :3].astype(np.float64).copy()
        for material in range(model.nmat):
            for texture in model.mat_texid[material]:
                if texture >= 0:
                    size = int(model.tex_height[texture] * model.tex_width[texture] * model.tex_nchannel[texture])
                    start = int(model.tex_adr[texture])
                    pixels = model.tex_data[start:start + size].reshape(-1, model.tex_nchannel[texture])
                    colors[material] *= pixels[::17, :3].mean(axis=0) / 255
        self._colors = colors

    def close(self) -> None:
        """Nothing was lent."""

    def _geom_colors(self) -> NDArray[np.float64]:
        model = self._model
        own = model.geom_rgba[:, :3].astype(np.float64)
        painted = ~has_own_color(model)
        own[painted] = self._colors[model.geom_matid[painted]]
        return own

    def _cast(self, pose: Pose, decorate: Decorate | None) -> tuple[NDArray, NDArray[np.int32], NDArray, NDArray]:
        """Per pixel: distance along the ray (infinite where nothing is), id as in `Painter.geoms`, unit ray (N, 3), and
        the colour (N, 3) of decoration, zero elsewhere."""
        height, width = self._height, self._width
        focal = 0.5 * height / np.tan(np.radians(pose.fovy) / 2)
        column, row = np.meshgrid(np.arange(width) + 0.5 - width / 2, height / 2 - np.arange(height) - 0.5)
        rays = pose.forward + (column[..., None] * pose.right + row[..., None] * pose.up) / focal
        rays = (rays / np.linalg.norm(rays, axis=-1, keepdims=True)).reshape(-1, 3)
        ids, distance = np.full(len(rays), -1, np.int32), np.zeros(len(rays))
        self._mj.mj_multiRay(self._model, self._data, np.ascontiguousarray(pose.position), rays.reshape(-1),
                             _SHOWN_GROUPS, 1, -1, ids, distance, len(rays), 1e10)
        distance, base = np.where(ids >= 0, distance, np.inf), np.zeros((len(rays), 3))
        shown = (self._model.site_rgba[:, 3] > 0) & (self._model.site_group <= 2)
        for site in np.flatnonzero(shown):
            size = np.full(3, self._model.site_size[site, 0])
            found = _sphere(pose.position, rays, self._data.site_xpos[site], np.eye(3), size)
            closer = found < distance
            distance[closer], ids[closer] = found[closer], -2 - site
        if decorate is not None:
            scene = self._mj.MjvScene(self._model, maxgeom=200)
            decorate(scene)
            for geom in scene.geoms[:scene.ngeom]:
                shape = _box if geom.type == self._mj.mjtGeom.mjGEOM_BOX else _sphere
                found = shape(pose.position, rays, geom.pos, geom.mat, geom.size)
                closer = found < distance
                distance[closer], ids[closer], base[closer] = found[closer], -1, geom.rgba[:3]
        return distance, ids, rays, base


def _sphere(origin: NDArray, rays: NDArray, centre: NDArray, turn: NDArray, size: NDArray) -> NDArray[np.float64]:
    """Distance to an ellipsoid with half axes `size`, infinite where it is missed."""
    start, along = (origin - centre) @ turn / size, rays @ turn / size
    a, b, c = (along**2).sum(axis=1), along @ start, start @ start - 1.0
    root = b**2 - a * c
    near = (-b - np.sqrt(np.maximum(root, 0))) / a
    return np.where((root > 0) & (near > 0), near, np.inf)


def _box(origin: NDArray, rays: NDArray, centre: NDArray, turn: NDArray, size: NDArray) -> NDArray[np.float64]:
    """Distance to a box with half sizes `size`, infinite where it is missed."""
    start, along = (origin - centre) @ turn, rays @ turn
    along = np.where(np.abs(along) < 1e-12, 1e-12, along)
    first, second = (-size - start) / along, (size - start) / along
    enter, leave = np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)
    return np.where((enter < leave) & (enter > 0), enter, np.inf)
