"""The suites by name, and which of them a task belongs to: no two suites share the name of a task, so a task says its suite."""

from __future__ import annotations

from collections.abc import Sequence

from foreact.contract.errors import ConfigError, nearest
from foreact.envs.aloha import Aloha
from foreact.envs.base import Suite
from foreact.envs.metaworld import MetaWorld
from foreact.envs.robocasa import RoboCasa
from foreact.envs.robotwin import RoboTwin

__all__ = ["SUITES", "suite_of"]

SUITES: dict[str, type[Suite]] = {suite.suite: suite for suite in (MetaWorld, Aloha, RoboTwin, RoboCasa)}


def suite_of(tasks: Sequence[str]) -> tuple[type[Suite], tuple[str, ...]]:
    """The suite to which all `tasks` belong, and their own names in it; raises `ConfigError` where there is none such."""
    found = {task: next((s for s in SUITES.values() if task.removesuffix("-v3") in s.tasks), None) for task in tasks}
    for task, suite in found.items():
        if suite is None:
            raise ConfigError("no suite has such a task", where="tasks", found=task,
                              next_step=nearest(task, [name for s in SUITES.values() for name in s.tasks]))
    suites = dict.fromkeys(suite for suite in found.values() if suite is not None)
    if len(suites) != 1:
        raise ConfigError("tasks of one suite are needed", where="tasks", accepted="tasks of one suite at a time",
                          found=", ".join(f"{task} of {suite.suite}" for task, suite in found.items() if suite is not None) or "none")
    suite = next(iter(suites))
    return suite, tuple(suite.task_name(task) for task in tasks)
