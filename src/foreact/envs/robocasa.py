"""RoboCasa's GR1 tabletop tasks (GR00T N1, arXiv:2503.14734): 24 tasks of a humanoid's arms, hands and waist, behind the common interface.

RoboCasa pins numpy 1.26 and MuJoCo 3.2.6 and refuses to be imported beside others, so it cannot share a Python with foreact: its own
Python, named by FOREACT_ROBOCASA, runs `robocasa_worker.py`, and the two talk over a pipe. What is asked is what GR00T's evaluation
asks: the environment `gr1_unified/<task>_GR1ArmsAndWaistFourierHands_Env`, reset and step with arrays by name, success where the reward
is above 0. Differences: a seed makes the scene (RoboCasa's `reset(seed=)` leaves the generator of its scenes alone), and the hash of
Python's strings is fixed, because RoboCasa chooses what stands around on the table by it, anew in every process.

Actions are 29 numbers, absolute: joints of left and right arm and waist in rad, positions of the fingers' drives. RoboCasa's spaces say
-1 to 1 for all, which nothing holds to; here half a turn either way, and what robosuite's hand calls open and closed.

Tested against an imitation of the interface above and never, by us, against the simulator; no result of ours is on RoboCasa.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from foreact.contract.config import Buildable
from foreact.contract.config import Config as BaseConfig
from foreact.contract.errors import ConfigError, SpecError, nearest
from foreact.contract.specs import ActionSpec, CameraSpec, ObservationSpec, StateSpec
from foreact.envs import robocasa_worker
from foreact.envs.base import Advance, Condition, Observation, Snapshot, Suite, check_action
from foreact.envs.robocasa_published import NAMES, PARTS, PROTOCOL, TASKS

__all__ = ["CAMERAS", "VARIABLE", "RoboCasa"]

VARIABLE = "FOREACT_ROBOCASA"
"""Environment variable that names RoboCasa's Python."""
CAMERAS = {"ego": "video.ego_view_bg_crop_pad_res256_freq20", "ego-wide": "video.ego_view_pad_res256_freq20"}
"""Our names and RoboCasa's: the robot's view as it is cropped in the published demonstrations, and all of it."""

_SIZE = 256
_FINGERS = (1.5, 1.5, 1.5, 1.5, 3.0, 3.0)
_BOUNDS = np.concatenate([np.float64(_FINGERS) if name.endswith("hand") else np.full(count, np.pi) for name, count in PARTS.items()])
_ACTION = ActionSpec(names=NAMES, low=tuple(-_BOUNDS), high=tuple(_BOUNDS), rate_hz=PROTOCOL.rate_hz, reference="absolute", frame="joint")
_STATE = StateSpec(names=NAMES, units=("rad",) * len(NAMES))


