"""Which of several sampled plans is carried out: agreement among imagined futures, a value, the world itself, and controls.

A selector sees a function that samples candidates and functions that measure; what it gives back is the evidence too: all candidates,
their scores, the choice. Consistency-guided selection (Is the Future Compatible?, section 4 and appendices E and F), with d a substrate's
own distance, averaged over the frames and the parts of the future:

    o-bar = (1/N) sum_n o-hat_n                                                                     (equation 7)
    c_n   = exp( -d(o-hat_n, o-bar) )                                                               (equation 8)
    n*    = argmax_n c_n                               winner takes all                             (equation 9)
    a     = sum_n w_n a_n,  w = softmax(c / T)         the weighted ablation                        (equation 10)

The text has lost its tau and T: a factor on d changes no argmax, and T is ours to set. Medoid, ActionConsensus and RandomChoice, the
control at the same N, are ours. Of equal scores the first candidate's counts, which is the plan without selection. Scores are compared in
float64.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.contract.axes import Noise
from foreact.contract.config import Buildable, Config
from foreact.contract.context import Candidates
from foreact.contract.errors import ConfigError
from foreact.contract.specs import ActionSpec
from foreact.selection.best_of import of_the_chosen
from foreact.selection.rotations import mean_action

__all__ = ["ActionConsensus", "CameTrue", "Consensus", "Drawn", "Exploring", "First", "HighestValue", "Measures", "Medoid", "RandomChoice",
           "Selected", "Selector", "Verdict", "Weighted"]

Futures = Mapping[str, Tensor]
"""By part, (batch, candidate, time, tokens, channels)."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Candidates. actions: in the units of the robot. future: by part, (batch, candidate, time, tokens, channels); value: of each plan."""

    actions: Float[Tensor, "batch candidate horizon action"]
    future: Futures = field(default_factory=dict)
    value: Float[Tensor, "batch candidate"] | None = None

    @property
    def count(self) -> int:
        return self.actions.shape[1]


CameTrue = Callable[[Drawn], Tensor]


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What a selector may measure with; each gives (batch, candidate).

    futures, actions: how far two sets of candidates are apart, candidate by candidate; a set of one stands for all.
    came_true: how far what each candidate imagines is from what comes when it is executed, the world standing as before afterwards; None
    where no world can be put back. noise: for what is left to chance. spec: of the actions.
    """

    futures: Callable[[Futures, Futures], Tensor]
    actions: Callable[[Tensor, Tensor], Tensor]
    noise: Noise
    spec: ActionSpec
    came_true: CameTrue | None = None


@dataclass(frozen=True, kw_only=True)
class Selected:
    """What is to be carried out, the future and value of the candidate that was chosen, and the evidence."""

    actions: Float[Tensor, "batch horizon action"]
    future: Mapping[str, Tensor]
    value: Float[Tensor, " batch"] | None
    candidates: Candidates


@dataclass(frozen=True)
class Verdict:
    """scores: the highest is the choice. actions: what is carried out where that is no candidate."""

    scores: Float[Tensor, "batch candidate"]
    actions: Float[Tensor, "batch horizon action"] | None = None


class Selector(Buildable, ABC):
    """Chooses among candidates of the same present."""

    needs: ClassVar[frozenset[str]]
    """What the model, its actions, or the world must offer: "future", "value", "mean" (of actions), "world"."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Config):
        """candidates: how many are drawn. until: share of the episode's horizon during which there is a choice; after that a plan is made
        as without one, at its cost."""

        candidates: int = 8
        until: float = 1.0

        def __post_init__(self) -> None:
            if self.candidates < 1 or not 0 < self.until <= 1:
                raise ConfigError("at least one candidate, and a share above 0 and up to 1", where="selector",
                                  found=f"candidates = {self.candidates}, until = {self.until}")

    def __init__(self, config: Config) -> None:
        self.config = config

    @abstractmethod
    def judge(self, drawn: Drawn, measures: Measures) -> Verdict:
        """A score for each candidate."""

    def select(self, draw: Callable[[int], Drawn], measures: Measures) -> Selected:
        """Draw, judge, choose."""
        drawn = draw(self.config.candidates)
        if drawn.actions.is_cuda:
            torch.cuda.synchronize(drawn.actions.device)  # or the time of sampling would count as ours
        start = time.perf_counter()
        verdict = self.judge(drawn, measures)
        chosen = verdict.scores.argmax(dim=1)
        everything = {"actions": drawn.actions, **{f"of {name}": x for name, x in drawn.future.items()}}
        taken = of_the_chosen(everything, chosen.to(drawn.actions.device))
        took = 1e3 * (time.perf_counter() - start)
        spread = measures.actions(drawn.actions, drawn.actions.mean(dim=1, keepdim=True)).mean(dim=1).sqrt()
        return Selected(
            actions=taken["actions"] if verdict.actions is None else verdict.actions,
            future={name: taken[f"of {name}"] for name in drawn.future},
            value=None if drawn.value is None else of_the_chosen({"value": drawn.value}, chosen.to(drawn.value.device))["value"],
            candidates=Candidates(actions=drawn.actions, scores=verdict.scores, chosen=chosen, spread=spread, overhead_ms=took))


