"""RoboTwin 2.0 (arXiv:2506.18088): fifty tasks of two arms in SAPIEN, behind the interface of every other suite.

RoboTwin is a checkout with assets and no package: its own installation brings SAPIEN, motion planners and objects, and its tasks
run with the checkout as working folder. This adapter asks of a task what RoboTwin's own evaluation asks: `setup_demo(seed=, is_test=,
**settings)`, for the expert's check `play_once()`, `plan_success` and `check_success()`, then `get_obs()`, `take_action(action,
action_type="qpos")`, `eval_success`, `take_action_cnt`, `step_lim`, `set_instruction()`, `close_env()`. Clean is its file of settings
demo_clean, Random is demo_randomized.

As in RoboTwin's evaluation a scene counts only where it is stable and the expert solves it. RoboTwin then tries the next seed; here
each seed has a line of its own, seed + 2 000 000 j for j = 0, 1, ..., so that an episode depends on its seed alone.

Tested against an imitation of the interface above and never, by us, against SAPIEN; no result of ours is on RoboTwin.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray

from foreact.contract.config import Buildable
from foreact.contract.config import Config as BaseConfig
from foreact.contract.errors import ConfigError, MissingExtraError, SpecError, nearest
from foreact.contract.progress import say
from foreact.contract.specs import ActionSpec, CameraSpec, ObservationSpec, StateSpec
from foreact.envs.base import Advance, Condition, Observation, Snapshot, Suite, check_action, require_look
from foreact.envs.robotwin_published import PROTOCOL, TASKS

__all__ = ["CAMERAS", "VARIABLE", "RoboTwin"]

VARIABLE = "FOREACT_ROBOTWIN"
"""Environment variable that names the checkout."""
CAMERAS = {"head": "head_camera", "left": "left_camera", "right": "right_camera"}
"""Our names and RoboTwin's."""

_NAMES = tuple(f"{side}_{entry}" for side in ("left", "right") for entry in (*(f"joint_{i + 1}" for i in range(6)), "gripper"))
_RATE_HZ = 250 / 15
"""Demonstrations keep every fifteenth of 250 steps a second; a command itself lasts as long as its planned motion takes."""
_ACTION = ActionSpec(names=_NAMES, low=(*(-np.pi,) * 6, 0.0) * 2, high=(*(np.pi,) * 6, 1.0) * 2, rate_hz=_RATE_HZ, reference="absolute",
                     frame="joint")
_STATE = StateSpec(names=_NAMES, units=(("rad",) * 6 + ("1",)) * 2)
_LINE, _TRIES = 2_000_000, 100


