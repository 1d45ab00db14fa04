"""ALOHA in simulation: two ViperX arms at a table, hand a cube over or put a peg into a socket (ACT, arXiv:2304.13705).

Scene and meshes are those of gym-aloha 0.1.5 (Apache-2.0), which is asked for its files alone: the physics runs on MuJoCo itself, and
starts, control, stages of reward and success follow gym-aloha's, so that a seed begins the same episode in both. Its renderer and
dm_control are not used.

Actions are 14 numbers, absolute targets: six joint angles in rad and an opening in [0, 1] for the left arm, then for the right. MV-WAM's
layout for two arms (appendix C) has seven joints for each and the right arm first, as offsets; in the unified space each number stands in
its joint's slot, the slots of both seventh joints stay empty and masked (`unified_actions`, dual-arm-6), and `reference` says absolute.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foreact.contract.config import Buildable
from foreact.contract.config import Config as BaseConfig
from foreact.contract.errors import ConfigError, MissingExtraError, SpecError, nearest
from foreact.contract.specs import ActionSpec, CameraSpec, ObservationSpec, StateSpec
from foreact.envs.backends import backend_name, family
from foreact.envs.base import Advance, Condition, Snapshot, check_action, require_look
from foreact.envs.cameras import Camera, Fixed, Mounted, calibration, plain
from foreact.envs.handover import Handover
from foreact.envs.randomisation import Strength
from foreact.envs.simulated import Simulated
from foreact.envs.snapshots import capture, rewind

__all__ = ["CAMERAS", "Aloha"]

CAMERAS: dict[str, Camera] = {
    "scene": Fixed(position=(0.0, 0.02, 0.52), target=(0.0, 0.52, 0.14), fovy=56.0),
    "gripper": Mounted(name="right_wrist", fovy=65.0),
    "left-gripper": Mounted(name="left_wrist", fovy=65.0),
    "top": Mounted(name="top"),
    "angle": Mounted(name="angle"),
    "front-close": Mounted(name="front_close"),
}
"""`scene` is ours; `gripper` and `left-gripper` ride on the right and the left wrist, at a wider angle than as shipped; the others are
gym-aloha's, but square."""

TASKS: dict[str, str] = {
    "transfer-cube": "pick up the red cube with the right arm and hand it over to the left arm",
    "insertion": "pick up the socket with the left arm and the peg with the right arm and put the peg into the socket",
}

_RATE_HZ, _SUBSTEPS, _LONGEST = 50.0, 10, 1000
_START = (0.0, -0.96, 1.16, 0.0, -0.3, 0.0, 0.02239, -0.02239) * 2
_CLOSED, _OPEN = 0.01844, 0.05800
"""Positions of a finger, in m, that an opening of 0 and of 1 stand for."""
_NAMES = tuple(f"{side}_{entry}" for side in ("left", "right") for entry in (*(f"joint_{i + 1}" for i in range(6)), "gripper"))
_LOW = (-3.14158, -1.85005, -1.76278, -3.14158, -1.8675, -3.14158, 0.0) * 2
_HIGH = (3.14158, 1.25664, 1.6057, 3.14158, 2.23402, 3.14158, 1.0) * 2
_ACTION = ActionSpec(names=_NAMES, low=_LOW, high=_HIGH, rate_hz=_RATE_HZ, reference="absolute", frame="joint")
_STATE = StateSpec(names=_NAMES, units=(("rad",) * 6 + ("1",)) * 2)
_JOINTS = tuple(i for i in range(14) if i % 7 != 6)
_FILES = {"transfer-cube": "bimanual_viperx_transfer_cube.xml", "insertion": "bimanual_viperx_insertion.xml"}


