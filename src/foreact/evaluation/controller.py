"""Who acts: a world action model through its regime for many episodes at once, or a control beside the environment.

How plans are batched so that the number of parallel environments changes none is told in `foreact.acting.lanes`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from foreact.acting.consistency import Awaited, Distance, Witness
from foreact.acting.execution import Execution
from foreact.acting.lanes import Choosing, Lanes, Made, context_of, noise_seed, require_values
from foreact.acting.verifiers import Verifier
from foreact.contract.axes import Memory, Noise, Regime, Session
from foreact.contract.config import Buildable, Config
from foreact.contract.context import Context
from foreact.contract.errors import ConfigError, SpecError
from foreact.contract.specs import ActionSpec
from foreact.envs.base import Environment, Observation
from foreact.evaluation.clock import Clock, Waiting, holding, require_holding
from foreact.evaluation.exploring import Explorer, TryOut
from foreact.evaluation.foresight import Foresight, require_read, stand_in
from foreact.evaluation.guard import Guard, give_up, require_early
from foreact.evaluation.selecting import Choice, choices_of, require_selectable
from foreact.model import Through, WorldActionModel
from foreact.selection.monitor import Monitor
from foreact.selection.rollback import DIGITS
from foreact.selection.selectors import Selector

__all__ = ["Call", "Controller", "OutOfBounds", "Policy", "Seat", "context_of", "noise_seed", "within_bounds"]

OutOfBounds = Literal["clip", "error"]


class Policy(Buildable, ABC):
    """Chooses one action at a time beside the environment, which it may look into: experts and controls.

    Actions outside the spec are treated by the evaluation's out-of-bounds rule, as those of a model are.
    """

    class Config(Config):
        """`build()` makes the policy, in whichever process it acts."""

    @abstractmethod
    def start(self, environment: Environment, seed: int) -> None:
        """An episode begins; whatever is random must come from `seed`."""

    @abstractmethod
    def act(self, environment: Environment) -> Float[np.ndarray, " action"]:
        """The next action."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One plan for one episode: before which step, in a batch of how many, how long that batch took, how many evaluations.

    `actions` is the whole chunk in the units of the spec, before the out-of-bounds rule. value: of the plan, in the units of the
    return, to as many digits as a rollback compares; None where the model gives none. choice: among candidates, where there was one;
    select_ms: what choosing alone took.
    """

    step: int
    batch: int
    prepare_ms: float
    model_ms: float
    evaluations: int
    actions: Float[np.ndarray, "horizon action"]
    value: float | None = None
    imagined: dict[str, UInt8[np.ndarray, "future 3 height width"]] | None = None
    choice: Choice | None = None
    select_ms: float = 0.0


@dataclass
class Seat:
    """An episode under way: what the regime remembers of it, the calls made so far, and what a model with a history is shown.

    seen: observations at the last calls, the newest last; executed: actions since the start, as they were carried out.
    coming: by camera, what would come under the expert, where the rules ask for it: (time, 3, height, width). awaited: what was imagined
    and is yet to be seen, where consistency is measured. monitor: what is made of it, where it is watched; asked: it asked for help.
    waiting: the plan that is under way, where time is charged.
    """

    seed: int
    memory: Memory = field(default_factory=Memory)
    calls: list[Call] = field(default_factory=list)
    seen: list[Observation] = field(default_factory=list)
    executed: list[np.ndarray] = field(default_factory=list)
    session: Session | None = None
    coming: dict[str, np.ndarray] = field(default_factory=dict)
    awaited: Awaited = field(default_factory=Awaited)
    monitor: Monitor | None = None
    asked: bool = False
    waiting: Waiting = field(default_factory=Waiting)

    def forget(self) -> None:
        """What was imagined leads elsewhere."""
        self.awaited.forget()
        if self.monitor is not None:
            self.monitor.restart()


def within_bounds(action: Float[np.ndarray, " action"], spec: ActionSpec,
                  rule: OutOfBounds) -> tuple[Float[np.ndarray, " action"], bool]:
    """The action that is executed, and whether it had to be clipped.

    A sampler overshoots bounds that the robot will not accept. "clip" moves each entry to the nearest bound and says so;
    "error" raises `SpecError`. What is not finite raises under both.
    """
    action = np.asarray(action, dtype=np.float32)
    low, high = np.float32(spec.low), np.float32(spec.high)
    if action.shape != low.shape or not np.isfinite(action).all():
        raise SpecError("this is no action", where="policy", found=action.tolist(), accepted=f"{spec.size} finite numbers",
                        next_step="look for NaN in the weights or in the normalisation of the checkpoint")
    clipped = np.clip(action, low, high)
    outside = bool((clipped != action).any())
    if outside and rule == "error":
        raise SpecError("the policy left the action bounds", where="policy", found=action.tolist(),
                        accepted=f"{list(spec.low)} to {list(spec.high)}",
                        next_step="evaluate with out_of_bounds=clip, which counts them")
    return clipped, outside


class Controller:
    """Drives episodes with `model` under `regime` (by default the model's own).

    lanes: the batch size that defines a plan; 0 takes every batch as it comes, and results then depend on it.
    imagine: decode the predicted futures to images, for recordings. foresight: what the action reads in place of them. consistency:
    compare them with what comes, in this distance; teacher: the folder in whose features, where it is perceptual.
    freeze: the step from which the robot does not move any more (see `freezing.py`).
    selector: chooses among candidates, `until` its share of an episode of `horizon` control steps.
    guard: what is done when what was imagined and what comes drift apart. verifier: asked meanwhile whether a plan still holds.
    clock: what a plan costs in the environment's time. With clock=wall every plan is made alone, as for one robot.
    execution: how plans are computed; `model` is what was made of the given one for that.
    alone_ms: how long the plan of a single episode took, unpadded: what one robot waits for. Timed a few times at the start.

    Under a regime that carries a memory from call to call, every episode is planned alone, so nothing can depend on its neighbours.
    """

    TIMED_ALONE = 8

    def __init__(self, model: WorldActionModel, regime: Regime | None = None, *, lanes: int = 4, imagine: bool = False,
                 foresight: Foresight = "own", consistency: Distance = "off", teacher: str | None = None,
                 freeze: int | None = None, selector: Selector.Config | None = None, horizon: float = math.inf,
                 guard: Guard | None = None, verifier: Verifier.Config | None = None, clock: Clock | None = None,
                 execution: Execution | None = None) -> None:
        self.freeze, self.clock, execution = freeze, clock or Clock(), execution or Execution()
        self.model, self.regime = execution.prepare(model.eval()), regime or model.regime
        remembers = self.regime.persistent
        self._lanes = Lanes(self.model, lanes=lanes, alone=remembers or self.clock.mode == "wall", remembers=remembers,
                            fixed=execution.fixed_shapes)
        if self.clock.mode != "free":
            require_holding(model.observation, model.action)
        self.imagine = imagine and model.substrate.watchable
        self.foresight: Foresight = foresight
        if foresight != "own":
            require_read(self.model, foresight)
        self._witness = None if consistency == "off" else Witness(self.model, consistency, teacher)
        self._guard = guard
        self._verifier = None if verifier is None else verifier.build(model.action)
        if verifier is not None:
            require_early(model, where="evaluation.verifier", found=type(verifier).owner.__name__, next_step="verifier=null")
        self.alone_ms: list[float] = []
        self._left_to_time = self.TIMED_ALONE
        self._selector, self._select_until, self._explorer = None, 0.0, None
        if selector is not None:
            require_selectable(self.model, selector)
            self._selector, self._select_until = selector.build(), selector.until * horizon
            self._explorer = Explorer(self.model) if "world" in self._selector.needs else None
        self._gives_value = self._lanes.warm_up(1 if selector is None else selector.candidates).value is not None
        require_values(self.regime, self._gives_value)

    def due(self, seat: Seat) -> bool:
        """Whether the seat wants a plan now; one that is under way and has come is handed over."""
        seat.waiting.deliver(seat.memory, self.regime)
        return seat.waiting.plan is None and self.regime.due(seat.memory)

    def see(self, seat: Seat, observation: Observation) -> None:
        """What became of what was imagined, where that is measured; changes nothing in what the seat does, unless a guard does."""
        if self._witness is not None:
            came = self._witness.see(seat.awaited, seat.memory.steps, observation)
            if self._guard is not None:
                self._guard.see(seat, came)
        if self._verifier is not None and seat.memory.queue and seat.waiting.plan is None:
            since = seat.memory.since_call
            if since and since % self._verifier.config.every == 0 and not self._verifier.holds(
                    seat.seen[-1], observation, np.stack(seat.executed[-since:]), np.stack(seat.memory.queue)):
                give_up(seat)

    def require_value(self) -> None:
        """Raise `ConfigError` where there is nothing by which a rollback could be decided."""
        if not self._gives_value:
            raise ConfigError("a rollback is decided by the value of each plan, and this model gives none", where="rollback",
                              found=f"coupling {type(self.model.coupling).__name__} without a value", accepted="a plan with a value",
                              next_step="evaluate a run of a recipe that yields a value, such as mv-wam, or set rollback=null")
        if self.regime.name == "Open-loop":
            raise ConfigError("a rollback compares the values of several calls", where="rollback",
                              found=f"regime {type(self.regime).__name__}, which calls once", accepted="a regime that calls again",
                              next_step="model.regime=Chunked")

    def plan(self, seats: Sequence[Seat], observations: Sequence[Observation], try_out: TryOut | None = None) -> None:
        """Give every seat a new plan from its observation. try_out: executes candidates, by place among the seats, where that can be."""
        for seat, observation in zip(seats, observations, strict=True):
            self._lanes.show(seat, observation)
            seat.memory.committed = seat.waiting.expected if self.regime.config.inpaints else 0
        groups = [[i for i, seat in enumerate(seats) if self._selects(seat) is selects] for selects in (True, False)]
        for places, selector in zip(groups, (self._selector, None), strict=True):
            if places:
                self._plan([seats[i] for i in places], None if selector is None else self._choosing(selector, seats, places, try_out))

    def _selects(self, seat: Seat) -> bool:
        """Whether this seat's next plan is chosen among candidates."""
        return self._selector is not None and seat.memory.steps < self._select_until

    def _choosing(self, selector: Selector, seats: Sequence[Seat], places: Sequence[int], try_out: TryOut | None) -> Choosing:
        """How the seats at these places are given their choice."""
        if self._explorer is None or try_out is None:
            return Choosing(selector)

        def elsewhere(plans: Mapping[int, np.ndarray]) -> dict[int, list[Observation]]:
            seen = try_out({places[number]: actions for number, actions in plans.items()})
            return {number: seen[places[number]] for number in plans}

        return Choosing(selector, self._explorer.came_true([seats[i].seen[-1] for i in places], elsewhere))

    def _plan(self, seats: Sequence[Seat], choosing: Choosing | None) -> None:
        """Plans of seats that have seen their present."""
        def through(context: Context, noise: Noise, rows: Sequence[int]) -> Through | None:
            coming = [seats[row].coming for row in rows] if self.foresight == "expert" else None
            return stand_in(self.model, self.foresight, context, coming, noise)

        if self._left_to_time > 0 and not self._lanes.alone:
            self._left_to_time -= 1
            self.alone_ms.append(self._lanes.call(seats, slice(0, 1), 1, through, choosing).model_ms)
        for made in self._lanes.plan(seats, through, choosing):
            if self._left_to_time > 0 and self._lanes.alone:
                self._left_to_time -= 1
                self.alone_ms.append(made.model_ms)
            self._hand_out(seats[made.part], made, choosing is not None)

    def chunk(self, seat: Seat, limit: int) -> Float[np.ndarray, "steps action"]:
        """Actions up to the next step at which the regime wants a plan or an imagined frame is due, at most `limit`."""
        actions, ahead = [], seat.awaited.next_due(seat.memory.steps)
        limit = limit if ahead is None else min(limit, ahead)
        if self._verifier is not None:
            limit = min(limit, self._verifier.config.every - seat.memory.since_call % self._verifier.config.every)
        low, high = np.float32(self.model.action.low), np.float32(self.model.action.high)
        while len(actions) < limit and not self.due(seat):
            frozen = self.freeze is not None and seat.memory.steps >= self.freeze
            action = seat.waiting.step(seat.memory, self.regime, partial(self._still, seat))
            actions.append(self._still(seat) if frozen else action)
            seat.executed.append(np.clip(actions[-1], low, high))
        return np.stack(actions)

    def _still(self, seat: Seat) -> Float[np.ndarray, " action"]:
        """The action that holds this robot where it is."""
        last = seat.executed[-1] if seat.executed else None
        return holding(self.model.observation, self.model.action, last, seat.seen[-1])

    def _hand_out(self, seats: Sequence[Seat], made: Made, selected: bool) -> None:
        plan, actions = made.plan, made.plan.actions.cpu().numpy()
        values = None if plan.value is None else plan.value.float().cpu().tolist()
        imagined = None
        if self.imagine and plan.future is not None:
            imagined = self._lanes.decode(seats, plan.future.values[: len(seats)])
        chosen = choices_of(plan.candidates, len(seats)) if selected and plan.candidates is not None else None
        for row, seat in enumerate(seats):
            seat.calls.append(Call(
                step=seat.memory.steps, batch=len(seats), prepare_ms=made.prepare_ms, model_ms=made.model_ms,
                evaluations=plan.cost.total, actions=actions[row], value=None if values is None else round(values[row], DIGITS),
                imagined=None if imagined is None else {name: images[row] for name, images in imagined.items()},
                choice=None if chosen is None else replace(chosen[row], call=len(seat.calls), step=seat.memory.steps),
                select_ms=0.0 if chosen is None else plan.candidates.overhead_ms))
            if self._witness is not None and plan.future is not None:
                self._witness.expect(seat.awaited, seat.memory.steps, seat.seen[-1], plan.future, row, actions[row])
            seat.memory.value = None if values is None else values[row]
            seat.waiting.ask(actions[row], self.clock.steps(made.prepare_ms + made.model_ms, self.model.action.rate_hz))
            seat.waiting.deliver(seat.memory, self.regime)  # at once, where the world waits
