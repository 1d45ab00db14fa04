"""Episodes from first look to last step: plans batched over the seats of a vector environment, a record for each episode."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from foreact.acting.consistency import Realised
from foreact.envs.base import Observation
from foreact.envs.touch import Touch
from foreact.evaluation.controller import Call, Controller, Seat
from foreact.evaluation.exploring import TryOut
from foreact.evaluation.recovery import NOWHERE, Recovery, RollbackTrace
from foreact.evaluation.selecting import Choice
from foreact.evaluation.slots import DRIVE, STOP, Episode, Footage
from foreact.selection.monitor import Alarm, Score
from foreact.selection.rollback import Rollback

__all__ = ["EpisodeRecord", "Finished", "peak_memory_mb", "roll"]


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One line of `episodes.jsonl`.

    success: the task was solved at some step; held: it was at the last one.
    steps, calls, evaluations: control steps, plans, network evaluations in all plans.
    outside: steps whose action had to be clipped. actions_digest: of the executed actions, to the last bit.
    call_steps, call_batch: before which step each plan was made, and how many episodes shared the call.
    model_ms, prepare_ms, observe_ms: per call, of the whole batch; alone_ms: plans of one episode alone, timed meanwhile.
    values: of each plan, where the model gives them. rollbacks: every trigger; undone: steps that were taken back. They count among
        `steps`, and the discarded plans among `calls` and `evaluations`. consistency: imagined frames that came due, where measured.
    choices: among candidates, where there were several; select_ms: what each took, the candidates being there, of the whole batch.
    staleness: of each plan that was acted upon, the control steps between its observation and the first action taken from it; idle: steps
        in which the robot held still for want of a plan. Both only where time is charged.
    touch: when the hand touched what the task acts on, steps counted like `steps`; None where the physics is out of reach.
    alarms, scores: what a monitor made of them, where one watched; asked: it ended the episode to ask for help, which is no success.
    """

    task: str
    condition: str
    seed: int
    success: bool
    held: bool
    steps: int
    calls: int
    evaluations: int
    outside: int
    instruction: str
    actions_digest: str
    call_steps: tuple[int, ...] = ()
    call_batch: tuple[int, ...] = ()
    model_ms: tuple[float, ...] = ()
    prepare_ms: tuple[float, ...] = ()
    observe_ms: tuple[float, ...] = ()
    alone_ms: tuple[float, ...] = ()
    peak_memory_mb: float = 0.0
    values: tuple[float, ...] = ()
    rollbacks: tuple[RollbackTrace, ...] = ()
    undone: int = 0
    consistency: tuple[Realised, ...] = ()
    choices: tuple[Choice, ...] = ()
    select_ms: tuple[float, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    scores: tuple[Score, ...] = ()
    asked: bool = False
    staleness: tuple[int, ...] = ()
    idle: int = 0
    touch: Touch | None = None

    @property
    def episode(self) -> Episode:
        return Episode(condition=self.condition, task=self.task, seed=self.seed)

    @property
    def evaluations_per_step(self) -> float:
        return self.evaluations / self.steps

    @property
    def outcome(self) -> dict[str, Any]:
        """Everything that must not depend on how the work was spread: all but timings, batches and memory."""
        kept = ("task", "condition", "seed", "success", "held", "steps", "calls", "evaluations", "outside", "instruction",
                "actions_digest", "call_steps", "values", "rollbacks", "undone", "consistency", "choices",
                "alarms", "scores", "asked", "staleness", "idle", "touch")
        return {name: getattr(self, name) for name in kept}


@dataclass(frozen=True, kw_only=True)
class Finished:
    """An episode that is over, the calls it was driven by and, when asked for, its footage."""

    record: EpisodeRecord
    calls: tuple[Call, ...]
    footage: Footage


@dataclass
class _Occupied:
    episode: Episode
    seat: Seat
    instruction: str
    look: int
    recovery: Recovery | None
    observe_ms: list[float] = field(default_factory=list)


def peak_memory_mb() -> float:
    """The most memory that this process ever held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells on Linux begins with the size of the process that started this one
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def roll(controller: Controller | None, seats: VectorEnv, take: Callable[[], Episode | None], *, footage: bool = False,
         rollback: Rollback | None = None) -> Iterator[Finished]:
    """Run the episodes that `take` hands out, until it hands out None; each is yielded when it is over.

    Without a controller the seats' own policy drives. A seat whose episode ended begins the next one at once. A seat that goes back
    spends this round on that, without a step, and is planned again in the next one, with the others.
    """
    if controller is not None and rollback is not None:
        controller.require_value()
    table: list[_Occupied | None] = [None] * seats.num_envs
    horizon, width = seats.single_action_space["actions"].shape
    ended = np.ones(seats.num_envs, dtype=bool)
    while True:
        observations = _fill(seats, table, ended, take, rollback) if ended.any() else observations
        busy = [index for index, occupied in enumerate(table) if occupied is not None]
        if not busy:
            return
        actions = np.zeros((seats.num_envs, horizon, width), np.float32)
        counts, recall = np.full(seats.num_envs, DRIVE, np.int64), np.full(seats.num_envs, NOWHERE, np.int64)
        held = np.full((seats.num_envs, *seats.single_action_space["held"].shape), NOWHERE, np.int64)
        if controller is not None:
            for index in busy:
                controller.see(table[index].seat, _row(observations, index, table[index].instruction))
            due = [index for index in busy if not table[index].seat.asked and controller.due(table[index].seat)]
            for index in due:
                table[index].seat.coming = {name: x[index] for name, x in observations.get("coming", {}).items()}
            planned = _plan(controller, [table[i] for i in due], [_row(observations, i, table[i].instruction) for i in due],
                            lambda plans, due=due: _tried_out(seats, due, plans))
            back = dict(zip(due, planned, strict=True))
            for index in busy:
                if table[index].seat.asked:
                    counts[index] = STOP
                elif back.get(index) is None:
                    chunk = controller.chunk(table[index].seat, horizon)
                    actions[index, : len(chunk)], counts[index] = chunk, len(chunk)
                else:
                    counts[index], recall[index] = 0, back[index]
                    table[index].seat.forget()
                looks = () if table[index].recovery is None else table[index].recovery.looks
                held[index, : len(looks)] = looks
        observations, _, terminated, truncated, info = seats.step(
            {"actions": actions, "count": counts, "recall": recall, "held": held})
        ended = terminated | truncated
        if ended.any():
            tapes = seats.get_attr("footage") if footage else [Footage([], [], [])] * seats.num_envs
        for index in busy:
            if ended[index]:
                yield _finish(table[index], {name: values[index] for name, values in info.items()}, controller, tapes[index])
                table[index] = None
            else:
                table[index].look = int(info["look"][index])
                if controller is None or controller.due(table[index].seat):
                    table[index].observe_ms.append(float(info["observe_ms"][index]))


def _plan(controller: Controller, occupied: Sequence[_Occupied], observations: Sequence[Observation], try_out: TryOut,
          ) -> list[int | None]:
    """A plan for each; where it is not to be carried out because its value fell too far, the look to go back to."""
    if not occupied:  # some seats only look whether what they imagined came
        return []
    for one in occupied:
        if one.recovery is not None:
            one.recovery.remember(one.seat, one.look)
    controller.plan([one.seat for one in occupied], observations, try_out)
    return [None if one.recovery is None else one.recovery.judge(one.seat) for one in occupied]


def _tried_out(seats: VectorEnv, due: Sequence[int], plans: Mapping[int, np.ndarray]) -> dict[int, list[Observation]]:
    """What is seen after each candidate, by place among the seats that are due; all seats work at once, where they can."""
    seen = seats.call("try_out", {due[place]: actions for place, actions in plans.items()})
    return {place: seen[due[place]] for place in plans}


def _fill(seats: VectorEnv, table: list[_Occupied | None], ended: np.ndarray, take: Callable[[], Episode | None],
          rollback: Rollback | None) -> Any:
    """Begin the next episode, or rest, in every seat that ended."""
    episodes = {int(index): take() for index in np.flatnonzero(ended)}
    observations, info = seats.reset(options={"reset_mask": ended.copy(), "episodes": episodes})
    for index, episode in episodes.items():
        if episode is not None:
            table[index] = _Occupied(episode, Seat(seed=episode.seed), str(info["instruction"][index]), int(info["look"][index]),
                                     None if rollback is None else Recovery(rollback), [float(info["observe_ms"][index])])
    return observations


def _row(observations: Any, index: int, instruction: str) -> Observation:
    return {"images": {name: images[index] for name, images in observations["images"].items()},
            "state": observations["state"][index], "instruction": instruction}


def _finish(occupied: _Occupied, info: dict[str, Any], controller: Controller | None, tape: Footage) -> Finished:
    calls, alone = tuple(occupied.seat.calls), ()
    seat, monitor, waiting = occupied.seat, occupied.seat.monitor, occupied.seat.waiting
    charged = controller is not None and controller.clock.mode != "free"
    traces = () if occupied.recovery is None else tuple(occupied.recovery.traces)
    if controller is not None:
        alone, controller.alone_ms = tuple(round(ms, 3) for ms in controller.alone_ms), []
    record = EpisodeRecord(
        task=occupied.episode.task, condition=occupied.episode.condition, seed=occupied.episode.seed,
        success=bool(info["success"]) and not seat.asked, held=bool(info["held"]), steps=int(info["steps"]), calls=len(calls),
        evaluations=sum(call.evaluations for call in calls), outside=int(info["outside"]), instruction=occupied.instruction,
        actions_digest=str(info["digest"]), call_steps=tuple(call.step for call in calls),
        call_batch=tuple(call.batch for call in calls), model_ms=tuple(round(call.model_ms, 3) for call in calls),
        prepare_ms=tuple(round(call.prepare_ms, 3) for call in calls),
        observe_ms=tuple(round(ms, 3) for ms in occupied.observe_ms[: len(calls)]), alone_ms=alone,
        peak_memory_mb=round(peak_memory_mb(), 1), values=tuple(call.value for call in calls if call.value is not None),
        rollbacks=traces, undone=sum(trace.undone for trace in traces), consistency=tuple(seat.awaited.realised),
        choices=tuple(call.choice for call in calls if call.choice is not None),
        select_ms=tuple(round(call.select_ms, 3) for call in calls if call.choice is not None),
        alarms=() if monitor is None else tuple(monitor.alarms), scores=() if monitor is None else tuple(monitor.scores), asked=seat.asked,
        staleness=tuple(waiting.staleness) if charged else (), idle=waiting.idle,
        touch=info["touch"])
    return Finished(record=record, calls=calls, footage=tape)
