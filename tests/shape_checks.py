"""The run-time check of jaxtyping's shape words, under pytest only.

`checked` is what the import hook of `tests/conftest.py` puts around every function and dataclass of foreact. It keeps the
annotations that speak of shapes and drops the others: those are for readers, and several (nested `Config` classes,
generics of third parties) cannot be resolved from a decorator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import beartype

WORDS = ("Bool[", "Float[", "Int[", "UInt8[", "Shaped[", "Complex[", "Num[")


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with its shape annotations enforced; unchanged where it has none."""
    notes = getattr(function, "__annotations__", {})
    shapes = {name: hint for name, hint in notes.items() if any(word in str(hint) for word in WORDS)}
    if not shapes:
        return function
    function.__annotations__ = shapes
    return beartype(function)
