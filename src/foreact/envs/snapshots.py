"""Exact rewind of a Meta-World environment, as plain arrays.

Three things make up an instant: the simulator's integration state; the fields of the model that tasks move (bodies,
sites, geoms, equality constraints); and the task's own attributes, some of which are windows into the simulator's
memory. `mjSTATE_FULLPHYSICS` is not enough: without the warm start of the solver every task drifts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreact.contract.errors import SpecError

__all__ = ["capture", "rewind"]

_MODEL_FIELDS = ("body_pos", "body_quat", "site_pos", "site_quat", "geom_pos", "geom_quat", "geom_friction", "eq_data")
_OWNERS = ("data", "model")
_OURS = frozenset({"width", "height", "frame_skip", "max_path_length"})


def capture(raw: Any) -> dict[str, NDArray[Any]]:
    """Arrays by name: `state`, `model/<field>`, and per attribute `array/`, `scalar/`, `none/` or `window/<name>`."""
    import mujoco

    size = mujoco.mj_stateSize(raw.model, mujoco.mjtState.mjSTATE_INTEGRATION)
    state = np.empty(size)
    mujoco.mj_getState(raw.model, raw.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    arrays: dict[str, NDArray[Any]] = {"state": state}
    for field in _MODEL_FIELDS:
        arrays[f"model/{field}"] = getattr(raw.model, field).copy()
    for name, value in raw.__dict__.items():
        if name in _OURS:
            continue
        if value is None:
            arrays[f"none/{name}"] = np.zeros(0)
        elif type(value) in (bool, int, float) or isinstance(value, np.generic):
            arrays[f"scalar/{name}"] = np.asarray(value)
        elif type(value) is np.ndarray and value.dtype != object:
            window = None if value.flags.owndata else _window(raw, value)
            arrays[f"array/{name}" if window is None else f"window/{name}"] = value.copy() if window is None else window
    return arrays


def rewind(raw: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put `raw` back to the instant of `arrays`."""
    import mujoco

    size = mujoco.mj_stateSize(raw.model, mujoco.mjtState.mjSTATE_INTEGRATION)
    if "state" not in arrays or arrays["state"].shape != (size,):
        raise SpecError("the snapshot is of another environment", where="snapshot",
                        found=f"state {arrays['state'].shape if 'state' in arrays else 'missing'}", accepted=f"state ({size},)",
                        next_step="restore it in an environment of the same task")
    for field in _MODEL_FIELDS:
        getattr(raw.model, field)[:] = arrays[f"model/{field}"]
    state = np.ascontiguousarray(arrays["state"])
    mujoco.mj_setState(raw.model, raw.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(raw.model, raw.data)
    # The forward pass moves the solver's warm start; without the second write the next step differs in its last bits.
    mujoco.mj_setState(raw.model, raw.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    for key, value in arrays.items():
        kind, _, name = key.partition("/")
        if kind == "none":
            setattr(raw, name, None)
        elif kind == "scalar":
            setattr(raw, name, value.item())
        elif kind == "array":
            setattr(raw, name, value.copy())
        elif kind == "window":
            setattr(raw, name, _open(raw, value))


def _fields(raw: Any, owner: str) -> list[str]:
    source = getattr(raw, owner)
    return sorted(name for name in dir(source) if not name.startswith("_") and isinstance(getattr(source, name), np.ndarray))


def _window(raw: Any, value: NDArray[Any]) -> NDArray[np.int64] | None:
    """(owner, field, first element, shape...) when `value` looks into the simulator's memory, else None."""
    address = value.__array_interface__["data"][0]
    for number, owner in enumerate(_OWNERS):
        for index, name in enumerate(_fields(raw, owner)):
            field = getattr(getattr(raw, owner), name)
            if field.dtype == value.dtype and np.may_share_memory(field, value):
                offset = (address - field.__array_interface__["data"][0]) // field.itemsize
                return np.array([number, index, offset, *value.shape], dtype=np.int64)
    return None


def _open(raw: Any, window: NDArray[np.int64]) -> NDArray[Any]:
    owner = _OWNERS[window[0]]
    field = getattr(getattr(raw, owner), _fields(raw, owner)[window[1]])
    shape = tuple(window[3:])
    return field.reshape(-1)[window[2]:window[2] + int(np.prod(shape))].reshape(shape)
