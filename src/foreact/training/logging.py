"""Loggers by name beside metrics.jsonl, which is always written: "tensorboard", "trackio", "wandb", or "none"."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foreact.contract.errors import ConfigError, MissingExtraError, nearest

__all__ = ["Logger", "Loggers", "open_loggers"]


class Logger(ABC):
    """Takes numbers by name."""

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


class Loggers:
    """Several loggers as one."""

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self._loggers = tuple(loggers)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for logger in self._loggers:
            logger.log(step, values)

    def close(self) -> None:
        for logger in self._loggers:
            logger.close()


class TensorBoard(Logger):
    """Event files in RUN/tensorboard."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "train", "logging to TensorBoard") from error
        self._writer = SummaryWriter(folder / "tensorboard")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Trackio(Logger):
    """A Trackio run in the project "foreact", named after the run folder."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            import trackio
        except ImportError as error:
            raise MissingExtraError("trackio", "train", "logging to Trackio") from error
        self._run = trackio.init(project="foreact", name=folder.name, config=dict(config), resume="allow")
        self._finish = trackio.finish

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._finish()


class WandB(Logger):
    """A Weights & Biases run in the project "foreact", named after the run folder and kept in it."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingExtraError("wandb", "train", "logging to Weights & Biases") from error
        self._run = wandb.init(project="foreact", name=folder.name, id=folder.name, resume="allow", dir=str(folder),
                               config=dict(config))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


_Open = Callable[[Path, Mapping[str, Any]], Logger]
_KNOWN: dict[str, _Open] = {"tensorboard": TensorBoard, "trackio": Trackio, "wandb": WandB}


def open_loggers(names: Sequence[str], folder: Path, config: Mapping[str, Any]) -> Loggers:
    """Open loggers by name; raises `ConfigError` for an unknown one, `MissingExtraError` where its package is absent."""
    for name in names:
        if name not in _KNOWN and name != "none":
            raise ConfigError("no such logger", where="loggers", found=name, accepted=", ".join(["none", *_KNOWN]),
                              next_step=nearest(name, ["none", *_KNOWN]))
    return Loggers([_KNOWN[name](folder, config) for name in names if name != "none"])
