"""What a command gives back: data for machines, text for people, and the exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Result"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """`data` is printed with --json, `text` without."""

    data: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    exit_code: int = 0
