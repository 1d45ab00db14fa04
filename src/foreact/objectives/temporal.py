"""Consistency over time: the hidden states of a window's present and of its future know each other among those of other windows.

    z = g(pool h^present),  z+_k = g'(pool h^future_k),    both of length 1, pooled over the tokens of each camera
    L = -weight/2 mean_k ( log softmax_j( z_i z+_jk / T )_i + log softmax_j( z_j z+_ik / T )_i )

InfoNCE (Contrastive Predictive Coding, arXiv 1807.03748, equation 4) in both directions, with views of one moment replaced by moments of
one window as in time-contrastive networks (arXiv 1704.06888); averaged over cameras and layers. j runs over the windows of the batch.
Layers are shares of the depth, as in `representation.Alignment`, and the states are those of the training's own pass: the future's are as
noised as training makes them. Where the streams do not lie on grids of as many cameras, all tokens of a frame are pooled together.

What it cannot say: the future's states may see the present's, so part of it is met by handing the present on; and two windows of the batch
that overlap are held apart although they are alike. Frames past the end of an episode count neither as a match nor as another window. With
one window in a batch (see `training.micro_batches`) there is nothing to tell apart, and the loss is 0. Nothing of it runs when acting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contract.axes import SubstrateForm
from foreact.contract.config import Buildable, Config
from foreact.contract.errors import ConfigError
from foreact.flow.masking import masked_mean
from foreact.objectives.representation import aligned_layers

__all__ = ["TemporalConsistency", "info_nce"]


def info_nce(now: Float[Tensor, "batch features"], later: Float[Tensor, "batch features"], keep: Bool[Tensor, " batch"],
             temperature: float) -> Tensor:
    """One scalar for rows of length 1: row i of both belongs together. keep: rows of `later` that count, as matches and as others."""
    logits = now.float() @ later.float().T / temperature
    which = logits.masked_fill(~keep, -1e9).log_softmax(dim=1).diagonal()
    whose = logits.log_softmax(dim=0).diagonal()
    return -masked_mean((which + whose) / 2, keep)


class TemporalConsistency(nn.Module, Buildable):
    """Projections of both sides at each layer, and the loss."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Config):
        """`build(present, future, tokens, widths, depth)`: forms of a frame of both streams, tokens and width of its hidden states.

        projection: width of the projection's hidden layer as a multiple of the states'; features: of what is compared.
        """

        layers: tuple[float, ...] = (1 / 3,)
        weight: float = 0.1
        temperature: float = 0.1
        features: int = 64
        projection: int = 1

        def __post_init__(self) -> None:
            if not self.layers or not all(0 < share <= 1 for share in self.layers):
                raise ConfigError("layers are shares of the depth", where="model.temporal.layers", found=self.layers,
                                  accepted="numbers above 0, up to 1")
            if self.weight < 0 or self.temperature <= 0:
                raise ConfigError("a weight is not negative and a temperature is positive", where="model.temporal",
                                  found=f"weight = {self.weight}, temperature = {self.temperature}")

    def __init__(self, config: Config, present: SubstrateForm, future: SubstrateForm, tokens: tuple[int, int], widths: tuple[int, int],
                 depth: int) -> None:
        super().__init__()
        self.config, self.layers = config, aligned_layers(config.layers, depth)
        apart = present.grid[0] == future.grid[0] and tokens == (present.tokens, future.tokens)
        self._cameras, self._tokens = present.grid[0] if apart else 1, tokens[1]
        self.present, self.future = (nn.ModuleDict({str(layer): nn.Sequential(
            nn.Linear(width, config.projection * width), nn.SiLU(), nn.Linear(config.projection * width, config.features))
            for layer in self.layers}) for width in widths)

    def forward(self, present: Sequence[Float[Tensor, "batch _ _"]], future: Sequence[Float[Tensor, "batch _ _"]],
                keep: Bool[Tensor, "batch time"]) -> Tensor:
        """One scalar. States of each layer, of one frame and of the frames to come in order; `keep`: those inside the episode."""
        found = []
        for layer, now, later in zip(self.layers, present, future, strict=True):
            z = F.normalize(self.present[str(layer)](self._pooled(now[:, None])), dim=-1)[:, 0]
            to_come = F.normalize(self.future[str(layer)](self._pooled(later.unflatten(1, (-1, self._tokens)))), dim=-1)
            found += [info_nce(z[:, camera], to_come[:, time, camera], keep[:, time], self.config.temperature)
                      for time in range(to_come.shape[1]) for camera in range(self._cameras)]
        return self.config.weight * torch.stack(found).mean()

    def _pooled(self, states: Float[Tensor, "batch time tokens width"]) -> Float[Tensor, "batch time camera width"]:
        """The mean over the tokens of each camera."""
        return states.float().unflatten(2, (self._cameras, -1)).mean(dim=3)
