"""Small inputs of the real form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foreact.reporting.inputs import Axis, Call, Cost, Curve, Episode, Policy, Protocol, Recording, ReportInputs, Return
from foreact.selection.monitor import Alarm, Score


def recording(*, success: bool = True, imagines: bool = True, steps: int = 12, cameras: tuple[str, ...] = ("front", "wrist"),
              instruction: str = "open the drawer", policy: str = "joint", seed: int = 1_000_000) -> Recording:
    """Frames of one grey level per step, so that any frame tells its time: step t is 10 t; imagined frames are 3 brighter."""
    def grey(time: int, more: int = 0) -> np.ndarray:
        return np.full((16, 20, 3), 10 * time + more, np.uint8)

    calls = tuple(Call(step=step, actions=np.full((8, 2), 0.1 * step), offsets=(2, 4) if imagines else (),
                       imagined={c: np.stack([grey(step + o, 3) for o in (2, 4)]) for c in cameras} if imagines else {})
                  for step in range(0, steps, 4))
    return Recording(policy=policy, task="drawer-open", condition="clean", seed=seed, success=success, instruction=instruction,
                     rate_hz=20.0, action_names=("dx", "gripper"), executed=np.zeros((steps, 2)), calls=calls,
                     frames={camera: np.stack([grey(t) for t in range(steps + 1)]) for camera in cameras})


def returning(*, restored: bool = True) -> Recording:
    """The value rises to 0.6 at step 4, falls to 0.2 at step 12, and the answer there begins anew; calls every 4 steps.

    Where the world was put back, frames from step 12 on are of the level of step 4 again, and so on.
    """
    made = recording(steps=24)
    steps, values = (0, 4, 8, 12, 12, 16, 20), (0.4, 0.6, 0.5, 0.2, 0.55, 0.65, 0.8)
    back = Return(step=12, call=3, value=0.2, peak=0.6, peak_step=4, restored=restored,
                  seen={c: images[12] for c, images in made.frames.items()} if restored else {})
    times = [t if t < 12 or not restored else t - 8 for t in range(25)]
    images = made.calls[0].imagined
    calls = tuple(Call(step=step, actions=np.full((8, 2), 0.01 * step), offsets=(2, 4), value=value, imagined=images)
                  for step, value in zip(steps, values, strict=True))
    return replace(made, calls=calls, returns=(back,), frames={c: images[times] for c, images in made.frames.items()})


def alarming(*, asked: bool = False) -> Recording:
    """A monitor saw something at steps 2, 4, ..., 22: mismatch rises over its threshold at step 12, collapse at step 20."""
    steps = range(2, 24, 2)
    mismatch = (0, 0.2, 0.1, 0.4, 0.7, 1.4, 2.0, 1.1, 0.5, 0.2, 0.1)
    scores = tuple(Score(step=step, mismatch=m, collapse=0.6 * max(0, step - 16) / 2) for step, m in zip(steps, mismatch, strict=True))
    alarms = (Alarm(step=12, kind="mismatch", score=1.4), Alarm(step=20, kind="collapse", score=1.2))
    return replace(recording(steps=24, success=False), scores=scores, alarms=alarms, asked=asked)


def policy(name: str, successes: int, n: int = 10) -> Policy:
    episodes = tuple(Episode(task=task, condition=condition, seed=1_000_000 + i, success=i < successes, steps=10)
                     for condition in ("clean", "random") for task in ("drawer-open", "door-open") for i in range(n))
    step = np.arange(1, 30, dtype=np.float64)
    curves = tuple(Curve(stream=stream, split=split, step=step, seconds=step / 2, loss=1 / step)
                   for stream in ("video", "action") for split in ("train", "validation"))
    return Policy(name=name, episodes=episodes, curves=curves,
                  cost=Cost(call_seconds=np.linspace(0.01, 0.03, 50), evaluations_per_step=1.5, evaluations_per_call=12.0,
                            beside_seconds={"observing": np.full(5, 0.007)}, parameters=4_300_000, peak_memory_bytes=2**29))


def inputs(*recordings: Recording) -> ReportInputs:
    return ReportInputs(title="quickstart", model=policy("joint", 9), baseline=policy("joint without future", 5),
                        recordings=recordings, phases={"collect": 12.0, "train": 300.0}, commands=("foreact quickstart",),
                        axes=(Axis(name="Substrate", member="PixelLatents", kind="Pixel (latent)"),),
                        card={"Paper": "none"}, machine={"torch": "2.13.0"}, written="22 November 2026",
                        protocols=(Protocol(fingerprint="abc123", fields={"suite": "metaworld", "cameras": [{"name": "front"}]}),))
