"""The Random condition: textures, colours, lights, camera and clutter, chosen by the episode's seed alone.

Everything happens in what is drawn. Colours and textures are written into the visual fields of the model and taken
back to the last bit; lights and clutter are put into the finished scene; cameras are moved in their pose. Physics never
reads any of them, so a trajectory is the same in both conditions and can be drawn in both.
"""

from __future__ import annotations

import colorsys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreact.envs.cameras import Camera, Fixed, Pose
from foreact.envs.semantics import ARM, HAND, OBJECT, geom_classes, has_own_color

__all__ = ["RANDOM_VERSION", "Strength", "Wardrobe"]

RANDOM_VERSION = 1

_STREAM = 0x52414E44
_TABLE_LOW, _TABLE_HIGH = np.array([-0.6, 0.3]), np.array([0.45, 0.92])
_GRAIN = 2  # texels per drawn grain; halves the resolution of patterns, quarters their cost
_FIELDS = ("mat_rgba", "mat_specular", "mat_shininess", "geom_rgba", "tex_data")


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How far Random goes. Ranges are symmetric and uniform unless said otherwise.

    tint: factor on each colour channel of arm and objects, 1 +- tint; their hue stays recognisable.
    light: factor on each light, 1 +- light, and a tint of a quarter of it; light_turn: its direction, per axis.
    camera_shift in m and camera_turn in rad per axis, camera_zoom on the field of view; the camera on the hand gets a
    fifth of them. clutter: fewest and most scene-only things on the table.
    """

    tint: float = 0.35
    light: float = 0.4
    light_turn: float = 0.4
    camera_shift: float = 0.04
    camera_turn: float = 0.04
    camera_zoom: float = 0.05
    clutter: tuple[int, int] = (2, 5)

    def protocol(self) -> dict[str, Any]:
        return {"version": RANDOM_VERSION, **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}}


@dataclass(frozen=True)
class _Thing:
    kind: str
    size: NDArray[np.float64]
    position: NDArray[np.float64]
    turn: NDArray[np.float64]
    color: NDArray[np.float32]


class Wardrobe:
    """Dresses one model. `dress(seed)` after the episode's start, `undress()` for Clean; both may be repeated."""

    def __init__(self, model: Any, strength: Strength) -> None:
        self._model, self._strength = model, strength
        self._originals = {name: getattr(model, name).copy() for name in _FIELDS}
        self._classes = geom_classes(model)
        self._seed: int | None = None
        self._things: list[_Thing] = []
        self._lights: NDArray[np.float64] = np.ones((0, 2, 3))

    @property
    def seed(self) -> int | None:
        """The seed that is worn now, None for Clean."""
        return self._seed

    def undress(self) -> None:
        """Back to Clean, to the last bit. Textures must then be uploaded again."""
        if self._seed is not None:
            for name, original in self._originals.items():
                getattr(self._model, name)[:] = original
        self._seed, self._things = None, []

    def dress(self, seed: int, geoms: NDArray[np.float64], sites: NDArray[np.float64]) -> None:
        """Wear the look of `seed`. Clutter keeps clear of `geoms` and `sites`, the places (N, 3) at the episode's start."""
        self.undress()
        draw = np.random.Generator(np.random.PCG64((seed, _STREAM)))
        self._paint(draw)
        for texture in range(self._model.ntex):
            self._weave(draw, texture)
        self._lights = np.stack([
            (1 + self._strength.light * draw.uniform(-1, 1, (8, 1)))
            * (1 + self._strength.light / 4 * draw.uniform(-1, 1, (8, 3))),
            self._strength.light_turn * draw.uniform(-1, 1, (8, 3))], axis=1)
        self._cameras = draw.uniform(-1, 1, (2, 7))
        self._things = self._scatter(draw, geoms, sites)
        self._seed = seed

    def aim(self, camera: Camera, pose: Pose) -> Pose:
        """The pose as it is in this look."""
        if self._seed is None:
            return pose
        fixed = isinstance(camera, Fixed)
        scale, draws, strength = (1.0 if fixed else 0.2), self._cameras[0 if fixed else 1], self._strength
        return pose.moved(scale * strength.camera_shift * draws[:3], scale * strength.camera_turn * draws[3:6],
                          1 + scale * strength.camera_zoom * draws[6])

    def decorate(self, scene: Any) -> None:
        """Change the lights of the finished `scene` and add the clutter to it."""
        import mujoco

        if self._seed is None:
            return
        for light, (factor, turn) in zip(scene.lights[:scene.nlight], self._lights, strict=False):
            for color in (light.ambient, light.diffuse, light.specular):
                color[:] = np.clip(color * factor, 0, 1)
            direction = light.dir + turn
            light.dir[:] = direction / max(float(np.linalg.norm(direction)), 1e-6)
        kinds = {"box": mujoco.mjtGeom.mjGEOM_BOX, "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID}
        for thing in self._things:
            geom = scene.geoms[scene.ngeom]
            mujoco.mjv_initGeom(geom, kinds[thing.kind], thing.size, thing.position, thing.turn.reshape(-1), thing.color)
            geom.category, geom.segid = mujoco.mjtCatBit.mjCAT_DECOR, scene.ngeom
            scene.ngeom += 1

    def _paint(self, draw: np.random.Generator) -> None:
        """Colours of arm, hand and objects: a tint per material and per unpainted geom. Alpha stays."""
        model, tint = self._model, self._strength.tint
        factor = 1 + tint * draw.uniform(-1, 1, (model.nmat, 3))
        model.mat_rgba[:, :3] = np.clip(self._originals["mat_rgba"][:, :3] * factor, 0, 1)
        model.mat_specular[:] = draw.uniform(0, 0.6, model.nmat)
        model.mat_shininess[:] = draw.uniform(0, 0.8, model.nmat)
        factors = 1 + tint * draw.uniform(-1, 1, (len(model.geom_rgba), 3))
        factors[self._classes == ARM] = 1 + tint * draw.uniform(-1, 1, 3)  # one tint for the whole arm
        factors[self._classes == HAND] = 1 + tint / 2 * draw.uniform(-1, 1, 3)
        own = has_own_color(model)
        model.geom_rgba[own, :3] = np.clip(self._originals["geom_rgba"][own, :3] * factors[own], 0, 1)

    def _weave(self, draw: np.random.Generator, texture: int) -> None:
        """A new pattern for `texture`: checks, stripes, blotches or a gradient in two random colours."""
        model = self._model
        height, width, channels = (int(getattr(model, f"tex_{name}")[texture]) for name in ("height", "width", "nchannel"))
        dark, light = (255 * np.array(colorsys.hsv_to_rgb(draw.random(), draw.uniform(0, 0.7), value))
                       for value in (draw.uniform(0.15, 0.6), draw.uniform(0.5, 1.0)))
        rows, columns = -(-height // _GRAIN), -(-width // _GRAIN)
        row, column = np.mgrid[:rows, :columns].astype(np.float32)
        kind, period = draw.integers(4), int(draw.integers(columns // 16 + 2, columns // 3 + 3))
        if kind == 0:
            share = (row // period + column // period) % 2
        elif kind == 1:
            angle = draw.uniform(0, np.pi)
            share = 0.5 + 0.5 * np.sin(2 * np.pi * (row * np.sin(angle) + column * np.cos(angle)) / period)
        elif kind == 2:
            share = _blotches(draw.random((rows // period + 2, columns // period + 2)), row / period, column / period)
        else:
            share = row / rows
        pixels = dark + (light - dark) * share[..., None] + draw.normal(0, 6, (rows, columns, 1))
        fine = np.clip(pixels, 0, 255).astype(np.uint8).repeat(_GRAIN, axis=0).repeat(_GRAIN, axis=1)[:height, :width]
        start = int(model.tex_adr[texture])
        model.tex_data[start:start + height * width * channels] = _channels(fine, channels).reshape(-1)

    def _scatter(self, draw: np.random.Generator, geoms: NDArray[np.float64], sites: NDArray[np.float64]) -> list[_Thing]:
        """Things that stand on the table, clear of the task's objects, its goal and the hand."""
        model = self._model
        objects = self._classes == OBJECT
        taken = [np.array([0.0, 0.6])]
        radii = [0.12]
        taken += [*geoms[objects, :2], *sites[:, :2]]
        radii += [*np.minimum(model.geom_rbound[objects], 0.2), *np.full(model.nsite, 0.04)]
        things: list[_Thing] = []
        wanted = int(draw.integers(self._strength.clutter[0], self._strength.clutter[1] + 1))
        for _ in range(60):
            size, spot = draw.uniform(0.015, 0.045, 3), draw.uniform(_TABLE_LOW, _TABLE_HIGH)
            angle, hue, bright, box = draw.uniform(0, np.pi), draw.random(), draw.uniform(0.3, 1.0), draw.random() < 0.6
            reach = float(np.hypot(size[0], size[1]))
            gaps = np.linalg.norm(np.array(taken) - spot, axis=1) - np.array(radii)
            if len(things) == wanted or gaps.min() < reach + 0.02:
                continue
            color = np.array([*colorsys.hsv_to_rgb(hue, 0.8, bright), 1.0], np.float32)
            turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
            things.append(_Thing("box" if box else "ellipsoid", size, np.array([*spot, size[2]]), turn, color))
            taken.append(spot)
            radii.append(reach)
        return things


def _blotches(coarse: NDArray[np.float64], y: NDArray[np.float32], x: NDArray[np.float32]) -> NDArray[np.float64]:
    """`coarse` read between its entries, bilinearly."""
    i, j, u, v = y.astype(int), x.astype(int), y % 1, x % 1
    return ((1 - u) * ((1 - v) * coarse[i, j] + v * coarse[i, j + 1])
            + u * ((1 - v) * coarse[i + 1, j] + v * coarse[i + 1, j + 1]))


def _channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """RGB as a texture of 1 to 4 channels stores it; a fourth is opaque."""
    opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    return np.concatenate([pixels, opaque], axis=-1)[..., :channels]
