"""AdamW over two groups of parameters, and its state as flat named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from foreact.training.parallel import like, whole
from foreact.training.settings import Optimiser

__all__ = ["AdamW", "decays"]

_FIELDS = ("step", "exp_avg", "exp_avg_sq")


def decays(model: nn.Module, name: str, parameter: Tensor) -> bool:
    """Whether weight decay applies: weights of linear and convolutional layers, but no biases, norms, tables or embeddings."""
    owner = model.get_submodule(name.rpartition(".")[0])
    return name.endswith("weight") and parameter.ndim >= 2 and not isinstance(owner, nn.Embedding)


class AdamW:
    """torch's AdamW bound to parameter names, so that its state is saved by name and not by position."""

    def __init__(self, settings: Optimiser, model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
        self.parameters = dict(parameters)
        self._settings = settings
        groups = [
            {"params": [p for n, p in self.parameters.items() if decays(model, n, p)], "weight_decay": settings.weight_decay},
            {"params": [p for n, p in self.parameters.items() if not decays(model, n, p)], "weight_decay": 0.0},
        ]
        self._torch = torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.learning_rate, betas=settings.betas,
                                        eps=settings.eps, fused=True)

    def zero(self) -> None:
        self._torch.zero_grad(set_to_none=True)

    def clip(self) -> Tensor:
        """Scale gradients down to the largest allowed norm; returns the norm before, a scalar."""
        largest = self._settings.clip if self._settings.clip is not None else float("inf")
        return whole(nn.utils.clip_grad_norm_(self.parameters.values(), largest, foreach=True))

    def step(self, factor: float) -> float:
        """One step at `factor` times the learning rate; returns that rate."""
        rate = self._settings.learning_rate * factor
        for group in self._torch.param_groups:
            group["lr"] = rate
        self._torch.step()
        return rate

    def state(self) -> dict[str, Tensor]:
        """`{"exp_avg/<parameter>": ...}`, whole tensors even of shards; parameters never stepped are absent."""
        found = {}
        for name, parameter in self.parameters.items():
            for key, value in self._torch.state.get(parameter, {}).items():
                found[f"{key}/{name}"] = whole(value)
        return found

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        self._torch.state.clear()
        for name, parameter in self.parameters.items():
            if f"step/{name}" in state:
                step, first, second = (state[f"{key}/{name}"] for key in _FIELDS)
                self._torch.state[parameter] = {"step": step.to(parameter.device, copy=True), "exp_avg": like(parameter, first),
                                                "exp_avg_sq": like(parameter, second)}
