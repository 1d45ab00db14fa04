"""Pictures of a MuJoCo scene, drawn with OpenGL as cheaply as they still look good.

Shadows, reflections and multisampling are off (they cost 95 % of a software-rendered frame), and geoms outside the
view are not sent at all, which changes no pixel. None of it touches the physics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foreact.envs.backends import family, gl_context
from foreact.envs.cameras import Pose

__all__ = ["Decorate", "Painter", "painter"]

Decorate = Callable[[Any], None]
"""Adds scene-only geoms to an `MjvScene`."""

_HIDDEN_GROUP = 5


class Painter(Protocol):
    """Draws the present state of one model. Arrays are fresh at every call, row 0 at the top."""

    def color(self, pose: Pose, decorate: Decorate | None = None) -> NDArray[np.uint8]:
        """(3, height, width) RGB."""

    def depth(self, pose: Pose, decorate: Decorate | None = None) -> NDArray[np.float32]:
        """(height, width), metres along the viewing direction; infinity where nothing is hit."""

    def geoms(self, pose: Pose, decorate: Decorate | None = None) -> NDArray[np.int32]:
        """(height, width) ids: a geom as its id, a site as -2 - id, the background and all decoration as -1."""

    def refresh_textures(self) -> None:
        """Take up texture data that was changed in the model."""

    def close(self) -> None:
        """Free what the machine lent. Closing twice is fine."""


def painter(model: Any, data: Any, *, height: int, width: int) -> Painter:
    """The painter that this machine offers. Raises `RenderError` when there is none."""
    if family() == "rays":
        from foreact.envs.rays import RayPainter

        return RayPainter(model, data, height=height, width=width)
    return GLPainter(model, data, height=height, width=width)


class GLPainter:
    """OpenGL through MuJoCo. All painters of a process share one GL context."""

    def __init__(self, model: Any, data: Any, *, height: int, width: int) -> None:
        import mujoco

        self._mj, self._model, self._data = mujoco, model, data
        self._gl = gl_context()
        self._gl.make_current()
        model.vis.quality.offsamples = 0
        model.vis.quality.shadowsize = 1
        model.vis.global_.offheight, model.vis.global_.offwidth = height, width
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + model.nsite + 200)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[flag] = 0
        self._context: Any = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[_HIDDEN_GROUP] = 0
        self._still, self._user = mujoco.MjvPerturb(), mujoco.MjvCamera()
        self._user.type = mujoco.mjtCamera.mjCAMERA_USER
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.zeros((height, width, 3), np.uint8)
        self._distances = np.zeros((height, width), np.float32)

    def color(self, pose: Pose, decorate: Decorate | None = None) -> NDArray[np.uint8]:
        self._draw(pose, decorate)
        self._mj.mjr_readPixels(self._pixels, None, self._rectangle, self._context)
        return np.ascontiguousarray(self._pixels[::-1].transpose(2, 0, 1))

    def depth(self, pose: Pose, decorate: Decorate | None = None) -> NDArray[np.float32]:
        self._draw(pose, decorate)
        self._mj.mjr_readPixels(None, self._distances, self._rectangle, self._context)
        near, far = self._range()
        buffer = self._distances[::-1].astype(np.float64)
        # MuJoCo maps depth reversed when the driver allows it; the context says which.
        if self._context.readDepthMap == self._mj.mjtDepthMap.mjDEPTH_ZEROFAR:
            buffer = 1.0 - buffer
        metres = near / (1.0 - buffer * (1.0 - near / far))
        return np.where(buffer >= 1.0 - 1e-7, np.inf, metres).astype(np.float32)

    def geoms(self, pose: Pose, decorate: Decorate | None = None) -> NDArray[np.int32]:
        flags = self._scene.flags
        flags[self._mj.mjtRndFlag.mjRND_SEGMENT] = flags[self._mj.mjtRndFlag.mjRND_IDCOLOR] = 1
        try:
            self._draw(pose, decorate)
            self._mj.mjr_readPixels(self._pixels, None, self._rectangle, self._context)
        finally:
            flags[self._mj.mjtRndFlag.mjRND_SEGMENT] = flags[self._mj.mjtRndFlag.mjRND_IDCOLOR] = 0
        code = self._pixels[::-1].astype(np.int32)
        index = code[..., 0] + (code[..., 1] << 8) + (code[..., 2] << 16)
        table = np.full(self._scene.maxgeom + 1, -1, np.int32)
        for geom in self._scene.geoms[:self._scene.ngeom]:
            if geom.segid >= 0 and geom.objtype == self._mj.mjtObj.mjOBJ_GEOM:
                table[geom.segid + 1] = geom.objid
            elif geom.segid >= 0 and geom.objtype == self._mj.mjtObj.mjOBJ_SITE:
                table[geom.segid + 1] = -2 - geom.objid
        return table[index]

    def refresh_textures(self) -> None:
        self._gl.make_current()
        for texture in range(self._model.ntex):
            self._mj.mjr_uploadTexture(self._model, self._context, texture)

    def close(self) -> None:
        if self._context is not None:
            self._gl.make_current()
            self._context.free()
            self._context = None

    def _range(self) -> tuple[float, float]:
        extent = self._model.stat.extent
        return self._model.vis.map.znear * extent, self._model.vis.map.zfar * extent

    def _draw(self, pose: Pose, decorate: Decorate | None) -> None:
        self._gl.make_current()
        model, scene = self._model, self._scene
        self._aim(pose)
        hidden = self._outside(pose)
        groups = model.geom_group[hidden].copy()
        model.geom_group[hidden] = _HIDDEN_GROUP
        try:
            self._mj.mjv_updateScene(model, self._data, self._option, self._still, self._user,
                                     self._mj.mjtCatBit.mjCAT_ALL, scene)
        finally:
            model.geom_group[hidden] = groups
        self._aim(pose)
        if decorate is not None:
            decorate(scene)
        self._mj.mjr_setBuffer(self._mj.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._mj.mjr_render(self._rectangle, scene, self._context)

    def _aim(self, pose: Pose) -> None:
        near, far = self._range()
        top = near * np.tan(np.radians(pose.fovy) / 2)
        for camera in self._scene.camera:
            camera.pos[:], camera.forward[:], camera.up[:] = pose.position, pose.forward, pose.up
            camera.frustum_near, camera.frustum_far = near, far
            camera.frustum_top, camera.frustum_bottom, camera.frustum_center = top, -top, 0.0

    def _outside(self, pose: Pose) -> NDArray[np.bool_]:
        """Geoms whose bounding sphere misses the view: they could not change a pixel."""
        offset = self._data.geom_xpos - pose.position
        radius = self._model.geom_rbound
        forward, half = offset @ pose.forward, np.radians(pose.fovy) / 2
        up = np.abs(offset @ pose.up)
        side = np.abs(offset @ pose.right)
        aspect = self._rectangle.width / self._rectangle.height
        tan = np.tan(half)
        too_high = up - forward * tan > radius * np.hypot(1, tan)
        too_wide = side - forward * tan * aspect > radius * np.hypot(1, tan * aspect)
        # Planes have no bounding sphere (radius 0) and are always sent.
        return (radius > 0) & ((forward < -radius) | too_high | too_wide)
