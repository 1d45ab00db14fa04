"""The chunk in one pass: a perceptron over the predicted future and the robot's state, laid end to end, trained by regression.

    L_a = E || q_psi(s_hat, state) - a ||^2,    q_psi deterministic

It sees no picture and no word, so what was predicted must hold what is to be done. It learns from few labels and in few steps; where one
future can be reached in several ways it gives their mean, which `ActionExpert`, a denoiser, does not. Noise on the future in training, in
the substrate's own units, keeps it kind to futures that are imagined.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from foreact.contract.axes import Noise
from foreact.contract.errors import MisfitError
from foreact.flow.masking import entry_mean, masked_mean
from foreact.nets.action_expert import ActionExpert
from foreact.nets.head import Head, Readable, Reading

__all__ = ["DirectDecoder"]


class DirectDecoder(Head):
    """Reads finished futures and the state alone."""

    learns_from_actions = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Head.Config):
        """`hidden`: units of each hidden layer. noise: deviation of what is added to the future in training."""

        hidden: tuple[int, ...] = (256, 256)
        noise: float = 0.1

        def without_future(self) -> ActionExpert.Config:
            """Without a future it would be blind: the action expert acts from the present in its place."""
            return ActionExpert.Config()

    def __init__(self, config: Config, readable: Readable) -> None:
        if readable.taps is not None or not readable.futures:
            raise MisfitError("this head reads finished futures", where="model.coupling.reads",
                              found="taps" if readable.taps is not None else "no future", accepted="future",
                              next_step="model.coupling.reads=future, or model.coupling.head=ActionExpert")
        super().__init__()
        self.config, self.readable, dimensions = config, readable, readable.dimensions
        read = sum(len(readable.offsets) * form.tokens * form.channels for form in readable.futures.values())
        sizes = (read + dimensions.state, *config.hidden)
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.GELU())]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], readable.horizon * dimensions.action))

    def loss(self, reading: Reading, actions: Float[Tensor, "batch horizon action"], known: Bool[Tensor, "batch horizon"], *,
             generator: torch.Generator) -> Tensor:
        future = self._future(reading)
        future = future + self.config.noise * torch.randn(future.shape, generator=generator).to(future)
        square = (self(future, reading.context.state) - actions).square()
        return masked_mean(entry_mean(square, reading.context.action_mask), known)

    def act(self, reading: Reading, *, noise: Noise) -> Float[Tensor, "batch horizon action"]:
        return self(self._future(reading), reading.context.state)

    def forward(self, future: Float[Tensor, "batch numbers"], state: Float[Tensor, "batch state"]) -> Float[Tensor, "batch horizon action"]:
        found = self.layers(torch.cat([future, state.to(future)], dim=-1)).float()
        return found.unflatten(-1, (self.readable.horizon, self.readable.dimensions.action))

    def _future(self, reading: Reading) -> Float[Tensor, "batch numbers"]:
        return torch.cat([reading.futures[name].flatten(1) for name in self.readable.futures], dim=-1)
