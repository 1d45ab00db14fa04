"""Who acts: a world action model through its regime for many episodes at once, or a control beside the environment.

The noise of a plan depends on (episode seed, number of the call) and on nothing else. Matrix products order their sums by
the size of the batch, so that one plan alone and the same plan in a batch differ in their last bits, which contact dynamics
then magnify. Rows of batches of one size do not depend on each other or on their order. So a plan is *defined* as a row of a
batch of exactly `lanes` rows, padded where fewer episodes are due. Larger batches are used whole only where their rows were
seen to equal that definition bit by bit, which is measured the first time that a size occurs; otherwise they are cut into
batches of `lanes`. So the number of parallel environments cannot change a result. (Measured on a 12 M joint model, AVX CPU,
one thread: sizes 1, 2-3 and 4-8 form three classes; a row costs 117, 85, 76 and 63 ms in batches of 1, 2, 4 and 8.)
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8

from foreact.contract.axes import Memory, Regime, SeededNoise, Session
from foreact.contract.config import Buildable, Config
from foreact.contract.context import Context, Plan, fake_context
from foreact.contract.errors import ConfigError, SpecError
from foreact.contract.specs import ActionSpec
from foreact.envs.base import Environment, Observation
from foreact.evaluation.consistency import Awaited, Distance, Witness
from foreact.evaluation.foresight import Foresight, require_read, stand_in
from foreact.model import WorldActionModel
from foreact.selection.rollback import DIGITS

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
    return, to as many digits as a rollback compares; None where the model gives none.
    """

    step: int
    batch: int
    prepare_ms: float
    model_ms: float
    evaluations: int
    actions: Float[np.ndarray, "horizon action"]
    value: float | None = None
    imagined: dict[str, UInt8[np.ndarray, "future 3 height width"]] | None = None


@dataclass
class Seat:
    """An episode under way: what the regime remembers of it, the calls made so far, and what a model with a history is shown.

    seen: observations at the last calls, the newest last; executed: actions since the start, as they were carried out.
    coming: by camera, what would come under the expert, where the rules ask for it: (time, 3, height, width). awaited: what was imagined
    and is yet to be seen, where consistency is measured.
    """

    seed: int
    memory: Memory = field(default_factory=Memory)
    calls: list[Call] = field(default_factory=list)
    seen: list[Observation] = field(default_factory=list)
    executed: list[np.ndarray] = field(default_factory=list)
    session: Session | None = None
    coming: dict[str, np.ndarray] = field(default_factory=dict)
    awaited: Awaited = field(default_factory=Awaited)