class RoboCasa(Suite, Buildable):
    """One task with the GR1 humanoid, whose legs and neck stand still."""

    @dataclass(frozen=True, kw_only=True)
    class Config(BaseConfig):
        """task: a name of RoboCasa's without the robot's. cameras: keys of `CAMERAS`. size: sides of a picture, 256 or less.

        condition: "clean", or "instance" for objects that no demonstration shows (RoboCasa's split B), of the pick-and-place tasks.
        horizon: control steps. python: RoboCasa's Python, empty for the environment variable FOREACT_ROBOCASA.
        """

        task: str
        cameras: tuple[str, ...] = ("ego",)
        size: int = _SIZE
        condition: Condition = "clean"
        horizon: int = PROTOCOL.horizon
        python: str = ""

    suite, robot, tasks = "robocasa-gr1", "gr1-arms-waist", TASKS
    metadata: ClassVar[dict[str, Any]] = {"render_modes": [], "render_fps": round(PROTOCOL.rate_hz)}

    def __init__(self, config: Config) -> None:
        _check(config)
        self.config, self.task = config, self.task_name(config.task)
        self._worker = _Worker(_python(config.python), _environment(self.task, config.condition))
        self._seed: int | None = None
        self._seen: dict[str, NDArray[Any]] = {}
        self._instruction, self._steps = "", 0
        side = config.size
        self.observation_space = gymnasium.spaces.Dict({
            "images": gymnasium.spaces.Dict({name: gymnasium.spaces.Box(0, 255, (3, side, side), np.uint8) for name in config.cameras}),
            "state": gymnasium.spaces.Box(-np.inf, np.inf, (_STATE.size,), np.float32),
            "instruction": gymnasium.spaces.Text(max_length=400),
        })
        self.action_space = gymnasium.spaces.Box(np.float32(_ACTION.low), np.float32(_ACTION.high), dtype=np.float32)

    @staticmethod
    def task_name(task: str) -> str:
        if task not in TASKS:
            raise ConfigError("RoboCasa's GR1 tabletop has no such task", where="env.task", found=task, next_step=nearest(task, TASKS))
        return task

    @staticmethod
    def describe(config: Config) -> tuple[ObservationSpec, ActionSpec]:
        cameras = tuple(CameraSpec(name=name, height=config.size, width=config.size) for name in config.cameras)
        return ObservationSpec(cameras=cameras, state=_STATE, rate_hz=PROTOCOL.rate_hz), _ACTION

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
        said, self._seen = self._worker.ask({"do": "reset", "seed": seed}, {})
        self._instruction = said["instruction"].removeprefix("unlocked_waist: ")
        self._seed, self._steps = seed, 0

    def advance(self, action: NDArray[np.float32]) -> Advance:
        array = check_action(action, _ACTION)
        if self._seed is None or self._steps >= self.config.horizon:
            raise SpecError("the episode is over", where="env.advance", found=f"step {self._steps}",
                            accepted=f"{self.config.horizon} steps", next_step="call reset(seed=...)")
        ends = np.cumsum(list(PARTS.values()))[:-1]
        parts = {f"action.{name}": part for name, part in zip(PARTS, np.split(array, ends), strict=True)}
        said, self._seen = self._worker.ask({"do": "step"}, parts)
        self._steps += 1
        return Advance(reward=said["reward"], success=said["success"], truncated=self._steps >= self.config.horizon)

    def observe(self) -> Observation:
        _ = self.seed
        images = {name: _sized(self._seen[CAMERAS[name]], self.config.size) for name in self.config.cameras}
        state = np.concatenate([self._seen[f"state.{name}"].reshape(-1) for name in PARTS]).astype(np.float32)
        return {"images": images, "state": state, "instruction": self.instruction}

    def snapshot(self) -> Snapshot:
        raise SpecError("RoboCasa cannot be rewound from here", where="env.snapshot", accepted="Meta-World and ALOHA go back exactly",
                        next_step="evaluate without rollback, or with rollback.restorable=false")

    def restore(self, snapshot: Snapshot) -> None:
        raise SpecError("RoboCasa cannot be rewound from here", where="env.restore", accepted="Meta-World and ALOHA go back exactly")

    @staticmethod
    def rules(config: Config) -> dict[str, Any]:
        task = RoboCasa.task_name(config.task)
        return {
            "suite": "robocasa-gr1", "task": task, "environment": _environment(task, config.condition), "horizon": config.horizon,
            "rate_hz": PROTOCOL.rate_hz, "success": "a reward above 0 after a step", "cameras": {n: CAMERAS[n] for n in config.cameras},
            "image": {"height": config.size, "width": config.size}, "renderer": "robosuite", "condition": config.condition,
            "instructions": "robocasa", "seeds": "of the generator of the simulation", "hash_seed": _HASH, "state": list(_STATE.names),
            "action": f"{_ACTION.reference} {_ACTION.frame} {' '.join(_ACTION.names)}", "versions": {},
        }

    def close(self) -> None:
        self._worker.close()