class Aloha(Simulated, Buildable):
    """One task of two arms. Success is gym-aloha's highest stage of reward, 4."""

    @dataclass(frozen=True, kw_only=True)
    class Config(BaseConfig):
        """task: transfer-cube or insertion. cameras: keys of `CAMERAS`. size: pixels, square. horizon: control steps of 1/50 s.

        condition: `clean`, or `random` where the seed also chooses colours, lights, camera jitter and clutter. strength: how far.
        """

        task: str
        cameras: tuple[str, ...] = ("scene", "gripper")
        size: int = 64
        condition: Condition = "clean"
        horizon: int = 400
        strength: Strength = field(default_factory=Strength)

    suite, robot, tasks = "aloha", "aloha", tuple(TASKS)
    disturbed, disturbance = _JOINTS, 0.03
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": int(_RATE_HZ)}

    def __init__(self, config: Config) -> None:
        _check(config)
        self.config, self.task = config, self.task_name(config.task)
        backend_name()  # before mujoco is imported
        self._raw = _load(self.task)
        super().__init__(self._raw.model, self._raw.data, {name: CAMERAS[name] for name in config.cameras}, size=config.size,
                         condition=config.condition, strength=config.strength)

    @staticmethod
    def task_name(task: str) -> str:
        if task not in TASKS:
            raise ConfigError("ALOHA has no such task", where="env.task", found=task, accepted=", ".join(TASKS),
                              next_step=nearest(task, TASKS))
        return task

    @staticmethod
    def describe(config: Config) -> tuple[ObservationSpec, ActionSpec]:
        cameras = tuple(CameraSpec(name=name, height=config.size, width=config.size, calibration=calibration(CAMERAS[name]))
                        for name in config.cameras)
        return ObservationSpec(cameras=cameras, state=_STATE, rate_hz=_RATE_HZ), _ACTION

    @property
    def instruction(self) -> str:
        return TASKS[self.task]

    @property
    def simulation(self) -> Any:
        return self._raw

    @property
    def state(self) -> NDArray[np.float32]:
        """Joint angles in rad and openings, in the order of the action."""
        angles = self._raw.data.qpos[:16].reshape(2, 8)
        opening = (angles[:, 6:7] - _CLOSED) / (_OPEN - _CLOSED)
        return np.concatenate([angles[:, :6], opening], axis=1).reshape(-1).astype(np.float32)

    def start(self, seed: int) -> None:
        import mujoco

        model, data = self._raw.model, self._raw.data
        mujoco.mj_resetData(model, data)
        data.qpos[:16], data.ctrl[:] = _START, _START
        data.qpos[16:] = _places(self.task, seed)
        mujoco.mj_forward(model, data)
        self._begun(seed, self.config.condition)

    def advance(self, action: NDArray[np.float32]) -> Advance:
        import mujoco

        array = check_action(action, _ACTION)
        if self._seed is None or self._steps >= self.config.horizon:
            raise SpecError("the episode is over", where="env.advance", found=f"step {self._steps}",
                            accepted=f"{self.config.horizon} steps", next_step="call reset(seed=...)")
        arms = array.astype(np.float64).reshape(2, 7)
        finger = _CLOSED + arms[:, 6:] * (_OPEN - _CLOSED)
        self._raw.data.ctrl[:] = np.concatenate([arms[:, :6], finger, -finger], axis=1).reshape(-1)
        mujoco.mj_step(self._raw.model, self._raw.data, _SUBSTEPS)
        mujoco.mj_step1(self._raw.model, self._raw.data)  # contacts of where things are now
        self._steps += 1
        reward = self.stage_of_reward()
        return Advance(reward=float(reward), success=reward == 4, truncated=self._steps >= self.config.horizon)

    def stage_of_reward(self) -> int:
        """0 to 4, from what touches what: gym-aloha's stages of either task."""
        data, model = self._raw.data, self._raw.model
        touching = {frozenset((model.geom(c.geom1).name, model.geom(c.geom2).name)) for c in data.contact}

        def touch(one: str, other: str) -> bool:
            return frozenset((one, other)) in touching

        left, right = "vx300s_left/10_left_gripper_finger", "vx300s_right/10_right_gripper_finger"
        if self.task == "transfer-cube":
            lifted = not touch("red_box", "table")
            if touch("red_box", left):
                return 4 if lifted else 3
            return (2 if lifted else 1) if touch("red_box", right) else 0
        walls = [f"socket-{i + 1}" for i in range(4)]
        if touch("red_peg", "pin"):
            return 4
        lifted = not touch("red_peg", "table") and not any(touch(wall, "table") for wall in walls)
        if lifted and any(touch("red_peg", wall) for wall in walls):
            return 3
        return (2 if lifted else 1) if touch("red_peg", right) and any(touch(wall, left) for wall in walls) else 0

    def expert(self) -> Callable[[], NDArray[np.float32]]:
        """Ours, by inverse kinematics; for handing the cube over alone."""
        if self.task != "transfer-cube":
            raise ConfigError("this task has no scripted expert", where="env.task", found=self.task, accepted="transfer-cube",
                              next_step="bring demonstrations of your own as a LeRobot dataset; evaluation needs no expert")
        return Handover(self._raw.model, self._raw.data, lambda: self._steps)

    def astray(self, action: NDArray[np.float32], direction: NDArray[np.float32]) -> NDArray[np.float32]:
        """Both arms drift from where they are; the grippers do as the expert wants."""
        executed, places = action.copy(), list(_JOINTS)
        executed[places] = np.clip(self.state[places] + 0.1 * direction, np.float32(_LOW)[places], np.float32(_HIGH)[places])
        return executed

    def snapshot(self) -> Snapshot:
        return Snapshot({**{f"raw/{name}": array for name, array in capture(self._raw).items()}, "steps": np.int64(self._steps),
                         "seed": np.int64(self.seed), "places/geoms": self._places[0], "places/sites": self._places[1]})

    def restore(self, snapshot: Snapshot) -> None:
        arrays = snapshot.arrays
        rewind(self._raw, {name.removeprefix("raw/"): array for name, array in arrays.items() if name.startswith("raw/")})
        self._seed, self._steps = int(arrays["seed"]), int(arrays["steps"])
        self._places = (arrays["places/geoms"], arrays["places/sites"])
        self.dress(self._condition)

    @staticmethod
    def rules(config: Config) -> dict[str, Any]:
        return {
            "suite": "aloha", "task": Aloha.task_name(config.task), "horizon": config.horizon, "rate_hz": _RATE_HZ,
            "success": "first step on which gym-aloha's reward would be 4",
            "cameras": {name: plain(CAMERAS[name]) for name in config.cameras},
            "image": {"height": config.size, "width": config.size, "shadows": False, "reflections": False, "samples": 1},
            "renderer": family(), "condition": config.condition,
            "random": config.strength.protocol() if config.condition == "random" else None, "instructions": "canonical-1",
            "state": list(_STATE.names), "action": f"{_ACTION.reference} {_ACTION.frame} {' '.join(_ACTION.names)}",
            "versions": {name: version(name) for name in ("gym-aloha", "mujoco")},
        }

    def close(self) -> None:
        self._put_away()


