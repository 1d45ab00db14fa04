"""Studies of one factor: arms that differ in it alone, each trained from several seeds and run on the same episodes.

An arm that trains nothing of its own (another number of denoising steps, say) is the reference's weights under other settings.
All trainings share the reference's fitted substrate, so that arms live in the same space. They are equal in optimisation steps, or in
the floating-point operations that the reference took, stage by stage. Every number comes from a command that a person could have
typed; what is done is not done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from foreact.contract.errors import ConfigError, nearest
from foreact.evaluation.claims import Claim

__all__ = ["MAIN", "REFERENCE", "Arm", "FactorStudy", "Family", "Grid", "Measure", "folder_of", "select"]

MAIN = "main"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """train: words for training; evaluate: words for running. paper: the source's success by condition, as shares.

    spans: fields of the protocol in which it differs from the reference on purpose. shots: run on tasks that the reference has not
    seen, after fine-tuning it on so many demonstrations of each (0 for none). video: whether it also watches the family's video.
    """

    name: str
    train: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()
    paper: Mapping[str, float] = field(default_factory=dict)
    spans: tuple[str, ...] = ()
    shots: int | None = None
    video: bool = False

    @property
    def folder(self) -> str:
        """Where its training lies: arms that train alike share one."""
        if self.shots:
            return f"shots-{self.shots}"
        words = (*self.train, "--video") if self.video else self.train
        return "reference" if not words else hashlib.sha256(json.dumps(words).encode()).hexdigest()[:8]

    @property
    def evaluation(self) -> str:
        if self.shots is not None:
            return "held-out"
        return MAIN if not self.evaluate else hashlib.sha256(json.dumps(self.evaluate).encode()).hexdigest()[:8]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number for each training, besides success: what `foreact diagnose DIAGNOSIS` finds at `path`.

    path: dotted, into the JSON of the command; numbers are places in lists. words: its further words. paper: the source's own, by arm.
    of: it looks into demonstrations of unseen seeds, with the arm's trained model, or into the arm's evaluation.
    """

    name: str
    diagnosis: str
    path: str
    words: tuple[str, ...] = ()
    paper: Mapping[str, float] = field(default_factory=dict)
    of: Literal["dataset", "evaluation"] = "dataset"

    def file(self, arm: Arm) -> str:
        """Measures of one command share it."""
        name = f"{self.diagnosis}-{hashlib.sha256(json.dumps(self.words).encode()).hexdigest()[:8]}.json"
        return name if self.of == "dataset" else f"{arm.evaluation}-{name}"

    def concerns(self, arm: Arm) -> bool:
        """Settings for running are not what demonstrations are looked into with."""
        return self.of == "evaluation" or not arm.evaluate

    def read(self, found: Mapping[str, Any]) -> float | None:
        """Its number in what the command found; None where it is not to be told, as of episodes that all ended alike."""
        value: Any = found
        for step in self.path.split("."):
            if value is None or (isinstance(value, dict) and step not in value):
                return None
            value = value[int(step)] if isinstance(value, list) else value[step]
        return None if value is None else float(value)


@dataclass(frozen=True, kw_only=True)
class FactorStudy:
    """`factor`: what alone differs. The first arm is the reference, as the recipe stands. needs: annotations that arms learn from.

    equal: what all trainings have as much of as the reference.
    """

    name: str
    title: str
    factor: str
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]
    needs: tuple[str, ...] = ()
    equal: Literal["steps", "flops"] = "steps"
    measures: tuple[Measure, ...] = ()

    def __post_init__(self) -> None:
        names, measures = [arm.name for arm in self.arms], [measure.name for measure in self.measures]
        for claim in self.claims:
            if claim.measure and claim.measure not in measures:
                raise ConfigError("a claim names a measure that the study does not have", where=f"study {self.name}", found=claim.measure,
                                  accepted=", ".join(measures), next_step=nearest(claim.measure, measures))
            for name in (claim.first, claim.second) if claim.second else (claim.first,):
                if name not in names:
                    raise ConfigError("a claim names an arm that the study does not have", where=f"study {self.name}", found=name,
                                      accepted=", ".join(names), next_step=nearest(name, names))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """How large the studies are. only: names of studies, empty for all. steps: of optimisation, over the stages of the recipe.

    held_out: tasks of which few demonstrations or none are seen. episodes: evaluation seeds per task and condition, from 1,000,000
    on. settings: further words for every training.
    """

    only: tuple[str, ...] = ()
    size: str = "tiny"
    tasks: tuple[str, ...] = ("button-press-topdown", "window-open", "door-close", "faucet-close")
    held_out: tuple[str, ...] = ("plate-slide", "handle-press-side")
    conditions: tuple[str, ...] = ("clean", "random")
    demonstrations: int = 36
    steps: int = 600
    training_seeds: int = 3
    episodes: int = 10
    horizon: int = 200
    workers: int = 2
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("demonstrations", 2), ("steps", 2), ("training_seeds", 2), ("episodes", 1), ("horizon", 1), ("workers", 1)):
            if getattr(self, name) < least:
                raise ConfigError("too small for a study", where=name, found=getattr(self, name), accepted=f"{least} or more")
        both = sorted(set(self.held_out) & set(self.tasks))
        if both:
            raise ConfigError("a task that is held out is not trained on", where="held_out", found=both, accepted="tasks outside `tasks`")


@dataclass(frozen=True, kw_only=True)
class Family:
    """Studies of one recipe under one name, `foreact study NAME`.

    grid: how large they are where nothing is said. collect: words for the demonstrations, where none are given. demonstrations, source:
    half-sentences of the pages, on what is learnt from and on where the source's figures come from. evaluate: words for every run;
    acting: further ones for runs of what was trained, which random actions do not take.
    video: words for the video that some arms watch beside the demonstrations, which is of as many other episodes.
    """

    name: str
    recipe: str
    studies: tuple[FactorStudy, ...]
    grid: Grid
    collect: tuple[str, ...]
    demonstrations: str
    source: str
    evaluate: tuple[str, ...] = ()
    acting: tuple[str, ...] = ()
    video: tuple[str, ...] = ()


def select(grid: Grid, studies: Sequence[FactorStudy]) -> tuple[FactorStudy, ...]:
    """The studies that are asked for."""
    names = [study.name for study in studies]
    for name in grid.only:
        if name not in names:
            raise ConfigError("no such study", where="only", found=name, accepted=", ".join(names), next_step=nearest(name, names))
    return tuple(study for study in studies if not grid.only or study.name in grid.only)


REFERENCE = Arm(name="reference")
"""Whatever it is called in a study: the recipe as it stands."""


def folder_of(arm: Arm, seed: int, out: Path) -> Path:
    """The run of an arm's training."""
    return out / arm.folder / f"seed-{seed}"
