"""A monitor's calibration as one JSON file."""

from __future__ import annotations

import json
from pathlib import Path

from foreact.contract.config import decode, encode
from foreact.contract.errors import ConfigError, DatasetError
from foreact.contract.storage import atomic_write_json
from foreact.selection.monitor import Calibration

__all__ = ["FORMAT", "read_calibration", "write_calibration"]

FORMAT = "foreact-monitor-1"


def write_calibration(calibration: Calibration, path: Path | str) -> None:
    """As one JSON file, whole or not at all."""
    atomic_write_json(path, {"format": FORMAT, **encode(calibration)})


def read_calibration(path: Path | str) -> Calibration:
    """What `write_calibration` wrote; raises `DatasetError` where it is not there or is something else."""
    try:
        kept = json.loads(Path(path).read_text())
        if kept.pop("format") != FORMAT:
            raise KeyError("format")
        return decode(Calibration, kept, where=str(path))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, AttributeError, KeyError, ConfigError) as error:
        raise DatasetError("this is no calibration of a monitor", where=str(path), found=f"{type(error).__name__}: {error}",
                           accepted="a file that `foreact monitor calibrate` wrote",
                           next_step="foreact monitor calibrate RUN --evaluation NAME") from error
