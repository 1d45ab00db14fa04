"""Plans for many episodes at once, of which none can tell what shared its batch.

The noise of a plan depends on (episode seed, number of the call) and on nothing else. Matrix products order their sums by
the size of the batch, so that one plan alone and the same plan in a batch differ in their last bits, which contact dynamics
then magnify. Rows of batches of one size do not depend on each other or on their order. So a plan is *defined* as a row of a
batch of exactly `lanes` rows, padded where fewer episodes are due. Larger batches are used whole only where their rows were
seen to equal that definition bit by bit, which is measured the first time that a size occurs; otherwise they are cut into
batches of `lanes`. So the number of parallel environments, or of connected robots, cannot change a result. (Measured on a 12 M joint
model, AVX CPU, one thread: sizes 1, 2-3 and 4-8 form three classes; a row costs 117, 85, 76 and 63 ms in batches of 1, 2, 4 and 8.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foreact.acting.rehearsal import rehearsal
from foreact.contract.axes import Memory, Noise, Regime, SeededNoise, Session
from foreact.contract.context import Context, Plan
from foreact.contract.errors import ConfigError
from foreact.contract.specs import ActionSpec
from foreact.envs.base import Observation
from foreact.flow.inpainting import commitment
from foreact.model import Through, WorldActionModel
from foreact.selection.selectors import Drawn, First, Selector

__all__ = ["Acting", "Choosing", "Lanes", "Made", "StandIn", "context_of", "noise_seed", "require_values"]

_FULL = 64
"""Calls after which a memory that still grows is not waited for."""
StandIn = Callable[[Context, Noise, Sequence[int]], Through | None]
"""What stands between future and action in one batch; the numbers say which of the planned episodes each row is."""


@dataclass(frozen=True)
class Choosing:
    """How each plan is chosen among candidates. came_true: see `Measures`; the numbers say which of the episodes each row is of."""

    selector: Selector
    came_true: Callable[[Sequence[int], Drawn], Tensor] | None = None

    def among(self, numbers: Sequence[int]) -> dict[str, Any]:
        """The same for a batch of these."""
        prove = self.came_true
        return {"selector": self.selector, "came_true": None if prove is None else lambda drawn: prove(numbers, drawn)}


class Acting(Protocol):
    """An episode under way, as far as planning goes.

    seen: observations at the last calls, the newest last; executed: actions since the start, or the last of them, as they were
    carried out; session: what a coupling remembers, where it does.
    """

    seed: int
    memory: Memory
    seen: list[Observation]
    executed: list[np.ndarray]
    session: Session | None


@dataclass(frozen=True)
class Made:
    """The plans of some of the episodes: row i is of episode `part.start + i`. Rows past the end of the part are padding."""

    part: slice
    plan: Plan
    prepare_ms: float
    model_ms: float

    @property
    def size(self) -> int:
        return self.part.stop - self.part.start


def require_values(regime: Regime, given: bool) -> None:
    """Raise `ConfigError` where a regime goes by the value of each plan and the model gives none."""
    if regime.by_value and not given:
        raise ConfigError("this regime goes by the value of each plan, and this model gives none", where="model.regime",
                          found=type(regime).__name__, accepted="a model whose plans have a value, such as mv-wam's",
                          next_step="model.regime=Chunked")


def noise_seed(seed: int, call: int) -> int:
    """The seed of the noise of call number `call` (from 0) of the episode of `seed`."""
    return int(np.random.SeedSequence([seed, call]).generate_state(1, np.uint64)[0])


class Lanes:
    """Plans of `model` in batches of `lanes` rows; 0 takes every batch as it comes, and results then depend on it.

    alone: each episode is planned by itself. remembers: with the memory that it carries from call to call; None for where it is alone.
    fixed: no batch is of another size than `lanes`, but for those of one.
    """

    def __init__(self, model: WorldActionModel, *, lanes: int, alone: bool, remembers: bool | None = None, fixed: bool = False) -> None:
        self.model, self.lanes, self.alone, self.fixed = model.eval(), 1 if alone else lanes, alone, fixed
        self.remembers = alone if remembers is None else remembers
        self._trusted: dict[tuple[int, Selector | None], bool] = {}

    def warm_up(self, candidates: int = 1) -> Plan:
        """Plans of random data: one-time set-up is nobody's latency. Returns the last of a single candidate.

        Where sizes are fixed, one plan of each, also among so many candidates, and of an episode with a memory as many as it takes until
        that is full.
        """
        model = self.model

        def plan(rows: int, session: Session | None = None, selector: Selector | None = None) -> Plan:
            return model.plan(rehearsal(model, rows), session=session, selector=selector)

        sizes = tuple(dict.fromkeys((1, self.lanes) if self.fixed else (1,)))
        made = [plan(rows) for rows in sizes]
        if self.fixed and candidates > 1:
            for rows in sizes:
                plan(rows, selector=First(First.Config(candidates=candidates)))
        session = model.coupling.begin() if self.fixed and self.remembers else None
        held = [-1, 0]
        while session is not None and held[-1] != held[-2] and len(held) < _FULL:
            plan(1, session)
            held.append(session.tokens)
        return made[-1]

    def show(self, seat: Acting, observation: Observation) -> None:
        """The present of a seat that is to be planned; of the past, only what the model looks at is kept."""
        seat.seen = [*seat.seen, observation][-self.model.config.coupling.history:]

    def plan(self, seats: Sequence[Acting], stand_in: StandIn | None = None, choosing: Choosing | None = None) -> list[Made]:
        """Plans of all seats, in order; choosing: each among candidates."""
        if self.alone:
            for seat in seats:
                if seat.session is None and self.remembers:
                    seat.session = self.model.coupling.begin()
            return [self.call(seats, slice(i, i + 1), 1, stand_in, choosing) for i in range(len(seats))]
        size, lanes, choice = len(seats), self.lanes, None if choosing is None else choosing.selector
        if not lanes or size <= lanes:
            return [self.call(seats, slice(0, size), lanes or size, stand_in, choosing)]
        if not self.fixed and self._trusted.get((size, choice)):
            return [self.call(seats, slice(0, size), size, stand_in, choosing)]
        parts = [self.call(seats, slice(start, min(start + lanes, size)), lanes, stand_in, choosing) for start in range(0, size, lanes)]
        if not self.fixed and (size, choice) not in self._trusted:
            whole = self.call(seats, slice(0, size), size, stand_in, choosing)
            self._trusted[size, choice] = all(_same(whole.plan, made) for made in parts)
        return parts

    def call(self, seats: Sequence[Acting], part: slice, rows: int, stand_in: StandIn | None = None,
             choosing: Choosing | None = None) -> Made:
        """Plans of these seats in a batch of `rows`, of which those past the seats repeat the last."""
        start = time.perf_counter()
        coupling = self.model.config.coupling
        numbers = list(range(part.start, part.stop))
        numbers += numbers[-1:] * (rows - len(numbers))
        chosen = [seats[i] for i in numbers]
        context = context_of(chosen, history=coupling.history, past=coupling.past_actions, width=self.model.action.size)
        context = replace(context, **_committed(chosen, coupling.horizon, self.model.action))
        noise = SeededNoise([noise_seed(seat.seed, seat.memory.calls) for seat in chosen], self.model.device)
        ready = time.perf_counter()
        through = None if stand_in is None else stand_in(context, noise, numbers)
        plan = self.model.plan(context, noise=noise, session=chosen[0].session, through=through,
                               **({} if choosing is None else choosing.among(numbers)))
        return Made(part, plan, 1e3 * (ready - start), 1e3 * (time.perf_counter() - ready))

    def decode(self, seats: Sequence[Acting], values: Float[Tensor, "batch time tokens channels"]) -> dict[str, np.ndarray]:
        """Pictures of what these seats, each shown its present, imagined; by camera, uint8 (seat, time, 3, height, width)."""
        present = {name: torch.from_numpy(np.stack([seat.seen[-1]["images"][name] for seat in seats])).to(self.model.device)
                   for name in self.model.observation.camera_names}
        with torch.no_grad():
            decoded = self.model.substrate.decode(values, present)
        return {name: images.cpu().numpy() for name, images in decoded.items()}


def context_of(seats: Sequence[Acting], *, history: int, past: int, width: int) -> Context:
    """The present of several episodes as one batch; what lies before an episode began repeats its first frame, and is no action."""
    shown = [[seat.seen[0]] * (history - len(seat.seen)) + seat.seen for seat in seats]
    early = torch.tensor([[i < history - len(seat.seen) for i in range(history)] for seat in seats])
    actions, unknown = None, None
    if past:
        rows = [[np.zeros(width, np.float32)] * (past - len(seat.executed)) + seat.executed[-past:] for seat in seats]
        actions = torch.from_numpy(np.stack([np.stack(row) for row in rows]).astype(np.float32))
        unknown = torch.tensor([[i < past - len(seat.executed) for i in range(past)] for seat in seats])
    return Context(
        images={name: torch.from_numpy(np.stack([np.stack([o["images"][name] for o in row]) for row in shown]))
                for name in shown[0][0]["images"]},
        state=torch.from_numpy(np.stack([np.stack([o["state"] for o in row]) for row in shown])),
        instruction=tuple(row[-1]["instruction"] for row in shown), past_actions=actions, history_is_pad=early, past_is_pad=unknown)


def _committed(seats: Sequence[Acting], horizon: int, spec: ActionSpec) -> dict[str, torch.Tensor]:
    """What will be executed of the old chunks before the new plans come, and how much those are held to it; nothing where none is."""
    if not any(seat.memory.committed and seat.memory.queue for seat in seats):
        return {}
    actions, weights = torch.zeros(len(seats), horizon, spec.size), torch.zeros(len(seats), horizon)
    for row, seat in enumerate(seats):
        left = min(len(seat.memory.queue), horizon)
        if seat.memory.committed and left:
            queue = np.clip(np.stack(seat.memory.queue[:left]), np.float32(spec.low), np.float32(spec.high))
            actions[row, :left] = torch.from_numpy(queue)
            weights[row] = commitment(seat.memory.committed, left, horizon)
    return {"committed": actions, "commitment": weights}


def _same(whole: Plan, made: Made) -> bool:
    """Whether a part of a plan for all is what was made for that part, to the last bit."""
    part, size = made.part, made.size
    same = torch.equal(whole.actions[part], made.plan.actions[:size])
    if whole.future is not None and made.plan.future is not None:
        same = same and torch.equal(whole.future.values[part], made.plan.future.values[:size])
    if whole.value is not None and made.plan.value is not None:
        same = same and torch.equal(whole.value[part], made.plan.value[:size])
    if whole.candidates is not None and made.plan.candidates is not None:
        same = same and torch.equal(whole.candidates.scores[part], made.plan.candidates.scores[:size])
    return same
