"""What every environment on MuJoCo shares: cameras, painters, the two conditions, stages to draw later, and a scripted expert.

A suite derives from `Simulated` and says how its physics starts and moves. All drawing stands here, once.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from foreact.contract.errors import SpecError
from foreact.envs.base import LOOKS, Condition, Observation, Suite
from foreact.envs.cameras import Camera, Pose
from foreact.envs.randomisation import Strength, Wardrobe
from foreact.envs.rendering import Painter, painter
from foreact.envs.stages import Stage, set_stage, take_stage

__all__ = ["Simulated"]


class Simulated(Suite):
    """A task on MuJoCo.

    disturbed: the entries of an action that noise on a demonstration touches; disturbance: what 1.0 of it is, in action units.
    """

    disturbed: ClassVar[tuple[int, ...]]
    disturbance: ClassVar[float]
    render_mode = "rgb_array"

    def __init__(self, model: Any, data: Any, views: Mapping[str, Camera], *, size: int, condition: Condition, strength: Strength) -> None:
        observation, action = self.specs
        self._views, self._size, self._strength, self._condition = dict(views), size, strength, condition
        self._wardrobes: dict[int, Wardrobe] = {}
        self._painters: dict[int, Painter] = {}
        self._use(model, data)
        self._places: tuple[NDArray[np.float64], NDArray[np.float64]]
        self._seed: int | None = None
        self._steps = 0
        self.observation_space = gymnasium.spaces.Dict({
            "images": gymnasium.spaces.Dict({
                camera.name: gymnasium.spaces.Box(0, 255, (3, camera.height, camera.width), np.uint8) for camera in observation.cameras}),
            "state": gymnasium.spaces.Box(-np.inf, np.inf, (observation.state.size,), np.float32),
            "instruction": gymnasium.spaces.Text(max_length=200, charset="abcdefghijklmnopqrstuvwxyz' "),
        })
        self.action_space = gymnasium.spaces.Box(np.float32(action.low), np.float32(action.high), dtype=np.float32)

    @property
    @abc.abstractmethod
    def state(self) -> NDArray[np.float32]:
        """Proprioception now."""

    @property
    @abc.abstractmethod
    def simulation(self) -> Any:
        """What holds the simulator's `model` and `data`: for annotations."""

    @abc.abstractmethod
    def expert(self) -> Callable[[], NDArray[np.float32]]:
        """A scripted expert for the present episode: called before each step, it gives the action, within the spec.

        It sees what no policy does. Raises `ConfigError` for a task that has none.
        """

    @abc.abstractmethod
    def astray(self, action: NDArray[np.float32], direction: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is executed in place of the expert's `action` while it is driven off along `direction`, in [-1, 1] per disturbed entry."""

    @property
    def seed(self) -> int:
        if self._seed is None:
            raise SpecError("no episode has begun", where="env", next_step="call reset(seed=...) first")
        return self._seed

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _begun(self, seed: int, condition: Condition) -> None:
        """An episode has started: remember where things stand, and dress."""
        self._seed, self._steps = seed, 0
        self._places = (self._data.geom_xpos.copy(), self._data.site_xpos.copy())
        self.dress(condition)

    def _use(self, model: Any, data: Any) -> None:
        """Draw `model` from now on. What drawing needs is made once for each, so that a suite may go to and fro between models it keeps."""
        self._model, self._data = model, data
        if id(model) not in self._wardrobes:
            self._wardrobes[id(model)] = Wardrobe(model, self._strength)
        self._wardrobe = self._wardrobes[id(model)]

    @property
    def _painter(self) -> Painter:
        if id(self._model) not in self._painters:
            self._painters[id(self._model)] = painter(self._model, self._data, height=self._size, width=self._size)
        return self._painters[id(self._model)]

    def dress(self, condition: Condition) -> None:
        """Draw in `condition` from now until the next start; the physics does not notice.

        Raises `SpecError` where the scene itself would be another.
        """
        own = self.config.condition
        if condition != own and (condition not in LOOKS or own not in LOOKS):
            raise SpecError("this scene cannot be drawn in another condition", where="env.dress", found=condition,
                            accepted=", ".join(LOOKS if own in LOOKS else (own,)),
                            next_step=f"build an environment with condition={condition}")
        self._condition = condition
        worn = self._wardrobe.seed
        if condition != "random":
            self._wardrobe.undress()
        elif worn != self.seed:
            # Clutter keeps clear of where things stood at the start, whenever in the episode it is asked for.
            self._wardrobe.dress(self.seed, *self._places)
        if worn != self._wardrobe.seed and id(self._model) in self._painters:
            self._painter.refresh_textures()

    @property
    def condition(self) -> Condition:
        """The condition that is drawn now."""
        return self._condition

    def pose(self, camera: str) -> Pose:
        """Where `camera` stands now, jitter included. Raises `SpecError` before the first start."""
        _ = self.seed
        view = self._views[camera]
        return self._wardrobe.aim(view, view.pose(self._model, self._data))

    def draw(self, camera: str) -> NDArray[np.uint8]:
        """(3, height, width): one camera's picture now."""
        return self._painter.color(self.pose(camera), self._wardrobe.decorate)

    def draw_depth(self, camera: str) -> NDArray[np.float32]:
        """(height, width): metres along the viewing direction, infinity where nothing is."""
        return self._painter.depth(self.pose(camera), self._wardrobe.decorate)

    def draw_geoms(self, camera: str) -> NDArray[np.int32]:
        """(height, width): ids as in `Painter.geoms`."""
        return self._painter.geoms(self.pose(camera), self._wardrobe.decorate)

    @property
    def stage(self) -> Stage:
        """This instant as it is drawn."""
        return take_stage(self._data)

    def set_stage(self, stage: Stage) -> None:
        """Let the cameras see `stage`; only inside `on_stage`, which brings the present back."""
        set_stage(self._data, stage)

    @contextmanager
    def on_stage(self, stage: Stage) -> Iterator[None]:
        """Inside the block the cameras see `stage`; afterwards the present again."""
        present = self.stage
        set_stage(self._data, stage)
        try:
            yield
        finally:
            set_stage(self._data, present)

    def observe(self) -> Observation:
        return {"images": {name: self.draw(name) for name in self._views}, "state": self.state, "instruction": self.instruction}

    def render(self) -> NDArray[np.uint8]:
        """All cameras side by side, (height, width, 3), as gymnasium's recorders want it."""
        return np.concatenate(list(self.observe()["images"].values()), axis=2).transpose(1, 2, 0)

    def _put_away(self) -> None:
        """Give back what drawing was lent."""
        for each in self._painters.values():
            each.close()
        self._painters.clear()
