"""Where plans are made: one thread, beside the event loop, for all sessions; what waits is planned together.

A plan waits up to `wait_ms` for others, and not at all once every connected session has asked. Batches are of at most `lanes` rows, or
of whole multiples of it, whose rows were seen to be those of `lanes` rows to the last bit before the server said that it was ready; so
nobody's actions depend on who else is connected (`foreact.acting.lanes`). A session asks for one plan at a time. Sessions with a memory
are planned one by one.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foreact.acting.lanes import Lanes, Made, require_values
from foreact.contract.context import fake_context
from foreact.contract.errors import ForeactError
from foreact.model import WorldActionModel
from foreact.serving.metrics import Metrics
from foreact.serving.requests import Request
from foreact.serving.sessions import Served
from foreact.serving.settings import ServerSettings
from foreact.serving.watching import Watch
from foreact.serving.wire import pack

__all__ = ["Desk", "Failed", "Job"]

_log = logging.getLogger("foreact.serving")


class Failed(Exception):
    """A plan could not be made; the text is for the client, the cause is in the log."""


@dataclass(eq=False)
class Job:
    """One request of one session. done: called from the desk's thread with the answer's bytes or what went wrong."""

    served: Served
    request: Request
    done: Callable[[bytes | Failed], None]
    came: float = field(default_factory=time.perf_counter)
    dropped: bool = False


class Desk:
    """Plans for all sessions. connected: how many there are."""

    def __init__(self, model: WorldActionModel, settings: ServerSettings, metrics: Metrics, connected: Callable[[], int]) -> None:
        self._watch = None if settings.monitor is None else Watch(model, settings.monitor, metrics, teacher=settings.monitor_teacher)
        self._model = model = settings.execution.prepare(model)
        self._settings, self._metrics, self._connected = settings, metrics, connected
        self._regime, self._coupling = model.regime, model.config.coupling
        self._lanes = Lanes(model, lanes=settings.lanes, alone=self._regime.persistent, fixed=settings.execution.fixed_shapes)
        self._low, self._high = np.float32(model.action.low), np.float32(model.action.high)
        self._keep = max(self._coupling.past_actions, self._coupling.horizon)
        self.imagines = settings.imagine and model.substrate.watchable and bool(self._coupling.future_offsets)
        self._waiting: list[Job] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="foreact-plans", daemon=True)
        self.warm = threading.Event()
        self.broken: BaseException | None = None

    def start(self, warmed: Callable[[], None]) -> None:
        """Warm up, call `warmed` (which may ask what is `broken`), then plan until stopped."""
        self._warmed = warmed
        self._thread.start()

    def submit(self, job: Job) -> None:
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()

    def drop(self, job: Job) -> None:
        """Nobody waits for it any more; a plan that has begun is made all the same."""
        with self._changed:
            job.dropped = True

    def stop(self) -> None:
        """Finish what waits, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    # --- the desk's own thread ----------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._warm_up()
            self.warm.set()
        except BaseException as error:
            self.broken = error
        self._warmed()
        while self.broken is None:
            jobs = self._next()
            if jobs is None:
                return
            if jobs:
                self._serve(jobs)

    def _warm_up(self) -> None:
        """Every batch that will occur is planned once, so that nobody waits for set-up or is planned in an untested batch."""
        lanes, coupling = self._lanes.lanes, self._coupling
        tried = self._lanes.warm_up()
        require_values(self._regime, tried.value is not None)
        self.imagines = self.imagines and tried.future is not None
        most = 1 if self._lanes.alone else self._settings.batch // lanes * lanes
        context = fake_context(self._model.observation, batch=most, history=1)
        seats = [Served(name="", seed=i) for i in range(most)]
        for i, seat in enumerate(seats):
            observation = {"images": {name: x[i, 0].numpy() for name, x in context.images.items()},
                           "state": context.state[i, 0].numpy(), "instruction": context.instruction[i]}
            for _ in range(coupling.history):
                self._lanes.show(seat, observation)
            seat.executed = [np.zeros(self._model.action.size, np.float32)] * coupling.past_actions
        for size in range(lanes, most + 1, lanes):
            made = self._lanes.plan(seats[:size])
        if self.imagines:
            self._lanes.decode(seats[:1], made[0].plan.future.values[:1])
        if self._watch is not None:
            self._watch.rehearse(seats[0], made[0].plan)

    def _next(self) -> list[Job] | None:
        """The jobs of one batch, or None once all is done and no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            if not self._waiting:
                return None
            until = self._waiting[0].came + self._settings.wait_ms / 1000
            self._changed.wait_for(lambda: len(self._waiting) >= min(self._settings.batch, self._connected()) or self._stopping,
                                   timeout=max(0.0, until - time.perf_counter()))
            waiting = [job for job in self._waiting if not job.dropped]
            chosen: dict[str, Job] = {}
            for job in waiting:  # one at a time for each session, which may have come back before its last answer was made
                chosen.setdefault(job.served.name, job)
            lanes, jobs = self._lanes.lanes, list(chosen.values())[: self._settings.batch]
            if len(jobs) > lanes:
                jobs = jobs[: len(jobs) // lanes * lanes]
            self._waiting = [job for job in waiting if job not in jobs]
            return jobs

    def _serve(self, jobs: list[Job]) -> None:
        began = time.perf_counter()
        known = [job for job in jobs if job.request.number is not None and job.served.answered is not None
                 and job.served.answered[0] == job.request.number]  # asked again while the answer was being made
        for job in known:
            job.done(job.served.answered[1])
        jobs = [job for job in jobs if job not in known]
        try:
            answers = self._answers(jobs, began)
        except Exception as error:
            answers = [_failure(error)] * len(jobs)
        for job, answer in zip(jobs, answers, strict=True):
            self._metrics.observe("foreact_request_seconds", time.perf_counter() - job.came)
            job.done(answer)

    def _answers(self, jobs: list[Job], began: float) -> list[bytes | Failed]:
        for job in jobs:
            if job.request.reset:
                job.served.begin(job.request.seed if job.request.seed is not None else self._settings.seed + job.served.episodes + 1,
                                 job.request.episode)
            else:
                job.served.episode = job.request.episode or job.served.episode
                job.served.carried_out(job.request.executed, keep=self._keep)
        due = [job for job in jobs if job.request.observation is not None and self._regime.due(job.served.memory)]
        watched = {} if self._watch is None else {job.served.name: self._watch.see(job.served, job.request.observation) for job in due}
        made = self._plan(due)
        answers: list[bytes | Failed] = []
        for job in jobs:
            try:
                reply = self._reply(job, made.get(job.served.name), watched.get(job.served.name), began)
                answers.append(pack(reply))
                if job.request.number is not None:
                    job.served.answered = job.request.number, answers[-1]
            except Exception as error:
                answers.append(_failure(error))
        return answers

    def _plan(self, due: list[Job]) -> dict[str, tuple[Made, int]]:
        """For each session that is due, the batch it was planned in and its row there."""
        if not due:
            return {}
        seats = [job.served for job in due]
        for job in due:
            self._lanes.show(job.served, job.request.observation)
        found = {}
        for made in self._lanes.plan(seats):
            self._metrics.observe("foreact_plan_seconds", (made.prepare_ms + made.model_ms) / 1000)
            self._metrics.observe("foreact_batch_rows", made.size)
            found |= {seats[made.part.start + row].name: (made, row) for row in range(made.size)}
        return found

    def _reply(self, job: Job, planned: tuple[Made, int] | None, watched: dict[str, Any] | None, began: float) -> dict[str, Any]:
        served, request = job.served, job.request
        about = {"session": served.name, "episode": served.episode, "seed": served.seed}
        if request.observation is None:
            return {"foreact": about | {"call": served.memory.calls, "step": served.memory.steps}}
        step, timing, reply = served.memory.steps, {"queue_ms": 1e3 * (began - job.came)}, {}
        if planned is not None:
            made, row = planned
            rows = made.plan.actions[row].float().cpu().numpy()
            if not np.isfinite(rows).all():
                raise FloatingPointError("the model gave actions that are not finite")
            served.memory.value = None if made.plan.value is None else float(made.plan.value[row])
            self._regime.receive(served.memory, rows)
            timing["infer_ms"] = made.prepare_ms + made.model_ms
            about |= {"batch": made.size, "evaluations": made.plan.cost.total, "value": served.memory.value}
            if self._watch is not None and made.plan.future is not None:
                self._watch.expect(served, step, made.plan.future, row, rows)
            if request.monitor:
                reply["monitor"] = watched
            if request.imagine and self.imagines and made.plan.future is not None:
                reply["imagined"] = self._imagined(served, made, row)
        chunk = self._chunk(served)
        actions = np.clip(chunk if planned is None else rows, self._low, self._high)
        served.offered, served.assumed = actions, len(chunk)
        served.executed.extend(actions[: len(chunk)])
        about |= {"call": served.memory.calls - 1, "step": step, "replan": len(chunk)}
        timing.setdefault("infer_ms", 0.0)
        return {"actions": actions, "server_timing": timing, "foreact": about | reply}

    def _chunk(self, served: Served) -> list[np.ndarray]:
        """The actions that the regime will carry out until it wants to look again."""
        chunk: list[np.ndarray] = []
        while len(chunk) < self._coupling.horizon and not (chunk and self._regime.due(served.memory)):
            chunk.append(self._regime.act(served.memory))
        return chunk

    def _imagined(self, served: Served, made: Made, row: int) -> dict[str, Any]:
        """Pictures by camera, (future, height, width, 3), and how many control steps ahead each is."""
        decoded = self._lanes.decode([served], made.plan.future.values[row: row + 1])
        pictures = {name: np.ascontiguousarray(x[0].transpose(0, 2, 3, 1)) for name, x in decoded.items()}
        return {"offsets": list(self._coupling.future_offsets), "images": pictures}


def _failure(error: Exception) -> Failed:
    """What the client is told: nothing of this machine but a word by which the cause is found in the log."""
    if isinstance(error, ForeactError):
        return Failed(str(error))
    word = uuid.uuid4().hex[:8]
    _log.error("plan failed (%s)", word, exc_info=error)
    return Failed(f"the plan could not be made, and the session's episode may be spoilt: reset it. The server's log says why: {word}")
