"""What the quickstart does, as data: tasks, budgets, seeds."""

from __future__ import annotations

from dataclasses import dataclass

from foreact.contract.errors import ConfigError

__all__ = ["Quickstart"]


@dataclass(frozen=True, kw_only=True)
class Quickstart:
    """The tasks were chosen before their evaluation seeds were looked at.

    demonstrations: per task. train_seconds: wall time of training, the same for the model and its baseline, which train
        side by side on one thread each; without the time that fitting the substrate takes.
    episodes: evaluation seeds per task and condition. horizon: control steps after which an episode has failed.
    films: successes and failures filmed, of each, for every task and condition.
    """

    tasks: tuple[str, ...] = ("button-press-topdown", "door-open", "drawer-open")
    demonstrations: int = 40
    size: str = "tiny"
    train_seconds: float = 480.0
    episodes: int = 20
    conditions: tuple[str, ...] = ("clean", "random")
    horizon: int = 200
    films: int = 1
    workers: int = 2

    def __post_init__(self) -> None:
        for name in ("demonstrations", "train_seconds", "episodes", "horizon", "workers"):
            if getattr(self, name) <= 0:
                raise ConfigError("must be above zero", where=name, found=getattr(self, name))
        if not self.tasks or not self.conditions:
            raise ConfigError("at least one is needed", where="tasks" if not self.tasks else "conditions", found="none")