class First(Selector):
    """The first candidate, whatever the others are: the plan without selection, at the cost of N."""

    needs = frozenset()

    @dataclass(frozen=True, kw_only=True)
    class Config(Selector.Config):
        pass

    def judge(self, drawn: Drawn, measures: Measures) -> Verdict:
        return Verdict(torch.zeros(drawn.actions.shape[:2], dtype=torch.float64))


class RandomChoice(Selector):
    """Any candidate, all equally likely."""

    needs = frozenset()

    @dataclass(frozen=True, kw_only=True)
    class Config(Selector.Config):
        pass

    def judge(self, drawn: Drawn, measures: Measures) -> Verdict:
        return Verdict(_precise(measures.noise("choice of a candidate", (drawn.count,))))


class Consensus(Selector):
    """The candidate whose future is nearest to the mean future."""

    needs = frozenset({"future"})

    @dataclass(frozen=True, kw_only=True)
    class Config(Selector.Config):
        pass

    def judge(self, drawn: Drawn, measures: Measures) -> Verdict:
        return Verdict(_agreement(drawn, measures))


class Weighted(Selector):
    """The mean of all candidates' actions, weighted by how much their futures agree; rotations are averaged where they live.

    The future that goes with the plan is that of the candidate of the greatest weight.
    """

    needs = frozenset({"future", "mean"})

    @dataclass(frozen=True, kw_only=True)
    class Config(Selector.Config):
        """temperature: in units of the score, which is at most 1."""

        temperature: float = 0.1

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.temperature <= 0:
                raise ConfigError("a temperature is above zero", where="selector.temperature", found=self.temperature)

    def judge(self, drawn: Drawn, measures: Measures) -> Verdict:
        scores = _agreement(drawn, measures)
        weights = (scores / self.config.temperature).softmax(dim=1)
        return Verdict(scores, mean_action(drawn.actions, weights.to(drawn.actions), measures.spec))


class HighestValue(Selector):
    """The candidate of the highest predicted value."""

    needs = frozenset({"value"})

    @dataclass(frozen=True, kw_only=True)
    class Config(Selector.Config):
        pass

    def judge(self, drawn: Drawn, measures: Measures) -> Verdict:
        assert drawn.value is not None, "a model without a value is refused before"
        return Verdict(_precise(drawn.value))


class Medoid(Selector):
    """The candidate whose future lies nearest to those of the others: of several ways to act the commonest, not what lies between them.

    By the root of d: the candidate of the least sum of *squared* distances is the nearest to the mean, so with d it would be Consensus.
    """

    needs = frozenset({"future"})

    @dataclass(frozen=True, kw_only=True)
    class Config(Selector.Config):
        pass

    def judge(self, drawn: Drawn, measures: Measures) -> Verdict:
        each = [measures.futures({n: x[:, i:i + 1] for n, x in drawn.future.items()}, drawn.future) for i in range(drawn.count)]
        others = max(drawn.count - 1, 1)
        return Verdict((-_precise(torch.stack(each, dim=1)).sqrt().sum(dim=1) / others).exp())  # the distance to itself is zero


class ActionConsensus(Selector):
    """The candidate whose chunk is nearest to the mean chunk, in the model's units of action; no future is asked."""

    needs = frozenset()

    @dataclass(frozen=True, kw_only=True)
    class Config(Selector.Config):
        pass

    def judge(self, drawn: Drawn, measures: Measures) -> Verdict:
        return Verdict((-_precise(measures.actions(drawn.actions, drawn.actions.mean(dim=1, keepdim=True)))).exp())


class Exploring(Selector):
    """Every candidate is executed from where the world stands, which is then put back; what came most as imagined is chosen (equations 5
    and 6). No robot can do that: it bounds from above what consistency can tell."""

    needs = frozenset({"future", "world"})

    @dataclass(frozen=True, kw_only=True)
    class Config(Selector.Config):
        pass

    def judge(self, drawn: Drawn, measures: Measures) -> Verdict:
        if measures.came_true is None:
            raise ConfigError("what comes of each candidate is to be seen only where the world can be put back", where="selector",
                              found="Exploring outside an evaluation", accepted="foreact eval", next_step="selector=Consensus")
        return Verdict((-_precise(measures.came_true(drawn))).exp())


def _agreement(drawn: Drawn, measures: Measures) -> Float[Tensor, "batch candidate"]:
    """Equations 7 and 8."""
    mean = {name: x.float().mean(dim=1, keepdim=True) for name, x in drawn.future.items()}
    return (-_precise(measures.futures(drawn.future, mean))).exp()


def _precise(values: Tensor) -> Tensor:
    return values.detach().cpu().double()