_HASH = "0"


class _Worker:
    """RoboCasa in its own Python. It ends with its input, so it does not outlive this process."""

    def __init__(self, python: str, environment: str) -> None:
        # as text: a script's folder comes first in its search path, and there this module has the name of RoboCasa
        program = Path(robocasa_worker.__file__).read_text()
        self._process = subprocess.Popen([python, "-c", program, environment], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         env={**os.environ, "PYTHONHASHSEED": _HASH})
        try:
            self._heard()
        except SpecError:
            self.close()
            raise

    def ask(self, message: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        assert self._process.stdin is not None
        try:
            robocasa_worker.write(self._process.stdin, message, arrays)
        except (BrokenPipeError, ValueError) as error:
            raise self._ended() from error
        return self._heard()

    def _heard(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        assert self._process.stdout is not None
        try:
            answer = robocasa_worker.read(self._process.stdout)
        except (EOFError, ValueError):
            answer = None
        if answer is None:
            raise self._ended()
        if "error" in answer[0]:
            raise SpecError("RoboCasa refused", where="env", found=answer[0]["error"],
                            next_step="run its demo_task.py in the same Python, to see whether RoboCasa itself works")
        return answer

    def _ended(self) -> SpecError:
        return SpecError("RoboCasa's process has ended", where="env", found=f"exit code {self._process.poll()}",
                         next_step="its last words are above, on standard error")

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _check(config: RoboCasa.Config) -> None:
    for index, camera in enumerate(config.cameras):
        if camera not in CAMERAS:
            raise ConfigError("no such camera", where=f"env.cameras[{index}]", found=camera, next_step=nearest(camera, CAMERAS))
    if not 1 <= config.size <= _SIZE or config.horizon < 1:
        raise ConfigError("RoboCasa draws 256 pixels, and the horizon is at least 1", where="env.size",
                          found=f"size = {config.size}, horizon = {config.horizon}", accepted="256 or less, and for instance 720")
    _environment(RoboCasa.task_name(config.task), config.condition)


def _environment(task: str, condition: Condition) -> str:
    """RoboCasa's name. Its pick-and-place tasks exist over the objects of the demonstrations (A) and over others (B)."""
    name = task
    if condition == "instance" and task in PROTOCOL.pick_and_place:
        name = task.replace("Posttrain", "Eval").replace("SplitA", "SplitB")
    elif condition != "clean":
        raise ConfigError("RoboCasa's GR1 tabletop does not offer this condition", where="env.condition", found=f"{condition}, {task}",
                          accepted="clean; instance for the pick-and-place tasks")
    return f"gr1_unified/{name}_GR1ArmsAndWaistFourierHands_Env"


def _python(named: str) -> str:
    """RoboCasa's Python; raises `ConfigError` that says how to get one."""
    wanted = named or os.environ.get(VARIABLE, "")
    found = shutil.which(Path(wanted).expanduser()) if wanted else None
    if found is None:
        raise ConfigError("RoboCasa's Python is not here", where="environment.python",
                          found=wanted or f"nothing, and {VARIABLE} is not set",
                          accepted="the Python in which github.com/robocasa/robocasa-gr1-tabletop-tasks is installed, with its assets",
                          next_step="make an environment of its own (it pins numpy 1.26 and MuJoCo 3.2.6), follow its README, then "
                                    f"export {VARIABLE}=/that/environment/bin/python")
    return found


def _sized(picture: NDArray[Any], side: int) -> NDArray[np.uint8]:
    """(3, side, side) of RoboCasa's (rows, columns, 3)."""
    from PIL import Image

    whole = np.ascontiguousarray(picture[..., :3].astype(np.uint8))
    if whole.shape[0] != side:
        whole = np.asarray(Image.fromarray(whole).resize((side, side), Image.Resampling.BOX))
    return np.ascontiguousarray(whole.transpose(2, 0, 1))
