"""The model in training with its optimiser and average: one step, one validation, whole states out and in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from foreact.contract.context import Window
from foreact.contract.errors import CheckpointError, TrainingError
from foreact.training.average import MovingAverage
from foreact.training.feed import Part
from foreact.training.optimiser import AdamW
from foreact.training.parallel import Team, like, shard, whole
from foreact.training.randomness import derived_seed, seed_everything
from foreact.training.settings import Training

__all__ = ["Learner", "Outcome"]

_VALIDATION = 0x7A11D


@dataclass(frozen=True)
class Outcome:
    """Losses by stream, the gradient's norm before clipping, the learning rate used."""

    losses: dict[str, float]
    gradient_norm: float
    learning_rate: float


class Learner:
    """Trains `model`, which offers `losses(window, train=, generator=)` and `parameters_to_train()`."""

    def __init__(self, model: Any, training: Training, device: torch.device, team: Team) -> None:
        self.model, self._training, self._device, self._team = model.to(device), training, device, team
        trained = {name for name, _ in model.parameters_to_train()}
        if team.size > 1:
            shard(model, device, trained)
        self._parameters = {name: p for name, p in model.named_parameters() if name in trained}
        if training.compile:
            model.backbone.compile()
        self._optimiser = AdamW(training.optimiser, model, self._parameters)
        self._average = MovingAverage(training.average, self._parameters)

    # --- one step -----------------------------------------------------------------------------------------------------

    def step(self, parts: Sequence[Part], *, step: int, train: frozenset[str], factor: float) -> Outcome:
        """One optimiser step over this process's parts; `TrainingError`, and no step, on a loss that is not finite."""
        self._mode(training=True)
        self._optimiser.zero()
        rows: list[dict[str, Tensor]] = []
        for part in parts:
            generator = seed_everything(derived_seed(self._training.seed, step, part.number))
            losses = self._losses(part.window, train, generator)
            (torch.stack(list(losses.values())).sum() / len(parts)).backward()
            rows.append({name: value.detach() for name, value in losses.items()})
        means = self._means(rows)
        norm = float(self._optimiser.clip())
        for name, value in {**means, "gradient norm": norm}.items():
            if not math.isfinite(value):
                raise TrainingError("a loss is not finite", where=f"step {step + 1}, {name}", found=value)
        rate = self._optimiser.step(factor)
        self._average.update(step)
        return Outcome(means, norm, rate)

    def _losses(self, window: Window, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._training.precision == "bf16"):
            losses = self.model.losses(window.to(self._device), train=train, generator=generator)
        if not losses:
            raise TrainingError("the model has no loss for the streams of this stage", where="training.stages",
                                found=", ".join(sorted(train)))
        return {name: value.float() for name, value in losses.items()}

    def _means(self, rows: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
        names = list(rows[0])
        means = torch.stack([torch.stack([row[name] for name in names]) for row in rows]).double().mean(0)
        return dict(zip(names, self._team.mean(means.tolist()), strict=True))

    def _mode(self, *, training: bool) -> None:
        """Parts that are not trained stay in evaluation mode."""
        self.model.train(training)
        for name, child in self.model.named_children():
            if not any(parameter.startswith(f"{name}.") for parameter in self._parameters):
                child.eval()

    # --- validation ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def validate(self, windows: Sequence[Window], *, train: frozenset[str]) -> dict[str, float]:
        """Mean losses of the averaged weights over `windows`, with the same noise every time."""
        self._mode(training=False)
        rows = []
        with self._average.in_place():
            for number, window in enumerate(windows):
                generator = seed_everything(derived_seed(self._training.seed, _VALIDATION, number))
                rows.append(self._losses(window, train, generator))
        return self._means(rows)

    # --- states -------------------------------------------------------------------------------------------------------

    def weights(self) -> dict[str, Tensor]:
        """The whole model with averaged weights: what is deployed."""
        return {name: whole(value) for name, value in self.model.state_dict().items()} | self._average.state()

    def state(self) -> dict[str, Tensor]:
        """What resuming needs besides `weights`."""
        kept = self._parameters if self._training.average is not None else {}
        raw = {f"weights/{name}": whole(parameter.detach()) for name, parameter in kept.items()}
        return raw | {f"optimiser/{name}": value for name, value in self._optimiser.state().items()}

    def load(self, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """The inverse of `weights` and `state`."""
        copy_weights(self.model, weights)
        self._average.load(weights)
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                if f"weights/{name}" in state:
                    parameter.copy_(like(parameter, state[f"weights/{name}"]))
        self._optimiser.load({n.removeprefix("optimiser/"): v for n, v in state.items() if n.startswith("optimiser/")})

    def check_finite(self) -> None:
        """Raise `TrainingError` where a weight is not finite, so that it is never saved."""
        for name, parameter in self._parameters.items():
            if not bool(whole(parameter.detach()).isfinite().all()):
                raise TrainingError("a weight is not finite", where=name)


@torch.no_grad()
def copy_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy whole tensors into the model, sharded or not; raises `CheckpointError` where names or shapes differ."""
    own = model.state_dict()
    lacking, unknown = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    shapes = [f"{name}: {tuple(weights[name].shape)} instead of {tuple(value.shape)}" for name, value in own.items()
              if name in weights and weights[name].shape != value.shape]
    if lacking or unknown or shapes:
        found = [f"lacks {name}" for name in lacking[:3]] + [f"unknown {name}" for name in unknown[:3]] + shapes[:3]
        raise CheckpointError("the checkpoint holds another model", where="model.safetensors", found="; ".join(found),
                              next_step="build the model from the checkpoint's own config.json")
    for name, value in own.items():
        value.copy_(like(value, weights[name]))
