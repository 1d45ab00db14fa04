"""What a training run is told: stages, optimiser, schedule, averaging, precision, checkpoints. Plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from foreact.contract.errors import ConfigError

__all__ = ["Average", "Checkpoints", "Optimiser", "Precision", "Schedule", "ScheduleKind", "Stage", "SubstrateFit", "Training",
           "Validation"]

Precision = Literal["fp32", "bf16"]
ScheduleKind = Literal["cosine", "linear", "constant-then-linear", "constant"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stretch of training with its own budget and its own schedule.

    steps, seconds, flops: the budget; the stage ends at whichever comes first, and at least one must be given. The schedule
        follows the largest spent share of them. Elapsed seconds survive a resume. Only a budget without seconds
        makes a resumed run equal to an uninterrupted one to the last bit, because wall time never repeats.
        flops: floating-point operations of matrix products and convolutions, forward and backward, counted on the stage's first step.
    train: the streams whose losses are minimised.
    learning_rate: factor on the optimiser's learning rate.
    only: learn from those episodes alone whose columns have these values, such as {"condition": "clean"}; a column that the
        dataset does not have leaves all of them.
    """

    name: str
    train: tuple[str, ...]
    steps: int | None = None
    seconds: float | None = None
    flops: float | None = None
    learning_rate: float = 1.0
    only: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"training.stages[{self.name}]"
        if self.steps is None and self.seconds is None and self.flops is None:
            raise ConfigError("a stage needs a budget", where=where, found="neither steps nor seconds nor flops",
                              accepted="some of steps, seconds and flops")
        if (self.steps is not None and self.steps < 1) or any(x is not None and x <= 0 for x in (self.seconds, self.flops)):
            raise ConfigError("a stage's budget is positive", where=where,
                              found=f"steps={self.steps}, seconds={self.seconds}, flops={self.flops}")
        if not self.train:
            raise ConfigError("a stage trains at least one stream", where=f"{where}.train", found="()",
                              accepted="such as video, action")

    def progress(self, step: int, elapsed: float, flops: float = 0.0) -> float:
        """The spent share of the budget, 0 to 1 and beyond, after so many steps, seconds and operations of this stage."""
        spent = ((step, self.steps), (elapsed, self.seconds), (flops, self.flops))
        return max(done / budget for done, budget in spent if budget is not None)


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """AdamW (Loshchilov and Hutter, 2019). No weight decay on biases, norms and embeddings.

    clip: largest gradient norm, or None.
    """

    learning_rate: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.01
    clip: float | None = 1.0


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate over a stage: linear warm-up over `warmup_steps`, then the curve named by `kind`.

    constant_fraction: of "constant-then-linear" (MV-WAM: 20 % constant, then linear to zero).
    final: the factor at the end of the stage.
    """

    kind: ScheduleKind = "cosine"
    warmup_steps: int = 100
    constant_fraction: float = 0.2
    final: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Average:
    """Exponential moving average of the weights: decay min(decay, (1 + t) / (10 + t)) at step t."""

    decay: float = 0.999


@dataclass(frozen=True, kw_only=True)
class SubstrateFit:
    """How long and on how many frames at a time a substrate that is learnt here is fitted, before the first stage."""

    steps: int = 400
    batch_size: int = 64


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """When to write one: every so many steps, every so many seconds, or both; always at the end of a stage.

    keep_last: older ones are removed once a newer one is complete.
    """

    every_steps: int | None = None
    every_seconds: float | None = 120.0
    keep_last: int = 2

    def __post_init__(self) -> None:
        if self.keep_last < 1:
            raise ConfigError("at least one checkpoint must be kept", where="training.checkpoints.keep_last",
                              found=self.keep_last)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Held-out episodes, never trained on: `fraction` of all (at least one), measured every so many steps and at a stage's end.

    batches: at most so many batches of the training batch size, always the same ones with the same noise.
    """

    fraction: float = 0.05
    every_steps: int = 500
    batches: int = 4


@dataclass(frozen=True, kw_only=True)
class Training:
    """Everything about a run but the model and its data.

    batch_size: windows per optimiser step, over all processes.
    micro_batches: the step's batch is cut into so many equal parts, run one after another (gradient accumulation) or
        spread over processes; must be a multiple of the number of processes. Noise belongs to the part, so the number
        of processes changes sums only in their order.
    threads: per process on CPU; None takes all cores for one process and 1 for each of several.
    compile: torch.compile on the backbone.
    """

    stages: tuple[Stage, ...]
    batch_size: int = 64
    micro_batches: int = 1
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    average: Average | None = field(default_factory=Average)
    substrate: SubstrateFit = field(default_factory=SubstrateFit)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    validation: Validation = field(default_factory=Validation)
    precision: Precision = "fp32"
    compile: bool = False
    seed: int = 0
    threads: int | None = None
    log_every: int = 10

    def __post_init__(self) -> None:
        if not self.stages:
            raise ConfigError("training needs at least one stage", where="training.stages", found="()")
        if self.compile and any(stage.flops is not None for stage in self.stages):
            raise ConfigError("what is compiled cannot be counted", where="training.stages", found="a budget in flops, and compile = true",
                              next_step="training.compile=false, or a budget in steps")
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ConfigError("stages bear different names", where="training.stages", found=", ".join(names))
        if self.micro_batches < 1 or self.batch_size % self.micro_batches:
            raise ConfigError("the batch is cut into equal parts", where="training.micro_batches", found=self.micro_batches,
                              accepted=f"a divisor of training.batch_size={self.batch_size}")
        if self.log_every < 1 or self.validation.every_steps < 1:
            raise ConfigError("logging and validation happen every one or more steps", where="training",
                              found=f"log_every={self.log_every}, validation.every_steps={self.validation.every_steps}")
