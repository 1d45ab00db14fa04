"""Meta-World: fifty manipulation tasks of a Sawyer arm, seen as a robot would see them.

The policy gets images, the hand's position and the gripper's opening, and the instruction; never the state of an
object. Wraps metaworld 3.1 (MIT), Yu et al. 2019, arXiv:1910.10897, without its renderer and its benchmark classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from foreact.contract.config import Buildable
from foreact.contract.config import Config as BaseConfig
from foreact.contract.errors import ConfigError, SpecError, nearest
from foreact.contract.specs import ActionSpec, CameraSpec, GripperConvention, ObservationSpec, StateSpec
from foreact.envs.arrangement import SEMANTIC_VERSION, Arrangement
from foreact.envs.backends import backend_name, family
from foreact.envs.base import LOOKS, Advance, Condition, Snapshot, check_action
from foreact.envs.cameras import Camera, Fixed, Mounted, calibration, plain
from foreact.envs.embodiments import EMBODIMENT_VERSION, OWN, embody, require_embodiment
from foreact.envs.instances import INSTANCE_VERSION, chosen, offered, reshaping
from foreact.envs.instructions import INSTRUCTIONS, INSTRUCTIONS_VERSION
from foreact.envs.randomisation import Strength
from foreact.envs.simulated import Simulated
from foreact.envs.snapshots import capture, rewind
from foreact.envs.things import DEFAULT_DISTRACTORS, ROOM, attach, others
from foreact.envs.worlds import Edit, World

__all__ = ["CAMERAS", "MetaWorld", "task_name"]

_SCENE = Fixed(position=(0.70, 0.19, 0.72), target=(0.0, 0.68, 0.12), fovy=45.0)
CAMERAS: dict[str, Camera] = {
    "scene": _SCENE,
    "gripper": Mounted(name="gripperPOV", fovy=65.0),
    "gripper-pov": Mounted(name="gripperPOV"),
    "topview": Mounted(name="topview"),
    "corner": Mounted(name="corner", upside_down=True),
    "corner2": Mounted(name="corner2", upside_down=True),
    "corner3": Mounted(name="corner3", upside_down=True),
    "corner4": Mounted(name="corner4", upside_down=True),
    "behind-gripper": Mounted(name="behindGripper"),
}
"""`scene` is ours: from the side of the arm's free flank, so that objects are seen; `gripper` is Meta-World's at a wider
angle. The others ship with Meta-World; those that it draws upside down are turned."""

_RATE_HZ = 80.0
_ACTION = ActionSpec(names=("x", "y", "z", "gripper"), low=(-1.0,) * 4, high=(1.0,) * 4, rate_hz=_RATE_HZ,
                     reference="delta", frame="base", gripper=GripperConvention(index=3, open=-1.0, closed=1.0), unit_metres=0.01)
_STATE = StateSpec(names=("hand_x", "hand_y", "hand_z", "gripper_opening"), units=("m", "m", "m", "fraction of 0.1 m"))


def task_name(task: str) -> str:
    """The task without its version suffix: `door-open-v3` and `door-open` are one. Raises `ConfigError`."""
    name = task.removesuffix("-v3")
    if name not in INSTRUCTIONS:
        raise ConfigError("Meta-World has no such task", where="env.task", found=task, next_step=nearest(name, INSTRUCTIONS))
    return name


class MetaWorld(Simulated, Buildable):
    """One task. Actions are displacements of the hand's target, 1.0 being 1 cm per step of 1/80 s, and the gripper."""

    @dataclass(frozen=True, kw_only=True)
    class Config(BaseConfig):
        """task: a name, with or without `-v3`. cameras: keys of `CAMERAS`. size: pixels, square.

        condition: `clean`, or `random` where the seed also chooses colours, textures, lights, camera jitter and clutter.
        horizon: control steps, at most Meta-World's 500. instructions: `canonical`, or `paraphrases` chosen by the seed.
        goal_visible: whether the sphere that marks the goal is drawn, as Meta-World ships it.
        strength: how far `random` goes. distractors: tasks whose things may stand there under `semantic`, empty for some that are small and
        unlike one another; the task's own kind of thing is left out, so that tasks can share one list. standing: how many of them stand.
        variants: sizes and shapes that the task's thing may have under `instance`, empty for all that the task offers.
        embodiment: `own`, or another look of the robot on the same joints, `tubes` or `blocks`.
        """

        task: str
        cameras: tuple[str, ...] = ("scene", "gripper")
        size: int = 64
        condition: Condition = "clean"
        horizon: int = 500
        instructions: Literal["canonical", "paraphrases"] = "canonical"
        goal_visible: bool = True
        strength: Strength = field(default_factory=Strength)
        distractors: tuple[str, ...] = ()
        standing: int = 2
        variants: tuple[str, ...] = ()
        embodiment: str = OWN

    suite, robot, tasks = "metaworld", "sawyer", tuple(INSTRUCTIONS)
    disturbed, disturbance = (0, 1, 2), 1.0
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": int(_RATE_HZ)}

    def __init__(self, config: Config) -> None:
        _check(config)
        self.config, self.task = config, task_name(config.task)
        backend_name()  # before mujoco is imported
        self._variants = offered(self.task, config.variants) if config.condition == "instance" else ()
        self._beside = others(self.task, config.distractors or DEFAULT_DISTRACTORS) if config.condition == "semantic" else ()
        self._worlds: dict[str, World] = {}
        self._world = self._world_of(self._variants[0] if self._variants else "")
        self._arrangement = Arrangement(self._raw.model, _SCENE.pose(), config.standing, ROOM.get(self.task, 0.0)) if self._beside else None
        self._privileged: NDArray[np.float64] = np.zeros(39)
        super().__init__(self._raw.model, self._raw.data, {name: CAMERAS[name] for name in config.cameras}, size=config.size,
                         condition=config.condition, strength=config.strength)

    @property
    def _raw(self) -> Any:
        return self._world.raw

    def _world_of(self, variant: str) -> World:
        if variant not in self._worlds:
            self._worlds[variant] = World(self.task, self._edits(variant), self.config.goal_visible)
        return self._worlds[variant]

    def _edits(self, variant: str) -> tuple[Edit, ...]:
        """What is changed in Meta-World's own scene before it is compiled."""
        edits: list[Edit] = [lambda spec, task=task: attach(spec, task) for task in self._beside]
        if variant:
            edits.append(reshaping(self.task, variant))
        if self.config.embodiment != OWN:
            edits.append(lambda spec: embody(spec, self.config.embodiment))
        return tuple(edits)

    def _enter(self, seed: int) -> None:
        """Go to the world in which the episode of `seed` takes place; each is compiled once, when it is first needed."""
        if not self._variants:
            return
        self._world = self._world_of(chosen(self._variants, seed))
        self._use(self._raw.model, self._raw.data)

    @staticmethod
    def task_name(task: str) -> str:
        return task_name(task)

    @staticmethod
    def describe(config: Config) -> tuple[ObservationSpec, ActionSpec]:
        """The specs of an environment that need not be built."""
        cameras = tuple(CameraSpec(name=name, height=config.size, width=config.size, calibration=calibration(CAMERAS[name]))
                        for name in config.cameras)
        return ObservationSpec(cameras=cameras, state=_STATE, rate_hz=_RATE_HZ), _ACTION

    @property
    def instruction(self) -> str:
        texts = INSTRUCTIONS[self.task]
        return texts[0] if self.config.instructions == "canonical" else texts[1 + self.seed % (len(texts) - 1)]

    @property
    def privileged(self) -> NDArray[np.float64]:
        """Meta-World's own observation (39,), objects and goal included: for scripted experts only."""
        return self._privileged.copy()

    @property
    def simulation(self) -> Any:
        """The wrapped Meta-World environment with its `model` and `data`: for annotations."""
        return self._raw

    def start(self, seed: int) -> None:
        self._enter(seed)
        rewind(self._raw, self._world.pristine)
        self._raw.np_random = np.random.Generator(np.random.PCG64(seed))
        self._privileged, _ = self._raw.reset()
        if self._arrangement is not None:
            self._arrangement.arrange(self._raw.data, seed)
        self._begun(seed, self.config.condition)

    def advance(self, action: NDArray[np.float32]) -> Advance:
        array = check_action(action, _ACTION)
        if self._seed is None or self._steps >= self.config.horizon:
            raise SpecError("the episode is over", where="env.advance", found=f"step {self._steps}",
                            accepted=f"{self.config.horizon} steps", next_step="call reset(seed=...)")
        self._privileged, reward, _, _, info = self._raw.step(array)
        self._steps += 1
        return Advance(reward=float(reward), success=bool(info["success"]), truncated=self._steps >= self.config.horizon)

    @property
    def state(self) -> NDArray[np.float32]:
        """Hand position in m and gripper opening, (4,). The first four numbers of Meta-World's observation, no others."""
        return self._privileged[:4].astype(np.float32)

    def expert(self) -> Callable[[], NDArray[np.float32]]:
        """Meta-World's own, clipped as Meta-World clips it."""
        from metaworld.policies import ENV_POLICY_MAP

        policy: Any = ENV_POLICY_MAP[f"{self.task}-v3"]()

        def act() -> NDArray[np.float32]:
            with warnings.catch_warnings():
                # The experts warn that their gains saturate; they are clipped here on purpose.
                warnings.filterwarnings("ignore", message="Constant", module="metaworld")
                return np.clip(policy.get_action(self.privileged), -1, 1).astype(np.float32)

        return act

    def astray(self, action: NDArray[np.float32], direction: NDArray[np.float32]) -> NDArray[np.float32]:
        """The displacement is the direction itself."""
        return np.concatenate([direction, action[3:]]).astype(np.float32)

    def snapshot(self) -> Snapshot:
        return Snapshot({**{f"raw/{name}": array for name, array in capture(self._raw).items()},
                         "privileged": self._privileged.copy(), "steps": np.int64(self._steps), "seed": np.int64(self.seed),
                         "places/geoms": self._places[0], "places/sites": self._places[1],
                         **{f"stage/{name}": array for name, array in self.stage.items()}})

    def restore(self, snapshot: Snapshot) -> None:
        arrays = snapshot.arrays
        self._enter(int(arrays["seed"]))
        rewind(self._raw, {name.removeprefix("raw/"): array for name, array in arrays.items() if name.startswith("raw/")})
        self._privileged = arrays["privileged"].copy()
        self._seed, self._steps = int(arrays["seed"]), int(arrays["steps"])
        self._places = (arrays["places/geoms"], arrays["places/sites"])
        # After a start Meta-World has moved bodies and not computed what is drawn; rewinding computes it, which would show another picture.
        self.set_stage({n.removeprefix("stage/"): array for n, array in arrays.items() if n.startswith("stage/")})
        self.dress(self._condition)

    @staticmethod
    def rules(config: Config) -> dict[str, Any]:
        """The protocol of an environment that need not be built."""
        return {
            "suite": "metaworld", "task": task_name(config.task), "horizon": config.horizon, "rate_hz": _RATE_HZ,
            "success": "first step on which Meta-World reports success", "goal_visible": config.goal_visible,
            "cameras": {name: plain(CAMERAS[name]) for name in config.cameras},
            "image": {"height": config.size, "width": config.size, "shadows": False, "reflections": False, "samples": 1},
            "renderer": family(), "condition": config.condition,
            "random": config.strength.protocol() if config.condition == "random" else None,
            "instructions": f"{config.instructions}-{INSTRUCTIONS_VERSION}",
            "state": list(_STATE.names), "action": f"{_ACTION.reference} {_ACTION.frame} {' '.join(_ACTION.names)}",
            "versions": {name: version(name) for name in ("metaworld", "mujoco")},
            **({} if config.condition in LOOKS else {"shift": _shift(config)}),  # without it, results keep their fingerprint
            **({} if config.embodiment == OWN else {"embodiment": f"{config.embodiment}-{EMBODIMENT_VERSION}"}),
        }

    def close(self) -> None:
        self._put_away()
        for world in self._worlds.values():
            world.raw.close()


def _shift(config: MetaWorld.Config) -> dict[str, Any]:
    """What the protocol says of a condition that changes the scene: the same for all tasks of an evaluation."""
    if config.condition == "instance":
        return {"version": INSTANCE_VERSION, "variants": list(config.variants) or "all that the task offers"}
    return {"version": SEMANTIC_VERSION, "distractors": list(config.distractors or DEFAULT_DISTRACTORS), "standing": config.standing}


def _check(config: MetaWorld.Config) -> None:
    task_name(config.task)
    require_embodiment(config.embodiment)
    for index, camera in enumerate(config.cameras):
        if camera not in CAMERAS:
            raise ConfigError("no such camera", where=f"env.cameras[{index}]", found=camera, next_step=nearest(camera, CAMERAS))
    if not 1 <= config.horizon <= 500:
        raise ConfigError("the horizon is out of range", where="env.horizon", found=config.horizon, accepted="1 to 500")
    if config.standing < 1:
        raise ConfigError("at least one thing must stand there", where="env.standing", found=config.standing, accepted="1 or more")
    if not 8 <= config.size <= 2048:
        raise ConfigError("the image size is out of range", where="env.size", found=config.size, accepted="8 to 2048 pixels")
