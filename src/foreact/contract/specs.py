"""What a robot shows and what it takes: observation and action specs with their units and conventions.

A spec is a value. It travels with every dataset, checkpoint and result, so that two things recorded under
different conventions raise instead of silently disagreeing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from foreact.contract.errors import SpecError

__all__ = ["ActionSpec", "Calibration", "CameraSpec", "GripperConvention", "ObservationSpec", "StateSpec", "require_equal"]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Where a camera that never moves stands: position in m, unit vectors in the robot's world, vertical field of view in degrees."""

    position: tuple[float, float, float]
    forward: tuple[float, float, float]
    up: tuple[float, float, float]
    fovy: float


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """One camera. Images are uint8 RGB, row 0 at the top, as a person would see the scene upright."""

    name: str
    height: int
    width: int
    calibration: Calibration | None = None


@dataclass(frozen=True, kw_only=True)
class StateSpec:
    """Proprioception: one number per name, in the stated units."""

    names: tuple[str, ...]
    units: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class GripperConvention:
    """Which action entry is the gripper, and the values that mean open and closed."""

    index: int
    open: float
    closed: float


@dataclass(frozen=True, kw_only=True)
class ActionSpec:
    """One control step. `low`/`high` bound what the robot accepts; outside them is an error, not a clip.

    `reference` says whether entries are absolute targets or deltas to the present; `frame` says of what.
    `rate_hz` is control steps per second. `unit_metres`: how far 1.0 of a translation moves its frame, where the controller
    says so; a model without action labels turns motion into commands by it.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    rate_hz: float
    reference: Literal["absolute", "delta"]
    frame: Literal["end-effector", "joint", "base"]
    rotation: Literal["none", "euler-xyz", "axis-angle", "quaternion-wxyz", "6d"] = "none"
    gripper: GripperConvention | None = None
    unit_metres: float | None = None

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.low) == len(self.high):
            raise SpecError("an action spec needs one name, low and high per entry", where="ActionSpec",
                            found=f"{len(self.names)} names, {len(self.low)} low, {len(self.high)} high")

    @property
    def size(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class ObservationSpec:
    """Everything that a policy may see: cameras, proprioception, and whether an instruction comes along."""

    cameras: tuple[CameraSpec, ...]
    state: StateSpec
    rate_hz: float
    instruction: bool = True
    notes: tuple[str, ...] = field(default=())

    @property
    def camera_names(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.cameras)

    def camera(self, name: str) -> CameraSpec:
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise SpecError("no such camera", where="observation.cameras", found=name, accepted=", ".join(self.camera_names))


def require_equal(ours: object, theirs: object, *, where: str, next_step: str) -> None:
    """Raise a `SpecError` that names every field in which two specs differ."""
    if ours == theirs:
        return
    differing = [
        f"{name}: {getattr(ours, name)!r} against {getattr(theirs, name, '(absent)')!r}"
        for name in getattr(ours, "__dataclass_fields__", {})
        if getattr(ours, name) != getattr(theirs, name, None)
    ]
    raise SpecError("two specs differ", where=where, found="; ".join(differing) or f"{ours!r} against {theirs!r}",
                    accepted="identical specs", next_step=next_step)
