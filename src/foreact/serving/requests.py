"""What a client asks for, checked against the specs before anything is kept of it.

An observation is a map. Pictures are uint8 (height, width, 3) or (3, height, width), exactly as large as the camera of the spec; names may
be nested, {"images": {"scene": ...}, "state": ...}, or one word with / or . between, "observation/images/scene"; the instruction is
"prompt". What goes beyond openpi stands under one key, "foreact":

    reset      true: a new episode begins              seed       of its noise; by default counted from the server's
    episode    its name, told back with every plan     executed   actions carried out since the last plan: their number, or (k, action)
    imagine    true: the imagined future as pictures   request    a number; asked twice with one number, the first answer is repeated
    monitor    true: the monitor's scores               resume     a session's name, on a new connection
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from foreact.contract.errors import SpecError, nearest
from foreact.contract.specs import ActionSpec, CameraSpec, ObservationSpec
from foreact.envs.base import Observation

__all__ = ["LONGEST_INSTRUCTION", "Request", "read_request"]

LONGEST_INSTRUCTION = 2000
_TOP = ("observation", "images", "image")
_INSTRUCTION = ("prompt", "instruction", "task")
_OURS = ("reset", "seed", "episode", "imagine", "monitor", "executed", "request", "resume")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One message. observation: None where a session is only reset or resumed. executed: rows, or how many of the last plan's."""

    observation: Observation | None
    reset: bool = False
    seed: int | None = None
    episode: str | None = None
    imagine: bool = False
    monitor: bool = False
    executed: int | Float[np.ndarray, "steps action"] | None = None
    number: int | None = None
    resume: str | None = None


def read_request(message: Any, observation: ObservationSpec, action: ActionSpec, *, horizon: int, watched: bool = False) -> Request:
    """Raises one `SpecError` that says what the client must change. watched: whether there is a monitor whose scores can be asked for."""
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise SpecError("a message is a map with words for keys", where="message", found=type(message).__name__)
    message = dict(message)
    ours = message.pop("foreact", {})
    if not isinstance(ours, dict) or not all(isinstance(key, str) for key in ours):
        raise SpecError("a map is needed here", where="foreact", found=type(ours).__name__)
    for key in ours:
        if key not in _OURS:
            raise SpecError("no such word", where=f"foreact.{key[:40]}", accepted=", ".join(_OURS), next_step=nearest(key[:40], _OURS))
    seen = _observation(message, observation) if message else None
    if seen is None and not (_flag(ours, "reset") or "resume" in ours):
        raise SpecError("the message is empty", where="message", accepted="an observation, a reset, or both")
    if _flag(ours, "monitor") and not watched:  # who asks for it might rely on it
        raise SpecError("nothing watches the sessions of this server", where="foreact.monitor", found="true", accepted="false",
                        next_step="foreact serve RUN monitor=RUN/monitor.json")
    return Request(
        observation=seen, reset=_flag(ours, "reset"), seed=_whole(ours, "seed", 2**63), episode=_word(ours, "episode"),
        imagine=_flag(ours, "imagine"), monitor=_flag(ours, "monitor"), executed=_executed(ours.get("executed"), action, horizon),
        number=_whole(ours, "request", 2**63), resume=_word(ours, "resume"))


def _observation(message: Mapping[str, Any], spec: ObservationSpec) -> Observation:
    flat: dict[str, Any] = {}
    _flatten(message, "", flat, depth=0)
    wanted = {*spec.camera_names, "state", "prompt"}
    for name in flat:
        if name not in wanted:
            raise SpecError("the model was not trained with this", where=name[:80], accepted=", ".join(sorted(wanted)),
                            next_step=nearest(name[:80], wanted))
    images = {camera.name: _image(flat.get(camera.name), camera) for camera in spec.cameras}
    return {"images": images, "state": _state(flat.get("state"), spec), "instruction": _instruction(flat.get("prompt"), spec)}


