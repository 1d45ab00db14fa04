"""Whether what was imagined came true: action-state consistency, measured while episodes run (Is the Future Compatible?, 2026).

    C(t, h) = exp( -d( o-hat_{t+h}, o_{t+h} ) / tau )                                                                    (equation 3)

o-hat is the frame that the plan made at t imagined for t + h, o what is seen there after the robot acted. What is recorded is d, and beside
it the change d( o_t, o_{t+h} ), which is the error of a future in which nothing moves (equation 4, in the same distance). d is one of

    latent       the substrate's own distance: mean square over tokens and channels
    pixel        mean square of the decoded picture, colours from 0 to 1
    perceptual   mean square in the features of a teacher's folder (`foreact teacher train`), of the decoded picture
    flow         mean square, in pixels, of the optical flow from o_t to the decoded picture against that to the true one

Nothing that is measured reaches the policy: a frame is compared when it comes due, and where it falls between two plans the robot is
watched there without being asked for another. Each seat is measured by itself, so how the work is spread changes no number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foreact.contract.axes import Substrate
from foreact.contract.config import decode
from foreact.contract.context import Future, Scene
from foreact.contract.errors import ConfigError
from foreact.contract.specs import ActionSpec
from foreact.contract.storage import significant
from foreact.envs.base import Observation
from foreact.model import WorldActionModel
from foreact.substrates.frozen_features import FrozenFeatures
from foreact.substrates.optical_flow import OpticalFlow
from foreact.substrates.teacher_folder import read_teacher

__all__ = ["DISTANCES", "Awaited", "Distance", "Realised", "Witness", "motion"]

Distance = Literal["off", "latent", "pixel", "perceptual", "flow"]
DISTANCES: tuple[Distance, ...] = ("off", "latent", "pixel", "perceptual", "flow")


@dataclass(frozen=True, kw_only=True)
class Realised:
    """An imagined frame that came due. step: before which it was imagined; offset: control steps ahead. distance: from what was seen
    there; change: of what was seen, from then to there. on_plan: until there the robot did what the same plan said. imagined: the change
    that was imagined, in the same distance. motion: what the plan commanded until then, as a share of the most that the robot takes.
    None in older records."""

    step: int
    offset: int
    distance: float
    change: float
    on_plan: bool
    imagined: float | None = None
    motion: float | None = None


@dataclass
class Awaited:
    """What one episode still waits to see. plans: by step, what was seen then and, by offset, the frames imagined for later with the
    motion commanded until then."""

    plans: dict[int, tuple[Observation, dict[int, tuple[Tensor, float]]]] = field(default_factory=dict)
    realised: list[Realised] = field(default_factory=list)

    def next_due(self, step: int) -> int | None:
        """Control steps from `step` until some frame is due."""
        left = [made + offset - step for made, (_, frames) in self.plans.items() for offset in frames if made + offset > step]
        return min(left) if left else None

    def forget(self) -> None:
        """The episode goes back: what was imagined leads elsewhere."""
        self.plans.clear()


class _Measure(ABC):
    """A distance between what was imagined and what was seen."""

    @abstractmethod
    def imagined(self, frame: Float[Tensor, "1 1 tokens channels"], present: Scene) -> Tensor:
        """What is compared of a frame that was imagined at `present`."""

    @abstractmethod
    def seen(self, both: Scene) -> tuple[Tensor, Tensor]:
        """What is compared of the present, and of what was seen later; `both`: the two times."""

    @abstractmethod
    def apart(self, one: Tensor, other: Tensor) -> float:
        """The distance."""


class _Latent(_Measure):
    def __init__(self, part: Substrate) -> None:
        self._part = part

    def imagined(self, frame: Tensor, present: Scene) -> Tensor:
        return frame

    def seen(self, both: Scene) -> tuple[Tensor, Tensor]:
        values = self._part.encode(both)  # of what is measured from the present, the first is zero
        return values[:, :1], values[:, 1:]

    def apart(self, one: Tensor, other: Tensor) -> float:
        return float(self._part.distance(one, other))


class _Pictures(_Measure):
    """Decoded pictures, as they are or through a substrate: features of a teacher, optical flow."""

    def __init__(self, main: Substrate, through: Substrate | None, cameras: tuple[str, ...]) -> None:
        self._main, self._through, self._cameras = main, through, cameras

    def imagined(self, frame: Tensor, present: Scene) -> Tensor:
        pictures = self._main.decode(frame, {name: present.images[name][:, 0] for name in self._cameras})
        return self._values(Scene(images={name: torch.cat([present.images[name], pictures[name]], dim=1) for name in self._cameras}))[:, 1:]

    def seen(self, both: Scene) -> tuple[Tensor, Tensor]:
        values = self._values(both)
        return values[:, :1], values[:, 1:]

    def apart(self, one: Tensor, other: Tensor) -> float:
        return float((one - other).square().mean())

    def _values(self, scene: Scene) -> Tensor:
        if self._through is not None:
            return self._through.encode(scene)
        return torch.stack([scene.images[name].float() / 255 for name in self._cameras], dim=2)


class Witness:
    """Compares, for one model, what was imagined with what came; `part`: the part of the future that is compared."""

    def __init__(self, model: WorldActionModel, distance: Distance, teacher: str | None = None) -> None:
        if not model.config.coupling.future_offsets:
            raise ConfigError("a model that imagines nothing cannot be consistent with it", where="evaluation.consistency", found=distance,
                              accepted="a model that predicts a future", next_step="consistency=off")
        self._model, self.part = model, next(iter(model.parts))
        self._measure = self._latent(model) if distance == "latent" else self._pictures(model, distance, teacher)

    def expect(self, awaited: Awaited, step: int, observation: Observation, future: Future, row: int,
               actions: Float[np.ndarray, "horizon action"]) -> None:
        """A plan was made."""
        frames = future.parts[self.part][row: row + 1]
        awaited.plans[step] = observation, {
            offset: (frames[:, index: index + 1], significant(motion(actions[:offset], self._model.action)))
            for index, offset in enumerate(future.offsets)}

    @torch.no_grad()
    def see(self, awaited: Awaited, step: int, observation: Observation) -> list[Realised]:
        """The world at `step`; a plan that is made there comes later. Gives what came due."""
        came = []
        for made in sorted(awaited.plans):
            before, frames = awaited.plans[made]
            due = frames.pop(step - made, None)
            if due is not None:
                present, both = self._scene(before), self._scene(before, observation)
                then, now = self._measure.seen(both)
                guess = self._measure.imagined(due[0], present)
                distance, change, imagined = (significant(self._measure.apart(*pair))
                                              for pair in ((guess, now), (then, now), (then, guess)))
                came.append(Realised(step=made, offset=step - made, distance=distance, change=change, imagined=imagined, motion=due[1],
                                     on_plan=made == max(awaited.plans)))
        for made in [made for made, (_, frames) in awaited.plans.items() if all(made + offset <= step for offset in frames)]:
            if made != max(awaited.plans):  # the newest says what the robot now does
                del awaited.plans[made]
        awaited.realised += came
        return came

    @torch.no_grad()
    def apart(self, frame: Float[Tensor, "1 1 tokens channels"], before: Observation, after: Observation) -> float:
        """How far a frame that was imagined at `before` is from what is seen at `after`."""
        return self._measure.apart(self._measure.imagined(frame, self._scene(before)), self._measure.seen(self._scene(before, after))[1])

    def _scene(self, *observations: Observation) -> Scene:
        images = {name: torch.from_numpy(np.stack([each["images"][name] for each in observations]))[None].to(self._model.device)
                  for name in self._model.observation.camera_names}
        state = torch.from_numpy(np.stack([each["state"] for each in observations]))[None].to(self._model.device)
        return Scene(images=images, state=state)

    def _latent(self, model: WorldActionModel) -> _Measure:
        """In the first part of the future whose truth can be had from what is seen."""
        missing = {name: ", ".join(part.config.needs(model.observation)) or "several pictures for each time"
                   for name, part in model.parts.items() if part.config.needs(model.observation) or part.fold > 1}
        seen = [name for name in model.parts if name not in missing]
        if not seen:
            raise ConfigError("the truth of this future is not to be seen while acting", where="evaluation.consistency",
                              found="; ".join(f"{name} needs {what}" for name, what in missing.items()),
                              accepted="a future made of single pictures or of the robot's state", next_step="consistency=pixel")
        self.part = seen[0]
        return _Latent(model.parts[self.part])

    def _pictures(self, model: WorldActionModel, distance: Distance, teacher: str | None) -> _Measure:
        if not model.substrate.decodable:
            raise ConfigError("this future has no picture", where="evaluation.consistency", found=type(model.substrate).__name__,
                              accepted="a substrate that decodes to the observation", next_step="consistency=latent")
        through: Substrate | None = None
        if distance == "flow":
            through = OpticalFlow.Config().build(model.observation)
        elif distance == "perceptual":
            through = _teacher(model, teacher)
        return _Pictures(model.substrate, None if through is None else through.to(model.device).eval(), model.observation.camera_names)


def motion(actions: Float[np.ndarray, "steps action"], spec: ActionSpec) -> float:
    """How much motion these actions command, as a share of the most that the spec takes: the mean size of a step, or of what it changes
    where actions are places. The gripper is left out."""
    moving = [i for i in range(spec.size) if spec.gripper is None or i != spec.gripper.index]
    low, high = np.array(spec.low)[moving], np.array(spec.high)[moving]
    if spec.reference == "delta":
        steps, most = actions[:, moving], np.maximum(np.abs(low), np.abs(high))
    else:
        steps, most = np.diff(actions[:, moving], axis=0), high - low
    return float(np.minimum(np.abs(steps) / most, 1).mean()) if steps.size else 0.0


def _teacher(model: WorldActionModel, folder: str | None) -> Substrate:
    if folder is None:
        raise ConfigError("in whose features?", where="evaluation.consistency_teacher", found="null",
                          accepted="a folder that `foreact teacher train` has written", next_step="consistency_teacher=FOLDER")
    config = decode(FrozenFeatures.Config, {**read_teacher(folder)[0]["teacher"], "folder": folder}, where="teacher")
    found = config.build(model.observation)
    found.fit(iter(()), steps=0, seed=0)
    return found
