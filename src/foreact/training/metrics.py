"""metrics.jsonl: one JSON object a line; what a resumed run writes again is cut off first, so nothing appears twice."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foreact.contract.storage import atomic_write_text, storage_errors

__all__ = ["MetricsFile", "read_metrics"]


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Every whole line of the file; a last line that a kill cut short is left out."""
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


class MetricsFile:
    """Appends whole lines; `flush` makes them durable, which a checkpoint does before it counts."""

    def __init__(self, path: Path, *, up_to_step: int) -> None:
        """Keep the lines of steps up to `up_to_step`, drop later ones, and append from there."""
        kept = [line for line in read_metrics(path) if line["step"] <= up_to_step]
        self._path = path
        atomic_write_text(path, "".join(_line(line) for line in kept))
        with storage_errors(path):
            self._handle = os.open(path, os.O_WRONLY | os.O_APPEND)

    def append(self, values: Mapping[str, Any]) -> None:
        data = _line(values).encode()
        with storage_errors(self._path):
            written = os.write(self._handle, data)
            while written < len(data):
                written += os.write(self._handle, data[written:])

    def flush(self) -> None:
        with storage_errors(self._path):
            os.fsync(self._handle)

    def close(self) -> None:
        os.close(self._handle)


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, allow_nan=False) + "\n"
