"""Shuffled batches of indices whose place can be saved and found again exactly, on one process or many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from foreact.contract.errors import ConfigError, TrainingError

__all__ = ["SamplerState", "ShuffledSampler"]


@dataclass(frozen=True, kw_only=True)
class SamplerState:
    """Where a sampler stands: `position` counts the samples of this epoch that all ranks together have taken."""

    seed: int
    count: int
    epoch: int = 0
    position: int = 0

    def to_json(self) -> dict[str, int]:
        return {"seed": self.seed, "count": self.count, "epoch": self.epoch, "position": self.position}

    @classmethod
    def from_json(cls, value: Mapping[str, int]) -> SamplerState:
        return cls(**{name: int(value[name]) for name in ("seed", "count", "epoch", "position")})


class ShuffledSampler:
    """Endless batches. Each epoch is a permutation given by (seed, epoch) alone.

    Step by step, `world_size` ranks take consecutive slices of `batch_size` from the same permutation; what is left of an
    epoch and does not fill a step for all ranks is passed over. So ranks never disagree on the number of steps, and the
    samples of step k do not depend on how many ranks share them when batch_size x world_size stays the same.
    """

    def __init__(self, count: int, *, batch_size: int, seed: int, rank: int = 0, world_size: int = 1,
                 state: SamplerState | None = None) -> None:
        if not 0 <= rank < world_size or batch_size < 1:
            raise ConfigError("rank must be below world_size, and the batch at least 1", where="sampler",
                              found=f"rank {rank} of {world_size}, batch {batch_size}")
        if count < batch_size * world_size:
            raise TrainingError("fewer samples than one step needs", where="sampler", found=count,
                                accepted=f"at least {batch_size * world_size}", next_step="use a smaller batch, or more episodes")
        state = state or SamplerState(seed=seed, count=count)
        if (state.seed, state.count) != (seed, count):
            raise ConfigError("the saved place belongs to other data or another seed", where="sampler",
                              found=f"seed {state.seed}, {state.count} samples", accepted=f"seed {seed}, {count} samples",
                              next_step="resume with the dataset, window and seed of the run")
        self._batch, self._rank, self._step = batch_size, rank, batch_size * world_size
        self._state = state
        self._permutation = self._shuffle(state.epoch)

    @property
    def state(self) -> SamplerState:
        """Where the next batch comes from."""
        return self._state

    @property
    def steps_per_epoch(self) -> int:
        return self._state.count // self._step

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.Generator(np.random.Philox(key=[self._state.seed, epoch])).permutation(self._state.count)

    def __iter__(self) -> ShuffledSampler:
        return self

    def __next__(self) -> np.ndarray:
        """The indices of the next batch of this rank: int64 (batch_size,)."""
        seed, count, epoch, position = self._state.seed, self._state.count, self._state.epoch, self._state.position
        if position + self._step > count:
            epoch, position = epoch + 1, 0
            self._permutation = self._shuffle(epoch)
        start = position + self._rank * self._batch
        self._state = SamplerState(seed=seed, count=count, epoch=epoch, position=position + self._step)
        return self._permutation[start:start + self._batch]
