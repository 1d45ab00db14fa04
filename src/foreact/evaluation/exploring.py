"""What comes of every candidate, seen by executing it where the world stands and putting the world back: for `Exploring` alone.

A candidate is executed up to its first imagined frame, under the evaluation's rule for bounds by clipping; what is then seen is compared
with that frame in the substrate's own distance. Steps so spent are not the robot's: they count nowhere in the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from foreact.acting.consistency import Witness
from foreact.envs.base import Observation
from foreact.model import WorldActionModel
from foreact.selection.selectors import Drawn

__all__ = ["Explorer", "TryOut"]

TryOut = Callable[[Mapping[int, np.ndarray]], dict[int, list[Observation]]]
"""Candidates' actions, (candidate, steps, action), by number of the episode, to what is seen after each."""


class Explorer:
    """Compares what candidates imagine with what comes of them. Raises `ConfigError` where that is not to be seen."""

    def __init__(self, model: WorldActionModel) -> None:
        self._witness, self._steps = Witness(model, "latent"), model.config.coupling.future_offsets[0]

    def came_true(self, shown: Sequence[Observation], try_out: TryOut) -> Callable[[Sequence[int], Drawn], Tensor]:
        """The distance for candidates of these episodes, (batch, candidate); `shown`: the present of each."""
        def distances(numbers: Sequence[int], drawn: Drawn) -> Tensor:
            rows = {number: row for row, number in reversed(list(enumerate(numbers)))}  # padding repeats an episode
            actions = drawn.actions[:, :, : self._steps].float().cpu().numpy()
            seen = try_out({number: actions[row] for number, row in rows.items()})
            frames = drawn.future[self._witness.part][:, :, :1]
            found = {number: [self._witness.apart(frames[row, i:i + 1], shown[number], after) for i, after in enumerate(seen[number])]
                     for number, row in rows.items()}
            return torch.tensor([found[number] for number in numbers], dtype=torch.float64)

        return distances
