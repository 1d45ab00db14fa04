"""The bytes on the wire: msgpack with arrays as openpi writes them, read as if a stranger had sent them.

An array is a map {b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [2, 3]} in C order, a numpy number
{b"__npgeneric__": True, b"data": 1.5, b"dtype": "<f4"}; the four keys may also be strings. `pack` writes the bytes that openpi-client 0.1.1
writes. `unpack` differs where that trusts its input: a dtype is a plain number or is refused, sizes are counted before memory is
taken, and no type can be named that would run code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.contract.errors import MissingExtraError, SpecError

__all__ = ["WireLimits", "pack", "unpack"]

_NUMBERS = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
_KEYS = ("data", "dtype", "shape")


@dataclass(frozen=True, kw_only=True)
class WireLimits:
    """What one message may hold. bytes: of the message; entries: in one map or list; containers: maps and lists in all."""

    bytes: int
    entries: int = 4096
    containers: int = 1024
    text: int = 16_384
    dimensions: int = 6


def pack(value: Any) -> bytes:
    """A message of maps, lists, text, numbers and numpy arrays of plain numbers."""
    return _msgpack().packb(value, default=_packed)


def unpack(message: bytes, limits: WireLimits) -> Any:
    """The message, with read-only arrays that share its memory; raises `SpecError` for anything else than `pack` could have written."""
    msgpack, read = _msgpack(), _Reader(limits)
    if len(message) > limits.bytes:
        raise SpecError("the message is too large", where="message", found=f"{len(message)} bytes", accepted=f"up to {limits.bytes}")
    try:
        return msgpack.unpackb(message, object_hook=read.map, list_hook=read.list, max_str_len=limits.text, max_bin_len=limits.bytes,
                               max_array_len=limits.entries, max_map_len=limits.entries, max_ext_len=0)
    except (ValueError, TypeError, msgpack.UnpackException) as error:  # text that is no UTF-8 and nesting too deep are among them
        raise SpecError("this is no msgpack that is understood here", where="message", found=_told(error),
                        accepted="one msgpack map", next_step="pack it as openpi-client does") from None


class _Reader:
    """Turns maps into arrays while the message is read, and counts what it holds."""

    def __init__(self, limits: WireLimits) -> None:
        self._limits, self._left = limits, limits.containers

    def list(self, items: list[Any]) -> list[Any]:
        self._count()
        return items

    def map(self, found: dict[Any, Any]) -> Any:
        self._count()
        if not found.keys() & {b"__ndarray__", "__ndarray__", b"__npgeneric__", "__npgeneric__"}:
            return found
        data, dtype, shape = (found.get(key.encode(), found.get(key)) for key in _KEYS)
        kind = _dtype(dtype)
        if found.keys() & {b"__npgeneric__", "__npgeneric__"}:
            if not isinstance(data, (bool, int, float)):
                raise SpecError("a numpy number holds one number", where="message", found=type(data).__name__)
            return _number(kind, data)
        return self._array(data, kind, shape)

    def _array(self, data: Any, kind: np.dtype[Any], shape: Any) -> np.ndarray:
        if not isinstance(data, bytes):
            raise SpecError("the data of an array are bytes", where="message", found=type(data).__name__)
        if not isinstance(shape, (list, tuple)) or len(shape) > self._limits.dimensions or not all(
                type(n) is int and 0 <= n <= self._limits.bytes for n in shape):
            raise SpecError("an array has no such shape", where="message", found=str(shape)[:80],
                            accepted=f"up to {self._limits.dimensions} whole numbers")
        if math.prod(shape) * kind.itemsize != len(data):
            raise SpecError("the data of an array do not fill its shape", where="message",
                            found=f"{len(data)} bytes for {kind} {tuple(shape)}", accepted=f"{math.prod(shape) * kind.itemsize} bytes")
        return np.frombuffer(data, dtype=kind).reshape(shape)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise SpecError("the message holds too many maps and lists", where="message", accepted=f"up to {self._limits.containers}")


def _dtype(name: Any) -> np.dtype[Any]:
    if isinstance(name, bytes):
        name = name[:16].decode("ascii", "replace")
    if not isinstance(name, str) or not _NUMBERS.fullmatch(name):
        raise SpecError("arrays hold plain numbers", where="message", found=str(name)[:40], accepted="|b1, |u1, <i4, <f4, ...")
    return np.dtype(name)


def _number(kind: np.dtype[Any], data: bool | int | float) -> np.generic:
    try:
        return kind.type(data)
    except (OverflowError, ValueError):
        raise SpecError("this number does not fit its type", where="message", found=str(data)[:40], accepted=str(kind)) from None


def _packed(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        if not _NUMBERS.fullmatch(value.dtype.str):
            raise SpecError("only arrays of plain numbers go on the wire", where="message", found=value.dtype)
        if isinstance(value, np.generic):
            return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, Mapping):
        return dict(value)
    raise SpecError("this cannot go on the wire", where="message", found=type(value).__name__)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:120]}"


def _msgpack() -> Any:
    try:
        import msgpack
    except ImportError as error:
        raise MissingExtraError("msgpack", "serve", "serving a model") from error
    return msgpack
