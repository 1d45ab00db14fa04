"""Under which rules a result was measured, as a value with a fingerprint; results under different rules never meet.

A protocol is plain data: suite, tasks, cameras, image operations, condition, horizon, instructions, action convention,
seeds, versions, renderer. Its fingerprint is the SHA-256 of its canonical JSON (keys sorted, no spaces).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from foreact.contract.config import encode
from foreact.contract.errors import ConfigError, ProtocolMismatchError, nearest

__all__ = ["Protocol", "require_same"]

_ABSENT = "(absent)"


@dataclass(frozen=True)
class Protocol:
    """`fields`: names to plain values, nested as they like."""

    fields: Mapping[str, Any]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Protocol:
        """From values that may hold dataclasses and tuples; what is kept is what JSON would give back."""
        return cls(json.loads(json.dumps(encode(fields), allow_nan=False)))

    @property
    def canonical(self) -> str:
        return json.dumps(self.fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)

    @property
    def fingerprint(self) -> str:
        """64 hex digits."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    def without(self, names: Collection[str]) -> Protocol:
        return Protocol({name: value for name, value in self.fields.items() if name not in names})

    def differences(self, other: Protocol) -> dict[str, tuple[Any, Any]]:
        """Dotted path to (ours, theirs), for every leaf that differs."""
        ours, theirs = _leaves(self.fields), _leaves(other.fields)
        return {path: (ours.get(path, _ABSENT), theirs.get(path, _ABSENT)) for path in sorted(ours.keys() | theirs.keys())
                if ours.get(path, _ABSENT) != theirs.get(path, _ABSENT)}


def require_same(first: Protocol, second: Protocol, *, across: Collection[str] = ()) -> None:
    """Raise `ProtocolMismatchError` with every differing field, save top-level fields that `across` names on purpose."""
    known = first.fields.keys() | second.fields.keys()
    for name in across:
        if name not in known:
            raise ConfigError("no such field of a protocol", where="across", found=name, next_step=nearest(name, known))
    found = first.without(across).differences(second.without(across))
    if not found:
        return
    lines = "".join(f"\n    {path}: {ours!r} against {theirs!r}" for path, (ours, theirs) in found.items())
    tops = sorted({path.split(".")[0] for path in found})
    raise ProtocolMismatchError(
        "these results were measured under different protocols", where="protocol", found=lines,
        accepted="the same protocol, or a comparison that names the field it spans",
        next_step=f"evaluate again under one protocol, or compare across {', '.join(tops)} on purpose")


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {prefix.removesuffix("."): value}
    return {path: leaf for name, item in value.items() for path, leaf in _leaves(item, f"{prefix}{name}.").items()}
