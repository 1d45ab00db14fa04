"""Calibrated cameras in tensors: points of the world to pixels and back, differentiable.

    column = width/2 + f (p . right)/d,   row = height/2 - f (p . up)/d,   d = p . forward,   f = height / (2 tan(fovy/2))

with p the point seen from the camera, in m. Pixels are (column, row), fractional, with the centre of the first pixel at
(0.5, 0.5); depth is the distance along the view, not along the ray. The conventions are those of the recorded tracks.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.contract.specs import Calibration

__all__ = ["project", "unproject"]

_NEAREST = 1e-6


def project(camera: Calibration, points: Float[Tensor, "*any 3"], *, height: int, width: int,
            ) -> tuple[Float[Tensor, "*any 2"], Float[Tensor, "*any"]]:
    """Pixels of world points, and their depths in m; a point behind the camera has a depth below zero and a pixel without meaning."""
    position, right, up, forward = _axes(camera, points)
    offset = points - position
    depth = offset @ forward
    safe = torch.where(depth.abs() < _NEAREST, torch.full_like(depth, _NEAREST), depth)
    focal = _focal(camera, height)
    pixels = torch.stack([0.5 * width + focal * (offset @ right) / safe, 0.5 * height - focal * (offset @ up) / safe], dim=-1)
    return pixels, depth


def unproject(camera: Calibration, pixels: Float[Tensor, "*any 2"], depth: Float[Tensor, "*any"], *, height: int, width: int,
              ) -> Float[Tensor, "*any 3"]:
    """World points in m of pixels at these depths: the inverse of `project`."""
    position, right, up, forward = _axes(camera, pixels)
    focal = _focal(camera, height)
    across, above = (pixels[..., :1] - 0.5 * width) / focal, (0.5 * height - pixels[..., 1:]) / focal
    return position + depth[..., None] * (forward + across * right + above * up)


def _axes(camera: Calibration, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(position, right, up, forward) in the type and on the device of `like`."""
    position, forward, up = (like.new_tensor(v) for v in (camera.position, camera.forward, camera.up))
    return position, torch.linalg.cross(forward, up), up, forward


def _focal(camera: Calibration, height: int) -> float:
    """In pixels."""
    return 0.5 * height / math.tan(math.radians(camera.fovy) / 2)
