"""What LeRobot's own loader and environments hand over, as this project's windows and observations.

LeRobot gives one dictionary for a batch: pictures as numbers in [0, 1], (batch, time, 3, height, width), under one key for each camera;
`observation.state` (batch, time, state); `action` (batch, steps, action); beside each of them a flag `<key>_is_pad` (batch, time) where
the episode had no such step and its first or last one was repeated; `task`, one instruction for each row; `index`, the row in the dataset.
Its time axis holds the steps that were asked for, in order: those of `observation_steps` and of `action_steps`. An environment's
observation has no time axis. Nothing here needs LeRobot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foreact.contract.context import Context, Window
from foreact.contract.errors import SpecError
from foreact.contract.specs import CameraSpec, ObservationSpec
from foreact.data.lerobot.layout import camera_name
from foreact.data.resizing import resize_area
from foreact.data.windows import Offsets, Windows, steps_between

__all__ = ["action_steps", "camera_keys", "observation_steps", "observations_of", "window_of", "with_what_rows_tell"]

STATE, ACTION, TASK, INDEX = "observation.state", "action", "task", "index"


def observation_steps(offsets: Offsets, *, fold: int = 1) -> tuple[int, ...]:
    """Control steps from the present at which cameras and state are needed, ascending, each once."""
    between = () if fold == 1 else steps_between(offsets.future, fold)
    return tuple(sorted({*offsets.history, *offsets.future, *between}))


def action_steps(offsets: Offsets) -> tuple[int, ...]:
    """Control steps of the actions that are needed: those before the present, then the chunk."""
    return tuple(range(-offsets.past_actions, offsets.horizon))


def camera_keys(names: Sequence[str]) -> dict[str, str]:
    """The key of each camera among the keys of a batch, by the camera's name."""
    return {camera_name(key): key for key in names if key.startswith("observation.image") and not key.endswith("_is_pad")}


def window_of(batch: Mapping[str, Any], observation: ObservationSpec, *, offsets: Offsets, fold: int = 1) -> Window:
    """A batch of LeRobot's loader as a `Window`, pictures resized to those of the spec.

    Raises `SpecError` where something is missing or has another form than `offsets` ask for. What only other rows of the dataset tell
    (value, annotations) is not in it: see `with_what_rows_tell`.
    """
    steps = observation_steps(offsets, fold=fold)
    between = () if fold == 1 else steps_between(offsets.future, fold)
    history, future, clip = ([steps.index(step) for step in wanted] for wanted in (offsets.history, offsets.future, between))
    state = _of_form(batch, STATE, (None, len(steps), observation.state.size)).float()
    actions = _of_form(batch, ACTION, (len(state), len(action_steps(offsets)), None)).float()
    held, action_held = (_of_form(batch, f"{key}_is_pad", (len(state), values.shape[1])).bool()
                         for key, values in ((STATE, state), (ACTION, actions)))
    seen = {camera.name: _pictures(batch, camera, (len(state), len(steps))) for camera in observation.cameras}
    past = offsets.past_actions
    context = Context(
        images={name: x[:, history] for name, x in seen.items()}, state=state[:, history], instruction=_texts(batch, len(state)),
        past_actions=actions[:, :past].masked_fill(action_held[:, :past, None], 0.0) if past else None,
        past_is_pad=action_held[:, :past] if past else None, history_is_pad=held[:, history])
    return Window(
        context=context, actions=actions[:, past:], action_is_pad=action_held[:, past:],
        future_images={name: x[:, future] for name, x in seen.items()}, future_is_pad=held[:, future], future_offsets=offsets.future,
        future_state=state[:, future], clip_images={name: x[:, clip] for name, x in seen.items()} if clip else {})


def with_what_rows_tell(window: Window, rows: Windows, batch: Mapping[str, Any]) -> Window:
    """The window with what LeRobot's loader does not give: the return, success, annotations, actions as they were executed.

    rows: windows of all episodes of the same dataset, without pictures.
    """
    found = rows.batch(_of_form(batch, INDEX, (len(window.actions),)).cpu().numpy())
    return replace(window, value=found.value, imitated=found.imitated, executed=found.executed, annotations=found.annotations)


def observations_of(batch: Mapping[str, Any], observation: ObservationSpec) -> list[dict[str, Any]]:
    """What each row of a batch without a time axis shows, pictures resized to those of the spec; raises `SpecError`.

    Each in the form of an environment's observation: "images" by camera, uint8 (3, height, width), "state", "instruction".
    """
    state = _of_form(batch, STATE, (None, observation.state.size)).float().cpu().numpy()
    seen = {camera.name: _pictures(batch, camera, (len(state),)).cpu().numpy() for camera in observation.cameras}
    texts = _texts(batch, len(state))
    return [{"images": {name: x[row] for name, x in seen.items()}, "state": state[row], "instruction": texts[row]}
            for row in range(len(state))]


def _of_form(batch: Mapping[str, Any], key: str, shape: tuple[int | None, ...]) -> Tensor:
    """The tensor under `key`, whose shape must be this one; None stands for any number."""
    value = batch.get(key)
    found = tuple(value.shape) if isinstance(value, Tensor) else None
    if found is None or len(found) != len(shape) or any(n is not None and n != m for n, m in zip(shape, found, strict=True)):
        raise SpecError("a batch of another form is needed", where=key, found=found or sorted(batch),
                        accepted="(" + ", ".join("any" if n is None else str(n) for n in shape) + ")",
                        next_step="let the loader give the steps that the policy's config asks for (observation_delta_indices, "
                                  "action_delta_indices); an environment's observation has no time axis")
    return value


def _pictures(batch: Mapping[str, Any], camera: CameraSpec, shape: tuple[int, ...]) -> Tensor:
    """uint8 (*shape, 3, height, width): LeRobot divides by 255, which is undone exactly."""
    keys = camera_keys(tuple(batch))
    if camera.name not in keys:
        raise SpecError("a camera is missing", where=f"observation.images.{camera.name}", found=", ".join(keys) or "no cameras",
                        accepted=camera.name, next_step="rename the cameras: --rename_map")
    images = _of_form(batch, keys[camera.name], (*shape, 3, None, None))
    if images.dtype != torch.uint8:
        images = images.mul(255).round().clamp(0, 255).to(torch.uint8)
    size = (camera.height, camera.width)
    if images.shape[-2:] == size:
        return images
    small = resize_area(np.ascontiguousarray(images.flatten(0, -4).cpu().numpy()), size)
    return torch.from_numpy(small).unflatten(0, shape).to(images.device)


def _texts(batch: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """One instruction for each row; an environment without any gives none, which is the empty one."""
    given = batch.get(TASK, "")
    texts = (given,) * count if isinstance(given, str) else tuple(map(str, given))
    if len(texts) != count:
        raise SpecError("one instruction for each row is needed", where=TASK, found=len(texts), accepted=count)
    return texts