def noise_seed(seed: int, call: int) -> int:
    """The seed of the noise of call number `call` (from 0) of the episode of `seed`."""
    return int(np.random.SeedSequence([seed, call]).generate_state(1, np.uint64)[0])


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
    alone_ms: how long the plan of a single episode took, unpadded: what one robot waits for. Timed a few times at the start.

    Under a regime that carries a memory from call to call, every episode is planned alone, so nothing can depend on its neighbours.
    """

    TIMED_ALONE = 8

    def __init__(self, model: WorldActionModel, regime: Regime | None = None, *, lanes: int = 4, imagine: bool = False,
                 foresight: Foresight = "own", consistency: Distance = "off", teacher: str | None = None) -> None:
        self.model, self.regime = model.eval(), regime or model.regime
        self.lanes, self.imagine = 1 if self.regime.persistent else lanes, imagine and model.substrate.watchable
        self.foresight: Foresight = foresight
        if foresight != "own":
            require_read(self.model, foresight)
        self._witness = None if consistency == "off" else Witness(self.model, consistency, teacher)
        self.alone_ms: list[float] = []
        self._left_to_time = self.TIMED_ALONE
        self._trusted: dict[int, bool] = {}
        coupling = model.config.coupling
        first = self.model.plan(fake_context(model.observation, batch=1, history=coupling.history, past=coupling.past_actions,
                                             actions=model.action.size))  # one-time set-up is nobody's latency
        self._gives_value = first.value is not None

    def due(self, seat: Seat) -> bool:
        return self.regime.due(seat.memory)

    def see(self, seat: Seat, observation: Observation) -> None:
        """What became of what was imagined, where that is measured; changes nothing in what the seat does."""
        if self._witness is not None:
            self._witness.see(seat.awaited, seat.memory.steps, observation)

    def require_value(self) -> None:
        """Raise `ConfigError` where there is nothing by which a rollback could be decided."""
        if not self._gives_value:
            raise ConfigError("a rollback is decided by the value of each plan, and this model gives none", where="rollback",
                              found=f"coupling {type(self.model.coupling).__name__} without a value", accepted="a plan with a value",
                              next_step="evaluate a run of a recipe that yields a value, such as mv-wam, or set rollback=null")
        if self.model.config.regime.period() is None:
            raise ConfigError("a rollback compares the values of several calls", where="rollback",
                              found=f"regime {type(self.regime).__name__}, which calls once", accepted="a regime that calls again",
                              next_step="model.regime=Chunked")

    def plan(self, seats: Sequence[Seat], observations: Sequence[Observation]) -> None:
        """Give every seat a new plan from its observation."""
        for seat, observation in zip(seats, observations, strict=True):
            seat.seen = [*seat.seen, observation][-self.model.config.coupling.history:]
        if self.regime.persistent:
            for seat in seats:
                self._plan_alone(seat)
            return
        if self._left_to_time > 0:
            self._left_to_time -= 1
            self.alone_ms.append(self._call(seats[:1], 1).model_ms)
        size = len(seats)
        if not self.lanes or size <= self.lanes:
            self._hand_out(seats, self._call(seats, self.lanes or size))
            return
        if self._trusted.get(size):
            self._hand_out(seats, self._call(seats, size))
            return
        cut = [slice(start, start + self.lanes) for start in range(0, size, self.lanes)]
        parts = [self._call(seats[part], self.lanes) for part in cut]
        if size not in self._trusted:
            whole = self._call(seats, size)
            self._trusted[size] = all(_same(whole.plan, part, made.plan) for part, made in zip(cut, parts, strict=True))
        for part, made in zip(cut, parts, strict=True):
            self._hand_out(seats[part], made)

    def chunk(self, seat: Seat, limit: int) -> Float[np.ndarray, "steps action"]:
        """Actions up to the next step at which the regime wants a plan or an imagined frame is due, at most `limit`."""
        actions, ahead = [], seat.awaited.next_due(seat.memory.steps)
        limit = limit if ahead is None else min(limit, ahead)
        while len(actions) < limit and not self.due(seat):
            actions.append(self.regime.act(seat.memory))
        low, high = np.float32(self.model.action.low), np.float32(self.model.action.high)
        seat.executed.extend(np.clip(action, low, high) for action in actions)
        return np.stack(actions)

    def _plan_alone(self, seat: Seat) -> None:
        """One episode's plan, with the memory that it carries."""
        if seat.session is None:
            seat.session = self.model.coupling.begin()
        made = self._call([seat], 1)
        if self._left_to_time > 0:
            self._left_to_time -= 1
            self.alone_ms.append(made.model_ms)
        self._hand_out([seat], made)

    def _call(self, seats: Sequence[Seat], rows: int) -> _Made:
        """Plans of these seats in a batch of `rows`, of which those past the seats repeat the last."""
        start = time.perf_counter()
        padding = rows - len(seats)
        coupling = self.model.config.coupling
        context = context_of([*seats, *[seats[-1]] * padding], history=coupling.history, past=coupling.past_actions,
                             width=self.model.action.size)
        seeds = [noise_seed(seat.seed, seat.memory.calls) for seat in seats]
        noise = SeededNoise([*seeds, *seeds[-1:] * padding], self.model.device)
        ready = time.perf_counter()
        coming = [seat.coming for seat in [*seats, *[seats[-1]] * padding]] if self.foresight == "expert" else None
        through = stand_in(self.model, self.foresight, context, coming, noise)
        plan = self.model.plan(context, noise=noise, session=seats[0].session, through=through)
        return _Made(plan, 1e3 * (ready - start), 1e3 * (time.perf_counter() - ready))

    def _hand_out(self, seats: Sequence[Seat], made: _Made) -> None:
        plan, actions = made.plan, made.plan.actions.cpu().numpy()
        values = None if plan.value is None else plan.value.float().cpu().tolist()
        imagined = None
        if self.imagine and plan.future is not None:
            present = {name: torch.from_numpy(np.stack([seat.seen[-1]["images"][name] for seat in seats]))
                       for name in self.model.observation.camera_names}
            with torch.no_grad():
                decoded = self.model.substrate.decode(plan.future.values[: len(seats)], present)
            imagined = {name: images.cpu().numpy() for name, images in decoded.items()}
        for row, seat in enumerate(seats):
            seat.calls.append(Call(
                step=seat.memory.steps, batch=len(seats), prepare_ms=made.prepare_ms, model_ms=made.model_ms,
                evaluations=plan.cost.total, actions=actions[row], value=None if values is None else round(values[row], DIGITS),
                imagined=None if imagined is None else {name: images[row] for name, images in imagined.items()}))
            if self._witness is not None and plan.future is not None:
                self._witness.expect(seat.awaited, seat.memory.steps, seat.seen[-1], plan.future, row)
            self.regime.receive(seat.memory, actions[row])


@dataclass(frozen=True)
class _Made:
    plan: Plan
    prepare_ms: float
    model_ms: float


def context_of(seats: Sequence[Seat], *, history: int, past: int, width: int) -> Context:
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


def _same(whole: Plan, part: slice, made: Plan) -> bool:
    """Whether these rows of a plan are the first rows of another one to the last bit."""
    actions = whole.actions[part]
    same = torch.equal(actions, made.actions[: len(actions)])
    if whole.future is not None and made.future is not None:
        same = same and torch.equal(whole.future.values[part], made.future.values[: len(actions)])
    if whole.value is not None and made.value is not None:
        same = same and torch.equal(whole.value[part], made.value[: len(actions)])
    return same
