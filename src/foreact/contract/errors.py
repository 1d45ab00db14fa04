"""The one tree of errors that a user can meet.

Every message says what went wrong and where, what was found, what is accepted, and one next step.
`assert` is kept for our own mistakes; anything below is somebody's input, disk or machine.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError", "ConfigError", "DatasetError", "ForeactError", "MisfitError", "MissingExtraError",
    "ProtocolMismatchError", "RenderError", "SpecError", "StorageError", "TrainingError", "nearest",
]


class ForeactError(Exception):
    """Base of all user-facing errors. `exit_code` is what the command line returns."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", found: object = None, accepted: object = None, next_step: str = "") -> None:
        self.what, self.where, self.found, self.accepted, self.next_step = what, where, found, accepted, next_step
        lines = [f"{where}: {what}" if where else what]
        if found is not None:
            lines.append(f"  found:    {found}")
        if accepted is not None:
            lines.append(f"  accepted: {accepted}")
        if next_step:
            lines.append(f"  next:     {next_step}")
        super().__init__("\n".join(lines))


class ConfigError(ForeactError):
    """A key or value of a config, or of the command line, is not accepted."""

    exit_code = 2


class MisfitError(ConfigError):
    """Two parts of one model do not fit together; names both sides and what would fit."""


class SpecError(ForeactError):
    """Data at the boundary does not match the observation or action spec."""


class DatasetError(ForeactError):
    """A dataset cannot be read as what it claims to be."""


class CheckpointError(ForeactError):
    """A checkpoint is incomplete, corrupt or of another model."""


class StorageError(ForeactError):
    """The disk refused: full, read-only, or not permitted. Nothing half-written is left."""


class TrainingError(ForeactError):
    """Training cannot go on: a loss that is not finite, an empty loader."""


class RenderError(ForeactError):
    """No way to render images on this machine."""


class ProtocolMismatchError(ForeactError):
    """Two results were measured under different protocols and must not be compared."""


class MissingExtraError(ForeactError):
    """An optional package is needed; names the extra that carries it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed",
            next_step=f'pip install "foreact[{extra}]"',
        )


def nearest(word: str, accepted: Iterable[str]) -> str:
    """A half-sentence naming the closest accepted word, or the whole list when none is close."""
    names = sorted(accepted)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else "one of: " + ", ".join(names)
