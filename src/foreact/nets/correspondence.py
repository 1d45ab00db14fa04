"""Where the pixels of a moving body went: correspondences under one rigid translation, found by matching its picture.

A camera that stands still sees a point x at u = project(x). The pixels u_i of a body, each at a known depth, are looked for in a
later picture under every translation t of the body as a whole, nearest and farthest, so that it grows as it comes closer:

    t* = argmin_t  sum_i w_i min(|I(project(x_i + t)) - I_0(u_i)|, tau) / sum_i w_i  +  lambda / 2 ( t' S^-1 t + |t - t_prev|^2 / s^2 )

first on a coarse grid of shifts and depths, then on ever finer ones around the best. The second part is where a robot's reach is
stated: a picture of a few pixels tells motion along the view poorly. The first is truncated, so that what hides the body, or a
finger that has closed, counts once and no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from foreact.contract.specs import CameraSpec

__all__ = ["Body", "Prior", "Projection", "followed", "sampled"]

_TRUNCATION = 0.3
_VISIBLE = 0.4
_FINER = (1.0, 0.5, 0.25, 0.12)


@dataclass(frozen=True)
class Projection:
    """A calibrated camera: `axes` are its right, down and forward in the world, in rows; focal length in pixels."""

    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    focal: float
    centre: NDArray[np.float64]

    @classmethod
    def of(cls, camera: CameraSpec) -> Projection:
        assert camera.calibration is not None
        forward, up = np.array(camera.calibration.forward), np.array(camera.calibration.up)
        focal = 0.5 * camera.height / np.tan(np.radians(camera.calibration.fovy) / 2)
        return cls(np.array(camera.calibration.position), np.stack([np.cross(forward, up), -up, forward]), float(focal),
                   np.array([camera.width / 2, camera.height / 2]))

    def seen(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Points in the camera's own axes: right, down, forward, in m."""
        return (points - self.position) @ self.axes.T

    def pixels(self, seen: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 2"]:
        """(column, row); pixel centres lie at halves."""
        return self.centre + self.focal * seen[..., :2] / np.maximum(seen[..., 2:], 1e-3)

    def lifted(self, pixels: Float[np.ndarray, "n 2"], depth: float) -> Float[np.ndarray, "n 3"]:
        """The points at `depth` m along the view that are seen at `pixels`, in the camera's axes."""
        return np.concatenate([(pixels - self.centre) * depth / self.focal, np.full((len(pixels), 1), depth)], axis=1)


@dataclass(frozen=True)
class Body:
    """What is followed: its point of reference and its pixels' points in the camera's axes, their colours, and how much each counts."""

    at: NDArray[np.float64]
    points: NDArray[np.float64]
    colours: NDArray[np.float64]
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """lambda; S^-1 in the camera's axes, from deviations in m of a displacement; s in m, of one frame from the last."""

    strength: float
    inverse: NDArray[np.float64]
    step: float

    def __call__(self, t: Float[np.ndarray, "m 3"], last: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " m"]:
        far = np.einsum("mi,ij,mj->m", t, self.inverse, t) + (((t - last) / self.step) ** 2).sum(axis=1)
        return 0.5 * self.strength * far


def followed(camera: Projection, body: Body, pictures: Float[np.ndarray, "time height width 3"], prior: Prior, *, search: float = 10.0,
             depths: float = 0.12) -> Float[np.ndarray, "time 3"]:
    """The body's translation since it was first seen, in the camera's axes and in m, for each picture.

    search: pixels, and depths: metres, that are searched around where it was a picture before.
    """
    t, found = np.zeros(3), []
    for picture in pictures:
        last = t
        t = _best(camera, body, picture, prior, last, last, np.arange(-search, search + 1, 2.0), np.linspace(-depths, depths, 5))
        for fine in _FINER:
            shifts = fine * np.arange(-2.0, 3.0) * (0.5 if fine < 1 else 1.0)
            t = _best(camera, body, picture, prior, last, t, shifts, fine * depths / 4 * np.arange(-1.0, 2.0))
        found.append(t)
    return np.stack(found)


def _best(camera: Projection, body: Body, picture: NDArray[np.float64], prior: Prior, last: NDArray[np.float64],
          around: NDArray[np.float64], shifts: NDArray[np.float64], depths: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cheapest of all shifts in the picture at all depths; a change of depth alone leaves the body where it is in the picture."""
    z, y, x = (a.ravel() for a in np.meshgrid(around[2] + depths, shifts, shifts, indexing="ij"))
    centre = body.at + around
    ray = centre[:2] / centre[2] + np.stack([x, y], axis=1) / camera.focal
    t = np.concatenate([ray * (body.at[2] + z)[:, None] - body.at[:2], z[:, None]], axis=1)
    return t[np.argmin(_mismatch(camera, body, picture, t) + prior(t, last))]


def _mismatch(camera: Projection, body: Body, picture: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each translation: the mean difference of colour over the pixels inside the picture; infinite where too few are."""
    pixels = camera.pixels(body.points + t[:, None])
    inside = ((pixels > 0) & (pixels < np.array(picture.shape[1::-1]))).all(axis=-1)
    values = sampled(picture, pixels.reshape(-1, 2)).reshape(*pixels.shape[:2], 3)
    differs = np.minimum(np.abs(values - body.colours).mean(axis=-1), _TRUNCATION)
    weight = body.weight * inside
    total = weight.sum(axis=1)
    return np.where(total < _VISIBLE * body.weight.sum(), np.inf, (weight * differs).sum(axis=1) / np.maximum(total, 1e-9))


def sampled(picture: Float[np.ndarray, "height width channels"], pixels: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n channels"]:
    """A picture's values between pixel centres, bilinear; beyond its border, those at the border."""
    height, width = picture.shape[:2]
    x, y = np.clip(pixels[:, 0] - 0.5, 0, width - 1), np.clip(pixels[:, 1] - 0.5, 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    a, b = (x - left)[:, None], (y - top)[:, None]
    rows = [picture[top + i, left] * (1 - a) + picture[top + i, left + 1] * a for i in (0, 1)]
    return rows[0] * (1 - b) + rows[1] * b
