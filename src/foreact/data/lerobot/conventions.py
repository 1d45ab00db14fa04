"""Our conventions inside a LeRobot dataset: `meta/foreact.json` holds the observation and action specs.

LeRobot's info.json names entries but says nothing of units, reference, frame or polarity. For a dataset without our
file a person states them; nothing is guessed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foreact.contract.errors import SpecError
from foreact.contract.specs import ActionSpec, Calibration, CameraSpec, GripperConvention, ObservationSpec, StateSpec
from foreact.data.lerobot.layout import CAMERA_PREFIX, Feature, camera_name, read_json

__all__ = ["Specs", "StatedConventions", "derive_specs", "read_specs", "standard_features", "write_specs"]

FILE = "foreact.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Specs:
    """What a dataset shows and what its actions mean. `provenance`: free JSON about how it was made."""

    observation: ObservationSpec
    action: ActionSpec
    provenance: Mapping[str, object] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StatedConventions:
    """What a person must say about a dataset that does not say it itself. None means not stated."""

    action_reference: str | None = None
    action_frame: str | None = None
    action_rotation: str | None = None
    action_low: tuple[float, ...] | None = None
    action_high: tuple[float, ...] | None = None
    gripper: GripperConvention | None = None
    no_gripper: bool = False
    state_units: tuple[str, ...] | None = None


def standard_features(observation: ObservationSpec, action: ActionSpec, *, extra: Mapping[str, Feature] | None = None,
                      images_as: str = "video") -> dict[str, Feature]:
    """The features of a dataset with these specs: `observation.state`, `action`, one `observation.images.*` per camera."""
    features = {
        "observation.state": Feature(dtype="float32", shape=(observation.state.size,), names=list(observation.state.names)),
        "action": Feature(dtype="float32", shape=(action.size,), names=list(action.names)),
    }
    for camera in observation.cameras:
        features[CAMERA_PREFIX + camera.name] = Feature(dtype=images_as, shape=(camera.height, camera.width, 3),
                                                        names=["height", "width", "channels"])
    return features | dict(extra or {})


def write_specs(meta: Path, specs: Specs) -> None:
    """Write `foreact.json` into the folder `meta`."""
    value = {"format": FORMAT, "observation": dataclasses.asdict(specs.observation), "action": dataclasses.asdict(specs.action),
             "provenance": dict(specs.provenance)}
    (meta / FILE).write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def _camera(value: dict[str, Any]) -> CameraSpec:
    calibration = value.pop("calibration", None)
    if calibration is not None:
        calibration = Calibration(**{name: tuple(v) if isinstance(v, list) else v for name, v in calibration.items()})
    return CameraSpec(calibration=calibration, **value)


def read_specs(meta: Path) -> Specs | None:
    """The specs in `foreact.json`, or None where the dataset has no such file."""
    path = meta / FILE
    if not path.exists():
        return None
    value = read_json(path)
    if value.get("format") != FORMAT:
        raise SpecError("unknown format", where=f"{path}: format", found=value.get("format"), accepted=FORMAT)
    try:
        observation, action = dict(value["observation"]), dict(value["action"])
        cameras = tuple(_camera(camera) for camera in observation.pop("cameras"))
        state = {name: tuple(entries) for name, entries in observation.pop("state").items()}
        observation["notes"] = tuple(observation.get("notes", ()))
        gripper = action.pop("gripper", None)
        for name in ("names", "low", "high"):
            action[name] = tuple(action[name])
        return Specs(observation=ObservationSpec(cameras=cameras, state=StateSpec(**state), **observation),
                     action=ActionSpec(gripper=None if gripper is None else GripperConvention(**gripper), **action),
                     provenance=value.get("provenance", {}))
    except (KeyError, TypeError, AttributeError) as error:
        raise SpecError("the specs cannot be read", where=str(path), found=error) from None


def derive_specs(features: Mapping[str, Feature], *, fps: float, stated: StatedConventions, where: str,
                 state_key: str = "observation.state", action_key: str = "action") -> Specs:
    """Specs of a foreign dataset: sizes, names and rate from `features`, conventions as `stated`.

    Raises `SpecError` listing every convention that is neither in the dataset nor stated.
    """
    for key in (state_key, action_key):
        if key not in features or len(features[key].shape) != 1:
            raise SpecError("no such vector in the dataset", where=where, found=", ".join(features), accepted=key,
                            next_step="name the feature with --state-key or --action-key")
    state, action = features[state_key], features[action_key]
    needed = {
        "--action-reference absolute|delta": stated.action_reference,
        "--action-frame end-effector|joint|base": stated.action_frame,
        "--action-rotation none|euler-xyz|axis-angle|quaternion-wxyz|6d": stated.action_rotation,
        "--action-low and --action-high": None if stated.action_high is None else stated.action_low,
        "--gripper INDEX OPEN CLOSED, or --no-gripper": stated.gripper or (stated.no_gripper or None),
        "--state-units": stated.state_units,
    }
    absent = [option for option, value in needed.items() if value is None]
    if absent:
        raise SpecError("the dataset does not say what its numbers mean", where=where, found="not stated: " + "; ".join(absent),
                        next_step="state them; a wrong guess would train a robot on the wrong convention")
    cameras = tuple(CameraSpec(name=camera_name(key), height=f.shape[0], width=f.shape[1])
                    for key, f in features.items() if is_camera(key, f))
    return Specs(
        observation=ObservationSpec(
            cameras=cameras, rate_hz=fps,
            state=StateSpec(names=_names(state, "state"), units=_each(stated.state_units, state, "--state-units"))),
        action=ActionSpec(
            names=_names(action, "action"), low=_each(stated.action_low, action, "--action-low"),
            high=_each(stated.action_high, action, "--action-high"), rate_hz=fps, reference=stated.action_reference,
            frame=stated.action_frame, rotation=stated.action_rotation, gripper=stated.gripper))


def is_camera(key: str, feature: Feature) -> bool:
    """An RGB picture of the scene, as against a depth or segmentation map."""
    depth = bool((feature.info or {}).get("video.is_depth_map", False))
    return feature.is_visual and key.startswith("observation.image") and feature.shape[-1:] == (3,) and not depth


def _names(feature: Feature, word: str) -> tuple[str, ...]:
    return feature.element_names or tuple(f"{word}_{i}" for i in range(int(np.prod(feature.shape))))


def _each(values: tuple | None, feature: Feature, option: str) -> tuple:
    """One value per entry; a single one stands for all."""
    assert values is not None
    if len(values) not in (1, feature.shape[0]):
        raise SpecError("one value per entry, or one for all", where=option, found=len(values), accepted=feature.shape[0])
    return tuple(values) * (feature.shape[0] if len(values) == 1 else 1)
