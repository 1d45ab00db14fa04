"""The learning rate by the recipe's own curve, warmed up anew in each of its stages, as a scheduler of LeRobot."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.optim.schedulers import LRSchedulerConfig
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from foreact.contract.errors import ConfigError
from foreact.training.schedule import learning_rate_factor
from foreact.training.settings import Schedule

__all__ = ["ForeactSchedulerConfig"]


@LRSchedulerConfig.register_subclass("foreact")
@dataclass
class ForeactSchedulerConfig(LRSchedulerConfig):
    """ends: the step at which each stage but the last ends; the last one ends with the training. factors: of each stage's rate."""

    num_warmup_steps: int | None = 100
    kind: str = "cosine"
    constant_fraction: float = 0.2
    final: float = 0.0
    ends: list[int] = field(default_factory=list)
    factors: list[float] = field(default_factory=lambda: [1.0])

    def build(self, optimizer: Optimizer, num_training_steps: int) -> LambdaLR:
        """Raises `ConfigError` where the training would end before its last stage begins, which alone learns all streams."""
        bounds = [0, *self.ends, num_training_steps]
        if self.ends and num_training_steps <= self.ends[-1]:
            raise ConfigError("the training ends before its last stage begins", where="steps", found=num_training_steps,
                              accepted=f"more than {self.ends[-1]}, the steps of the stages before it",
                              next_step="more --steps, or fewer steps for the early stages: --policy.stage_steps='[...]'")
        schedule = Schedule(kind=self.kind, warmup_steps=self.num_warmup_steps or 0, constant_fraction=self.constant_fraction,
                            final=self.final)

        def factor(step: int) -> float:
            stage = sum(step >= end for end in self.ends)
            start, stop = bounds[stage], bounds[stage + 1]
            return self.factors[stage] * learning_rate_factor(schedule, step=step - start, progress=(step - start) / (stop - start))

        return LambdaLR(optimizer, factor)