def _flatten(found: Mapping[str, Any], before: str, flat: dict[str, Any], *, depth: int) -> None:
    """Leaves by the last words of their names: cameras by theirs, the state, the prompt."""
    if depth > len(_TOP):
        raise SpecError("the message is nested too deep", where=before)
    for key, value in found.items():
        if not isinstance(key, str):
            raise SpecError("a message is a map with words for keys", where=before or "message", found=type(key).__name__)
        name = key.replace("/", ".")
        while name.partition(".")[0] in _TOP and "." in name:
            name = name.partition(".")[2]
        if isinstance(value, dict) and name in _TOP:
            _flatten(value, name, flat, depth=depth + 1)
            continue
        name = "prompt" if name in _INSTRUCTION else name
        if name in flat:
            raise SpecError("this is there twice", where=name[:80])
        flat[name] = value


def _image(value: Any, camera: CameraSpec) -> np.ndarray:
    where, form = f"images.{camera.name}", f"uint8 ({camera.height}, {camera.width}, 3) or (3, {camera.height}, {camera.width})"
    if value is None:
        raise SpecError("a camera is missing", where=where, accepted=form)
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
        raise SpecError("a picture is an array of uint8", where=where, found=_form(value), accepted=form,
                        next_step="send what the camera gave, upright RGB from 0 to 255")
    if value.shape == (3, camera.height, camera.width):
        return value
    if value.shape == (camera.height, camera.width, 3):
        return np.ascontiguousarray(value.transpose(2, 0, 1))
    raise SpecError("the picture has another size than in training", where=where, found=_form(value), accepted=form,
                    next_step="scale it as the training data was scaled, before it is sent")


def _state(value: Any, spec: ObservationSpec) -> np.ndarray:
    form = f"({spec.state.size},): {', '.join(spec.state.names)}"
    if value is None and spec.state.size:
        raise SpecError("the state is missing", where="state", accepted=form)
    value = np.zeros(0, np.float32) if value is None else value
    if isinstance(value, list) and all(type(x) in (int, float) for x in value):
        value = np.asarray(value, np.float64) if all(abs(x) < 1e300 for x in value) else None
    if not isinstance(value, np.ndarray) or value.shape != (spec.state.size,) or value.dtype.kind not in "iuf":
        raise SpecError("the state has another form than in training", where="state", found=_form(value), accepted=form)
    with np.errstate(over="ignore"):
        numbers = value.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise SpecError("the state is not finite", where="state", found=str(numbers.tolist())[:200], accepted="finite numbers")
    return numbers


def _instruction(value: Any, spec: ObservationSpec) -> str:
    if value is None and not spec.instruction:
        return ""
    if not isinstance(value, str) or len(value) > LONGEST_INSTRUCTION:
        raise SpecError("what is the robot to do?", where="prompt", found=_form(value),
                        accepted=f"a text of up to {LONGEST_INSTRUCTION} characters")
    return value


def _executed(value: Any, spec: ActionSpec, horizon: int) -> int | np.ndarray | None:
    form = f"a number of actions up to {horizon}, or finite numbers (up to {horizon}, {spec.size})"
    if value is None:
        return None
    if type(value) is int and 0 <= value <= horizon:
        return value
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "iuf" and value.shape[1] == spec.size:
        with np.errstate(over="ignore"):
            rows = value.astype(np.float32)
        if len(rows) <= horizon and np.isfinite(rows).all():
            return rows
    raise SpecError("these are no executed actions", where="foreact.executed", found=_form(value), accepted=form)


def _flag(ours: Mapping[str, Any], name: str) -> bool:
    value = ours.get(name, False)
    if not isinstance(value, (bool, np.bool_)):
        raise SpecError("true or false?", where=f"foreact.{name}", found=_form(value))
    return bool(value)


def _whole(ours: Mapping[str, Any], name: str, below: int) -> int | None:
    value = ours.get(name)
    if value is not None and not (type(value) is int and 0 <= value < below):
        raise SpecError("a whole number from 0 is needed", where=f"foreact.{name}", found=_form(value), accepted=f"0 to {below - 1}")
    return value


def _word(ours: Mapping[str, Any], name: str) -> str | None:
    value = ours.get(name)
    if value is not None and not (isinstance(value, str) and len(value) <= 200):
        raise SpecError("a word of up to 200 characters is needed", where=f"foreact.{name}", found=_form(value))
    return value


def _form(value: Any) -> str:
    """What something is, without what it holds."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, (str, list, dict)):
        return f"{type(value).__name__} of length {len(value)}"
    return str(value)[:60] if isinstance(value, (int, float, bool)) else type(value).__name__
