"""msgpack with numpy arrays, as openpi writes them: {b"__ndarray__": True, b"data": ..., b"dtype": "<f4", b"shape": [...]}."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np

__all__ = ["pack", "unpack"]


def pack(value: Any) -> bytes:
    return msgpack.packb(value, default=_packed)


def unpack(message: bytes) -> Any:
    """Arrays of plain numbers only: no type can be named that would run code."""
    return msgpack.unpackb(message, object_hook=_array, max_ext_len=0)


def _packed(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind not in "biuf":
            raise TypeError(f"only arrays of plain numbers go on the wire, not {value.dtype}")
        if isinstance(value, np.generic):
            return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    raise TypeError(f"{type(value).__name__} cannot go on the wire")


def _array(found: dict[Any, Any]) -> Any:
    if b"__ndarray__" in found or b"__npgeneric__" in found:
        kind = np.dtype(found[b"dtype"])
        if kind.kind not in "biuf":
            raise ValueError(f"an array of {kind} came over the wire")
        if b"__ndarray__" in found:
            return np.frombuffer(found[b"data"], dtype=kind).reshape(found[b"shape"])
        return kind.type(found[b"data"])
    return found
