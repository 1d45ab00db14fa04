"""Weighted means of actions whose entries are partly rotations, each averaged where it lives.

    q* = argmax_{|q| = 1} q^T ( sum_n w_n q_n q_n^T ) q                                (Markley et al., Averaging Quaternions, 2007)

is the mean of rotations that has the least weighted sum of squared chordal distances; the sign of a quaternion does not matter to it. All
other entries are averaged as they are. "euler-xyz" means turns about the fixed axes x, then y, then z; "6d" the first two columns of the
matrix, one after the other (Zhou et al., 2019). Which entries of an action are a rotation is told by their names.
"""

from __future__ import annotations

import re

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from foreact.contract.errors import SpecError
from foreact.contract.specs import ActionSpec

__all__ = ["mean_action", "rotation_entries"]

_NUMBERS = {"euler-xyz": 3, "axis-angle": 3, "quaternion-wxyz": 4, "6d": 6}
_NAMED = re.compile(r"rot|roll|pitch|yaw|axis_?angle|quat|euler|orient|(^|[_.])r[xyz]$|(^|[_.])q[wxyz]$")


def rotation_entries(spec: ActionSpec) -> tuple[tuple[int, ...], ...]:
    """The places of each rotation; none where the spec says that there is none. Raises `SpecError` where the names do not tell."""
    if spec.rotation == "none":
        return ()
    size = _NUMBERS[spec.rotation]
    places = [i for i, name in enumerate(spec.names) if _NAMED.search(name.lower())]
    groups = [tuple(places[start:start + size]) for start in range(0, len(places), size)]
    if not groups or any(len(g) != size or g[-1] - g[0] != size - 1 for g in groups):
        raise SpecError("the names do not tell which entries are the rotation", where="action.names", found=", ".join(spec.names),
                        accepted=f"{size} entries in a row with names such as rotation_1, roll or axis_angle_x",
                        next_step="choose another selector, or name the entries so in the dataset's action spec")
    return tuple(groups)


def mean_action(actions: Float[Tensor, "batch candidate horizon action"], weights: Float[Tensor, "batch candidate"], spec: ActionSpec,
                ) -> Float[Tensor, "batch horizon action"]:
    """The weighted mean over candidates; weights add to 1."""
    weights = weights.to(actions)
    mean = torch.einsum("bn,bnha->bha", weights, actions)
    for places in rotation_entries(spec):
        mean[..., list(places)] = _mean_rotation(actions[..., list(places)], weights, spec.rotation).to(mean)
    return mean


def _mean_rotation(values: Tensor, weights: Tensor, kind: str) -> Tensor:
    batch, count, horizon, size = values.shape
    quaternions = torch.from_numpy(_rotations(values.reshape(-1, size).double().cpu().numpy(), kind).as_quat())
    quaternions = quaternions.view(batch, count, horizon, 4)
    moments = torch.einsum("bn,bnhi,bnhj->bhij", weights.double().cpu(), quaternions, quaternions)
    largest = torch.linalg.eigh(moments).eigenvectors[..., -1]  # eigenvalues rise
    found = _numbers(Rotation.from_quat(largest.reshape(-1, 4).numpy()), kind)
    return torch.from_numpy(np.ascontiguousarray(found)).view(batch, horizon, size)


def _rotations(values: np.ndarray, kind: str) -> Rotation:
    match kind:
        case "euler-xyz":
            return Rotation.from_euler("xyz", values)
        case "axis-angle":
            return Rotation.from_rotvec(values)
        case "quaternion-wxyz":
            return Rotation.from_quat(values[:, [1, 2, 3, 0]])
    first = values[:, :3] / np.linalg.norm(values[:, :3], axis=1, keepdims=True)
    second = values[:, 3:] - (first * values[:, 3:]).sum(axis=1, keepdims=True) * first
    second = second / np.linalg.norm(second, axis=1, keepdims=True)
    return Rotation.from_matrix(np.stack([first, second, np.cross(first, second)], axis=2))


def _numbers(rotations: Rotation, kind: str) -> np.ndarray:
    match kind:
        case "euler-xyz":
            return rotations.as_euler("xyz")
        case "axis-angle":
            return rotations.as_rotvec()
        case "quaternion-wxyz":
            found = rotations.as_quat()[:, [3, 0, 1, 2]]
            return found * np.where(found[:, :1] < 0, -1.0, 1.0)  # of the two that are the same rotation, the one with w above 0
    return rotations.as_matrix()[:, :, :2].transpose(0, 2, 1).reshape(-1, 6)
