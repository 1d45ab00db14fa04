"""What a point of `foreact budget` costs: time by turns with all others in this process, memory in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.cli.budget_grid import Point
from foreact.cli.evaluate import with_settings
from foreact.contract.errors import ForeactError
from foreact.contract.storage import significant

if TYPE_CHECKING:
    from foreact.evaluation.pacing import Contender

__all__ = ["Seat", "machine", "memory", "refused", "timed"]

_LOOKS = 12
"""Looks of the trail of each task along which plans are timed."""
_TRAIL_SEED = 500_000
"""Development seeds: what is timed is not what is reported."""


@dataclass(frozen=True, kw_only=True)
class Seat:
    """One point with the run that it is run with."""

    run: Path
    point: Point
    device: str = "cpu"

    @property
    def work(self) -> tuple[object, ...]:
        """What a plan computes: the same for points that differ only in when they plan, which then share one measurement."""
        return (self.run, tuple(word for word in self.point.model if not word.startswith("model.regime.")), self.point.evaluation)

    def contender(self) -> Contender:
        """Its model under its settings, loaded."""
        from foreact.contract.config import apply_overrides
        from foreact.evaluation.evaluate import EvaluationConfig
        from foreact.evaluation.pacing import Contender
        from foreact.training.checkpoint import load_model

        model = with_settings(load_model(self.run, device=self.device), list(self.point.model))
        config = apply_overrides(EvaluationConfig(), list(self.point.evaluation))
        return Contender(model=config.execution.prepare(model), selector=config.selector)


def refused(seat: Seat) -> str | None:
    """Why this point cannot be run, where it cannot: what is told by nothing but trying."""
    from foreact.evaluation.selecting import require_selectable

    try:
        made = seat.contender()
        if made.selector is not None:
            require_selectable(made.model, made.selector)
        _plan(made)
    except ForeactError as error:
        return error.what
    return None


def timed(seats: Mapping[str, Seat], tasks: Sequence[str], *, rounds: int) -> dict[str, Any]:
    """Percentiles and laps of every point, all taken by turns, and the machine with its load before and after."""
    from foreact.contract.progress import meter
    from foreact.envs.suites import suite_of
    from foreact.evaluation.pacing import recorded, take_turns

    import torch  # isort: skip

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    before, contenders, trails = os.getloadavg(), {name: seat.contender() for name, seat in seats.items()}, {}
    suite, known = suite_of(tasks)
    for made in contenders.values():  # those that see the same are shown the same
        seen = tuple((camera.name, camera.height) for camera in made.model.observation.cameras)
        if seen not in trails:
            environment = suite.Config(task=known[0], cameras=tuple(name for name, _ in seen), size=seen[0][1])
            trails[seen] = recorded(environment, known, seed=_TRAIL_SEED, looks=_LOOKS, every=8)
    with meter("timing", rounds) as bar:
        paces = take_turns(contenders, {name: trails[tuple((c.name, c.height) for c in made.model.observation.cameras)]
                                        for name, made in contenders.items()}, rounds=rounds, told=lambda done: bar.at(max(done, 0)))
    return {"rounds": rounds, "machine": {**machine(), "load_before": list(before), "load_after": list(os.getloadavg())},
            "points": {name: _short(pace.summary()) for name, pace in paces.items()}}


def machine() -> dict[str, Any]:
    """What the numbers are of."""
    import platform

    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads(),
            "torch": torch.__version__, "device": device}


def memory(seat: Seat) -> dict[str, float]:
    """The most memory that three plans took, in MiB, in a process that does nothing else. whole: of the process, or of the device;
    idle: of the same process before there was a model."""
    server = get_context("forkserver")  # which has imported everything once
    server.set_forkserver_preload(["foreact.training.checkpoint", "foreact.evaluation.evaluate", __name__])
    with ProcessPoolExecutor(1, mp_context=server) as pool:
        return pool.submit(_peak, seat).result()


def _peak(seat: Seat) -> dict[str, float]:
    import torch

    from foreact.evaluation.rollout import peak_memory_mb
    from foreact.training.members import import_members

    import_members()
    on_device = seat.device.startswith("cuda")
    idle = 0.0 if on_device else peak_memory_mb()
    made = seat.contender()
    for _ in range(3):
        _plan(made)
    whole = torch.cuda.max_memory_allocated() / 2**20 if on_device else peak_memory_mb()
    return {"whole": round(whole, 1), "idle": round(idle, 1)}


def _plan(made: Contender) -> None:
    """One plan of random data for one robot."""
    from foreact.acting.rehearsal import rehearsal

    made.model.plan(rehearsal(made.model), selector=None if made.selector is None else made.selector.build())


def _short(value: Any) -> Any:
    """Measured numbers to six digits."""
    if isinstance(value, dict):
        return {name: _short(each) for name, each in value.items()}
    return significant(value) if isinstance(value, float) else value
