"""The same episodes, wherever they run: in this process, spread over processes, or over machines with Ray.

Each worker holds one copy of the policy, one vector environment and one torch thread. Which worker runs an episode
changes nothing in its record but the timings.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from foreact.contract.config import decode, encode
from foreact.contract.errors import ForeactError, MissingExtraError
from foreact.evaluation.controller import Controller
from foreact.evaluation.ending import end
from foreact.evaluation.rollout import EpisodeRecord, Finished, roll
from foreact.evaluation.slots import Episode, SlotRules, vector
from foreact.evaluation.sources import ControlSource, ModelSource, Source
from foreact.model import WorldActionModel

__all__ = ["in_processes", "in_this_process", "one_thread", "over_ray"]

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside the block: more would reorder sums, and workers would spin against each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_this_process(model: WorldActionModel | None, rules: SlotRules, episodes: Sequence[Episode], *, envs: int, lanes: int,
                    own_processes: bool = False) -> Iterator[Finished]:
    """Run `episodes` on `envs` seats; without a model the rules' own policy drives."""
    if not episodes:
        return
    waiting = deque(episodes)
    with one_thread():
        seats = vector(rules, episodes[0], min(envs, len(episodes)), own_processes=own_processes)
        try:
            controller = None if model is None else _driving(model, rules, lanes)
            yield from roll(controller, seats, lambda: waiting.popleft() if waiting else None, footage=rules.footage,
                            rollback=rules.rollback)
        finally:
            seats.close()


def _driving(model: WorldActionModel, rules: SlotRules, lanes: int) -> Controller:
    """The model under the rules that its seats have."""
    return Controller(
        model, lanes=lanes, imagine=rules.footage, foresight=rules.foresight, consistency=rules.consistency,
        teacher=rules.consistency_teacher, freeze=rules.freeze, selector=rules.selector, horizon=rules.environment.horizon,
        guard=rules.guard, verifier=rules.verifier, clock=rules.clock, execution=rules.execution)


# --- processes --------------------------------------------------------------------------------------------------------

def in_processes(source: Source, rules: SlotRules, episodes: Sequence[Episode], *, workers: int, envs: int, lanes: int,
                 ) -> Iterator[EpisodeRecord]:
    """Spread over `workers` processes of this machine; an interrupt or an error ends all of them."""
    context = multiprocessing.get_context("spawn")
    tasks, results = context.Queue(), context.Queue()
    seats = workers * envs
    for episode in [*episodes, *[None] * seats]:
        tasks.put(episode)
    arguments = (source, rules, envs, lanes, episodes[0], tasks, results)
    processes = [context.Process(target=_serve, args=arguments, daemon=True) for _ in range(min(workers, len(episodes)))]
    with _thread_limits():
        for process in processes:
            process.start()
    try:
        left = len(episodes)
        while left:
            try:
                kind, content = results.get(timeout=1.0)
            except queue.Empty:
                _check_alive(processes)
                continue
            if kind == "error":
                raise ForeactError(content)
            left -= 1
            yield decode(EpisodeRecord, content)
        for process in processes:
            process.join(timeout=10)
    finally:
        end(processes, (tasks, results))


def _serve(source: Source, rules: SlotRules, envs: int, lanes: int, first: Episode, tasks: Any, results: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers for all
    torch.set_num_threads(1)
    try:
        controller = _controller(source, lanes, rules)
        seats = vector(rules, first, envs)
        try:
            for finished in roll(controller, seats, tasks.get, rollback=rules.rollback):
                results.put(("record", encode(finished.record)))
        finally:
            seats.close()
    except ForeactError as error:
        results.put(("error", str(error)))
    except Exception:
        results.put(("error", f"a worker of the evaluation failed\n{traceback.format_exc()}"))


def _controller(source: Source, lanes: int, rules: SlotRules) -> Controller | None:
    match source:
        case ModelSource():
            return _driving(source.build(), rules, lanes)
        case ControlSource():
            return None


def _check_alive(processes: Sequence[Any]) -> None:
    for process in processes:
        if process.exitcode not in (None, 0):
            raise ForeactError("a worker of the evaluation died", where=f"process {process.pid}",
                               found=f"exit code {process.exitcode}",
                               next_step="run again to continue; if memory ran out (-9), lower workers or envs")


@contextmanager
def _thread_limits() -> Iterator[None]:
    """Processes started inside the block use one thread in every numerical library."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# --- Ray --------------------------------------------------------------------------------------------------------------

def over_ray(source: Source, rules: SlotRules, episodes: Sequence[Episode], *, workers: int, envs: int, lanes: int,
             ) -> Iterator[EpisodeRecord]:
    """Spread over `workers` actors of one CPU each, on the running Ray cluster or, without one, a local one."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ray", "ray", "evaluation over Ray") from error

    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, include_dashboard=False)
    try:
        actor = ray.remote(num_cpus=1)(_RayWorker)
        shared = ray.put(source)
        size = max(envs, len(episodes) // (4 * workers))
        groups = deque(episodes[start:start + size] for start in range(0, len(episodes), size))
        actors = [actor.remote(shared, rules, envs, lanes) for _ in range(min(workers, len(groups)))]
        running = {worker.run.remote(groups.popleft()): worker for worker in actors}
        while running:
            ready, _ = ray.wait(list(running))
            worker = running.pop(ready[0])
            records = ray.get(ready[0])
            if groups:
                running[worker.run.remote(groups.popleft())] = worker
            yield from (decode(EpisodeRecord, record) for record in records)
    except ray.exceptions.RayTaskError as error:
        raise ForeactError("a worker of the evaluation failed", where="Ray", found=str(error.cause)) from error
    except ray.exceptions.RayError as error:
        raise ForeactError("a worker of the evaluation died", where="Ray", found=str(error),
                           next_step="run again to continue; every machine needs this version of foreact") from error
    finally:
        if started:
            ray.shutdown()


class _RayWorker:
    """Keeps its policy between groups of episodes."""

    def __init__(self, source: Source, rules: SlotRules, envs: int, lanes: int) -> None:
        torch.set_num_threads(1)
        self._rules, self._envs, self._lanes = rules, envs, lanes
        self._model = source.build() if isinstance(source, ModelSource) else None

    def run(self, episodes: Sequence[Episode]) -> list[dict[str, Any]]:
        done = in_this_process(self._model, self._rules, episodes, envs=self._envs, lanes=self._lanes)
        return [encode(finished.record) for finished in done]
