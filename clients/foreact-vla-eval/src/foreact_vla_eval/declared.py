"""A model's specs in the words by which vla-eval compares a server with a benchmark."""

from __future__ import annotations

from vla_eval.specs import IMAGE_RGB, LANGUAGE, POSITION_DELTA, ROTATION_AA, ROTATION_EULER, DimSpec

from foreact.contract.specs import ActionSpec, GripperConvention, ObservationSpec

__all__ = ["actions_declared", "observation_declared"]

_ROTATIONS = {"euler-xyz": ROTATION_EULER, "axis-angle": ROTATION_AA}
_GRIPPERS = {(-1.0, 1.0): "binary_close_positive", (1.0, -1.0): "binary_close_negative", (1.0, 0.0): "continuous_01",
             (0.0, 1.0): "binary_close_01"}


def actions_declared(spec: ActionSpec) -> dict[str, DimSpec]:
    """Position, rotation and gripper where the action is a displacement of the end effector made of nothing else; else one raw vector.

    What has no word there (quaternions with w first, say) is raw too, so that a person is told and nothing is taken for something else.
    """
    rotation = _ROTATIONS.get(spec.rotation)
    size = 3 + (rotation.dims if rotation else 0) + (spec.gripper is not None)
    plain = spec.reference == "delta" and spec.frame == "end-effector" and spec.size == size
    if not plain or (spec.rotation != "none" and rotation is None) or (spec.gripper and spec.gripper.index != spec.size - 1):
        return {"actions": DimSpec("actions", spec.size, "raw", description=", ".join(spec.names))}
    found = {"position": POSITION_DELTA}
    if rotation:
        found["rotation"] = rotation
    if spec.gripper:
        found["gripper"] = _gripper(spec.gripper)
    return found


def _gripper(gripper: GripperConvention) -> DimSpec:
    word = _GRIPPERS.get((gripper.open, gripper.closed), "raw")
    return DimSpec("gripper", 1, word, (min(gripper.open, gripper.closed), max(gripper.open, gripper.closed)))


def observation_declared(spec: ObservationSpec) -> dict[str, DimSpec]:
    """Pictures, state and, where the model reads one, an instruction. The state is raw: its entries have names and units, not a word."""
    entries = ", ".join(f"{name} [{unit}]" for name, unit in zip(spec.state.names, spec.state.units, strict=True))
    found = {"image": IMAGE_RGB, "state": DimSpec("state", spec.state.size, "raw", description=entries)}
    return found | ({"language": LANGUAGE} if spec.instruction else {})
