"""Selection among sampled plans while episodes run: who is refused beforehand, and the evidence that every choice leaves."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from foreact.acting.rehearsal import rehearsal
from foreact.contract.axes import SeededNoise
from foreact.contract.context import Candidates
from foreact.contract.errors import ConfigError
from foreact.contract.storage import significant
from foreact.evaluation.exploring import Explorer
from foreact.model import WorldActionModel
from foreact.selection.rotations import rotation_entries
from foreact.selection.selectors import Drawn, First, Measures, Selector, Verdict

__all__ = ["Choice", "choices_of", "require_selectable"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One choice of an episode: at which of its calls, before which step; every candidate's score and which was taken, counted from 0,
    where 0 is the plan without selection. spread: of the candidates' actions about their mean, in the model's units."""

    call: int
    step: int
    chosen: int
    scores: tuple[float, ...]
    spread: float


def choices_of(candidates: Candidates, rows: int) -> list[Choice]:
    """Of each row, to as many digits as are told; call and step are for those to fill in who know them."""
    assert candidates.spread is not None, "a selector measures it"
    told = zip(candidates.chosen.tolist(), candidates.scores.tolist(), candidates.spread.tolist(), strict=True)
    return [Choice(call=0, step=0, chosen=chosen, scores=tuple(significant(score) for score in scores), spread=significant(apart))
            for chosen, scores, apart in list(told)[:rows]]


def require_selectable(model: WorldActionModel, config: Selector.Config) -> None:
    """Raise `ConfigError` or `SpecError` where this selector finds nothing in this model by which to choose."""
    needs = type(config).owner.needs
    if "mean" in needs:
        rotation_entries(model.action)
    if "world" in needs:
        Explorer(model)
    if config.candidates > 1 and needs & {"future", "value"}:
        _look(model, config, needs)


def _look(model: WorldActionModel, config: Selector.Config, needs: frozenset[str]) -> None:
    """Draw two candidates, and see what there is to choose by."""
    seen = _Witnessed(First.Config(candidates=2))
    model.plan(rehearsal(model), noise=SeededNoise([0], model.device), selector=seen, session=None)
    name, drawn = type(config).owner.__name__, seen.drawn
    assert drawn is not None
    if "value" in needs and drawn.value is None:
        raise ConfigError("this selector chooses by the value of each plan, and this model gives none", where="evaluation.selector",
                          found=f"{name} with {type(model.coupling).__name__}", accepted="a run of a recipe that yields a value",
                          next_step="selector=Consensus")
    if "future" in needs and not drawn.future:
        raise ConfigError("this selector compares imagined futures, and this model imagines none", where="evaluation.selector",
                          found=f"{name} with {type(model.coupling).__name__}", accepted="a model whose plans have a future",
                          next_step="selector=ActionConsensus")
    same = all(torch.equal(x[:, 0], x[:, 1]) for x in drawn.future.values())
    if "future" in needs and "world" not in needs and same and not torch.equal(drawn.actions[:, 0], drawn.actions[:, 1]):
        raise ConfigError("this model imagines the same future for all candidates, whatever they do", where="evaluation.selector",
                          found=f"{name} with {type(model.coupling).__name__}", accepted="a model that draws its future from noise",
                          next_step="selector=ActionConsensus")


class _Witnessed(Selector):
    """Keeps what was drawn."""

    needs = frozenset()

    def __init__(self, config: Selector.Config) -> None:
        super().__init__(config)
        self.drawn: Drawn | None = None

    def judge(self, drawn: Drawn, measures: Measures) -> Verdict:
        self.drawn = drawn
        return Verdict(torch.zeros(drawn.actions.shape[:2], dtype=torch.float64))