def _check(config: Aloha.Config) -> None:
    require_look(config.condition, "ALOHA")
    for index, camera in enumerate(config.cameras):
        if camera not in CAMERAS:
            raise ConfigError("no such camera", where=f"env.cameras[{index}]", found=camera, next_step=nearest(camera, CAMERAS))
    if not 1 <= config.horizon <= _LONGEST:
        raise ConfigError("the horizon is out of range", where="env.horizon", found=config.horizon, accepted=f"1 to {_LONGEST}")
    if not 8 <= config.size <= 2048:
        raise ConfigError("the image size is out of range", where="env.size", found=config.size, accepted="8 to 2048 pixels")


def _load(task: str) -> Any:
    """The scene of `task` as `model` and `data`. gym-aloha is found and not imported: that would ask for dm_control."""
    found = importlib.util.find_spec("gym_aloha")
    if found is None or found.origin is None:
        raise MissingExtraError("gym_aloha", "aloha", "the ALOHA suite")
    import mujoco

    model = mujoco.MjModel.from_xml_path(str(Path(found.origin).parent / "assets" / _FILES[task]))
    return SimpleNamespace(model=model, data=mujoco.MjData(model))


def _places(task: str, seed: int) -> NDArray[np.float64]:
    """Where the things lie at the start: gym-aloha's draw from the seed, upright, 5 cm above the table."""
    draw = np.random.RandomState(seed)

    def pose(low: float, high: float) -> list[float]:
        x, y, z = draw.uniform((low, 0.4, 0.05), (high, 0.6, 0.05))
        return [x, y, z, 1.0, 0.0, 0.0, 0.0]

    return np.array(pose(0.0, 0.2) if task == "transfer-cube" else pose(0.1, 0.2) + pose(-0.2, -0.1))
