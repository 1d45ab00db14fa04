"""The searches as parts of a config: how candidate chunks are drawn around a nominal one and which of them is executed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.contract.axes import Noise
from foreact.contract.config import Buildable, Config
from foreact.contract.errors import ConfigError
from foreact.selection.candidates import Box, Score, Selection, perturbed, take_best
from foreact.selection.cross_entropy import cross_entropy
from foreact.selection.path_integral import path_integral
from foreact.selection.tree import best_first

__all__ = ["BestCandidate", "BestFirstTree", "CrossEntropy", "PathIntegral", "Planner"]


class Planner(Buildable, ABC):
    """Chooses a chunk by what a score says of candidates. All randomness comes from `noise`."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Config):
        """`build(horizon)`. candidates: drawn at once. spread: their deviation from the nominal, in the model's units of action.
        knots: at how many places the noise of a chunk is drawn; between them it runs straight.
        """

        candidates: int = 32
        spread: float = 0.5
        knots: int = 4

        def __post_init__(self) -> None:
            if self.candidates < 2 or self.knots < 1 or self.spread <= 0:
                raise ConfigError("a choice needs two candidates, a knot and a spread above 0", where="model.coupling.planner",
                                  found=f"candidates = {self.candidates}, knots = {self.knots}, spread = {self.spread}")

    def __init__(self, config: Config, horizon: int) -> None:
        if config.knots > horizon:
            raise ConfigError("more knots than steps", where="model.coupling.planner.knots", found=config.knots,
                              accepted=f"at most {horizon}")
        self.config, self.horizon = config, horizon

    @abstractmethod
    def search(self, score: Score, nominal: Float[Tensor, "B H A"], box: Box, noise: Noise) -> Selection:
        """`score` may be called several times."""

    def drawn(self, noise: Noise, nominal: Tensor, number: int = 0) -> Float[Tensor, "B N K A"]:
        """Standard normal knots of one iteration; the nominal itself is the candidate that completes the count."""
        knots = noise(f"candidates {number}", (self.config.candidates - 1, self.config.knots, nominal.shape[-1]))
        return knots.to(nominal)


class BestCandidate(Planner):
    """Candidate policies: score what was drawn, and the nominal, once; take the best."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Planner.Config):
        pass

    def search(self, score: Score, nominal: Float[Tensor, "B H A"], box: Box, noise: Noise) -> Selection:
        drawn = perturbed(nominal, self.drawn(noise, nominal), self.config.spread, box)
        candidates = torch.cat([box.clip(nominal[:, None]), drawn], dim=1)
        return take_best(candidates, score(candidates))


class PathIntegral(Planner):
    """MPPI; see `foreact.selection.path_integral`."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Planner.Config):
        iterations: int = 2
        temperature: float = 0.3
        decay: float = 0.6

    def search(self, score: Score, nominal: Float[Tensor, "B H A"], box: Box, noise: Noise) -> Selection:
        c = self.config
        return path_integral(score, nominal, lambda i: self.drawn(noise, nominal, i), box, spread=c.spread, temperature=c.temperature,
                             iterations=c.iterations, decay=c.decay)


class CrossEntropy(Planner):
    """CEM; see `foreact.selection.cross_entropy`."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Planner.Config):
        iterations: int = 3
        elites: int = 6

    def search(self, score: Score, nominal: Float[Tensor, "B H A"], box: Box, noise: Noise) -> Selection:
        c = self.config
        return cross_entropy(score, nominal, lambda i: self.drawn(noise, nominal, i), box, spread=c.spread, elites=c.elites,
                             iterations=c.iterations)


class BestFirstTree(Planner):
    """Best-first search over segments; see `foreact.selection.tree`. `candidates` segments are the options of each depth."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Planner.Config):
        candidates: int = 8
        depth: int = 2
        expansions: int = 4

    def __init__(self, config: Config, horizon: int) -> None:
        if horizon % config.depth or config.knots > horizon // config.depth:
            raise ConfigError("segments divide the chunk and are no shorter than their knots", where="model.coupling.planner.depth",
                              found=f"a chunk of {horizon} in {config.depth}, knots = {config.knots}")
        super().__init__(config, horizon)

    def search(self, score: Score, nominal: Float[Tensor, "B H A"], box: Box, noise: Noise) -> Selection:
        c = self.config
        parts = nominal.unflatten(1, (c.depth, -1))
        options = [torch.cat([parts[:, d, None], perturbed(parts[:, d], self.drawn(noise, nominal, d), c.spread, box)], dim=1)
                   for d in range(c.depth)]
        return best_first(score, nominal, torch.stack(options, dim=1), box, expansions=c.expansions)