class RoboTwin(Suite, Buildable):
    """One task with the arms of AgileX. Actions are joint targets in rad, left arm first, and openings in [0, 1].

    RoboTwin states no bounds, so half a turn either way is accepted.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(BaseConfig):
        """task: a name of RoboTwin's. cameras: keys of `CAMERAS`. size: height of a picture, whose width is 4/3 of it; RoboTwin's is 240.

        condition: RoboTwin's demo_clean or demo_randomized. horizon: most commands of an episode; RoboTwin's own limit of the task ends it
        where that is less.
        instructions: descriptions that RoboTwin's demonstrations use, or those kept for tests. expert_check: try each scene with the
        expert first, which also says what the descriptions need. root: the checkout, empty for the environment variable FOREACT_ROBOTWIN.
        """

        task: str
        cameras: tuple[str, ...] = ("head", "left", "right")
        size: int = 240
        condition: Condition = "clean"
        horizon: int = 2000
        instructions: Literal["seen", "unseen"] = "unseen"
        expert_check: bool = True
        root: str = ""

    suite, robot, tasks = "robotwin", "aloha-agilex", TASKS
    metadata: ClassVar[dict[str, Any]] = {"render_modes": [], "render_fps": round(_RATE_HZ)}

    def __init__(self, config: Config) -> None:
        _check(config)
        self.config, self.task = config, self.task_name(config.task)
        self._root = _checkout(config.root)
        with _inside(self._root):
            self._settings = _settings(self._root, self.task, dict(PROTOCOL.settings)[config.condition], config.cameras)
            self._world = getattr(_imported(f"envs.{self.task}"), self.task)()
            self._unstable: type[Exception] = _imported("envs.utils.create_actor").UnStableError
        self._seed: int | None = None
        self._limit, self._instruction, self._open = 0, "", False
        width = config.size * 4 // 3
        self.observation_space = gymnasium.spaces.Dict({
            "images": gymnasium.spaces.Dict({n: gymnasium.spaces.Box(0, 255, (3, config.size, width), np.uint8) for n in config.cameras}),
            "state": gymnasium.spaces.Box(-np.inf, np.inf, (_STATE.size,), np.float32),
            "instruction": gymnasium.spaces.Text(max_length=400),
        })
        self.action_space = gymnasium.spaces.Box(np.float32(_ACTION.low), np.float32(_ACTION.high), dtype=np.float32)

    @staticmethod
    def task_name(task: str) -> str:
        if task not in TASKS:
            raise ConfigError("RoboTwin 2.0 has no such task", where="env.task", found=task, next_step=nearest(task, TASKS))
        return task

    @staticmethod
    def describe(config: Config) -> tuple[ObservationSpec, ActionSpec]:
        cameras = tuple(CameraSpec(name=name, height=config.size, width=config.size * 4 // 3) for name in config.cameras)
        return ObservationSpec(cameras=cameras, state=_STATE, rate_hz=_RATE_HZ), _ACTION

    @property
    def seed(self) -> int:
        if self._seed is None:
            raise SpecError("no episode has begun", where="env", next_step="call reset(seed=...) first")
        return self._seed

    @property
    def instruction(self) -> str:
        _ = self.seed
        return self._instruction

    def start(self, seed: int) -> None:
        with _inside(self._root):
            for line in range(_TRIES):
                story = self._set_up(seed + _LINE * line)
                if story is not None:
                    break
            else:
                raise SpecError("no scene of this seed is stable and solved by the expert", where="env.start", found=f"{_TRIES} scenes",
                                next_step="take another seed, or environment.expert_check=false")
            self._instruction = self._told(story, seed)
            self._world.set_instruction(instruction=self._instruction)
        self._seed, self._limit = seed, min(self.config.horizon, int(self._world.step_lim))

    def _set_up(self, seed: int) -> dict[str, Any] | None:
        """The scene of one of RoboTwin's seeds, ready; what it is about, or None where it does not count."""
        self._leave()
        story: dict[str, Any] = {}
        try:
            if self.config.expert_check:
                self._enter(seed)
                story, solved = self._tried()
                self._leave()
                if not solved:
                    return None
            self._enter(seed)
        except self._unstable:
            self._leave()
            return None
        return story

    def _tried(self) -> tuple[dict[str, Any], bool]:
        """What the expert says of the scene, and whether it solves it. As in RoboTwin's evaluation, one that breaks off does not."""
        try:
            story = self._world.play_once()["info"]
            return story, bool(self._world.plan_success and self._world.check_success())
        except Exception as error:
            say(f"{self.task}: the expert broke off, {type(error).__name__}: {error}")
            return {}, False

    def _enter(self, seed: int) -> None:
        self._open = True
        self._world.setup_demo(now_ep_num=0, seed=seed, is_test=True, **self._settings)

    def _leave(self) -> None:
        if self._open:
            self._world.close_env()
        self._open = False

    def _told(self, story: dict[str, Any], seed: int) -> str:
        """One of RoboTwin's sentences about the scene, chosen by the seed; the task's name where no expert has said what is in it."""
        if not self.config.expert_check:
            return self.task.replace("_", " ")
        describe = _imported("description.utils.generate_episode_instructions").generate_episode_descriptions
        before = random.getstate()  # it draws from Python's one generator
        random.seed(seed)
        try:
            sentences = describe(self.task, [story], 100)[0][self.config.instructions]
        finally:
            random.setstate(before)
        return str(sentences[np.random.Generator(np.random.PCG64(seed)).integers(len(sentences))])

    def advance(self, action: NDArray[np.float32]) -> Advance:
        array = check_action(action, _ACTION)
        if self._seed is None or self._world.take_action_cnt >= self._limit:
            raise SpecError("the episode is over", where="env.advance", found=f"command {self._world.take_action_cnt}",
                            accepted=f"{self._limit} commands", next_step="call reset(seed=...)")
        if self._world.eval_success:  # RoboTwin's task no longer moves; its time goes on
            self._world.take_action_cnt += 1
        else:
            with _inside(self._root):
                self._world.take_action(array.astype(np.float64), action_type="qpos")
        success = bool(self._world.eval_success)
        return Advance(reward=float(success), success=success, truncated=self._world.take_action_cnt >= self._limit)

    def observe(self) -> Observation:
        _ = self.seed
        with _inside(self._root):
            seen = self._world.get_obs()
        images = {name: _sized(seen["observation"][CAMERAS[name]]["rgb"], self.config.size) for name in self.config.cameras}
        return {"images": images, "state": np.asarray(seen["joint_action"]["vector"], np.float32), "instruction": self.instruction}

    def snapshot(self) -> Snapshot:
        raise SpecError("RoboTwin cannot be rewound", where="env.snapshot", accepted="Meta-World and ALOHA go back exactly",
                        next_step="evaluate without rollback, or with rollback.restorable=false")

    def restore(self, snapshot: Snapshot) -> None:
        raise SpecError("RoboTwin cannot be rewound", where="env.restore", accepted="Meta-World and ALOHA go back exactly")

    @staticmethod
    def rules(config: Config) -> dict[str, Any]:
        return {
            "suite": "robotwin", "task": RoboTwin.task_name(config.task), "horizon": config.horizon, "limit": "RoboTwin's of the task",
            "rate_hz": _RATE_HZ, "success": "RoboTwin's check_success after a command", "cameras": {n: CAMERAS[n] for n in config.cameras},
            "image": {"height": config.size, "width": config.size * 4 // 3}, "renderer": "sapien", "condition": config.condition,
            "random": dict(PROTOCOL.settings)["random"] if config.condition == "random" else None,
            "instructions": f"robotwin-{config.instructions}", "expert_check": config.expert_check,
            "seeds": f"the first of seed + {_LINE} j that counts", "embodiment": PROTOCOL.embodiment,
            "state": list(_STATE.names), "action": f"{_ACTION.reference} {_ACTION.frame} {' '.join(_ACTION.names)}", "versions": {},
        }

    def close(self) -> None:
        with _inside(self._root):
            self._leave()


def _check(config: RoboTwin.Config) -> None:
    require_look(config.condition, "RoboTwin 2.0")
    for index, camera in enumerate(config.cameras):
        if camera not in CAMERAS:
            raise ConfigError("no such camera", where=f"env.cameras[{index}]", found=camera, next_step=nearest(camera, CAMERAS))
    if config.size < 12 or config.size % 3 or config.horizon < 1:
        raise ConfigError("the height is a multiple of 3, so that the width is 4/3 of it, and the horizon at least 1", where="env.size",
                          found=f"size = {config.size}, horizon = {config.horizon}", accepted="240, and 2000")


def _checkout(root: str) -> Path:
    """The folder of RoboTwin; raises `ConfigError` that says how to get one."""
    named = root or os.environ.get(VARIABLE, "")
    path = Path(named).expanduser().resolve()
    if not named or not (path / "envs" / "_base_task.py").exists() or not (path / "task_config").is_dir():
        raise ConfigError("RoboTwin 2.0 is not here", where="environment.root", found=named or f"nothing, and {VARIABLE} is not set",
                          accepted="a checkout of github.com/RoboTwin-Platform/RoboTwin that is installed, with its assets",
                          next_step="in it: bash script/_install.sh, bash script/_download_assets.sh; then "
                                    f"pip install \"foreact[robotwin]\" and export {VARIABLE}=/where/it/is")
    return path


@contextlib.contextmanager
def _inside(root: Path) -> Iterator[None]:
    """RoboTwin's tasks read their assets relative to the working folder and import each other from it."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    with contextlib.chdir(root):
        yield


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError("RoboTwin's own packages are not installed here", where="environment.root", found=str(error),
                          next_step="bash script/_install.sh in the checkout, in this Python environment") from error


def _settings(root: Path, task: str, name: str, cameras: tuple[str, ...]) -> dict[str, Any]:
    """What `setup_demo` wants: the file of settings, with cameras and arms looked up in the files that it names."""
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("yaml", "robotwin", "reading RoboTwin's settings") from error

    def read(path: Path) -> Any:
        return yaml.safe_load(path.read_text())

    folder = root / "task_config"
    settings = read(folder / f"{name}.yml")
    (arms,) = settings["embodiment"] if len(settings["embodiment"]) == 1 else (None,)
    if arms != PROTOCOL.embodiment:
        raise ConfigError("another robot than the protocol's", where=f"{folder / name}.yml: embodiment", found=settings["embodiment"],
                          accepted=PROTOCOL.embodiment)
    files = read(folder / "_embodiment_config.yml")[arms]["file_path"]
    robot = read(root / files / "config.yml")
    head = read(folder / "_camera_config.yml")[settings["camera"]["head_camera_type"]]
    settings["camera"]["collect_wrist_camera"] = bool({"left", "right"} & set(cameras)) or settings["camera"]["collect_wrist_camera"]
    return settings | {
        "task_name": task, "task_config": name, "head_camera_h": head["h"], "head_camera_w": head["w"], "left_robot_file": files,
        "right_robot_file": files, "dual_arm_embodied": True, "left_embodiment_config": robot, "right_embodiment_config": robot,
        "eval_mode": True, "render_freq": 0}


def _sized(picture: Any, height: int) -> NDArray[np.uint8]:
    """(3, height, 4/3 height) of RoboTwin's (rows, columns, 3)."""
    from PIL import Image

    whole = np.ascontiguousarray(np.asarray(picture)[..., :3].astype(np.uint8))
    if whole.shape[0] != height:
        whole = np.asarray(Image.fromarray(whole).resize((height * 4 // 3, height), Image.Resampling.BOX))
    return np.ascontiguousarray(whole.transpose(2, 0, 1))
