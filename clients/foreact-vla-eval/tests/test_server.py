"""vla-eval's own server loop, connection, runner and benchmark class around a model of foreact in Meta-World."""

from __future__ import annotations

import json
import logging

import anyio
import numpy as np
import pytest
import torch
from vla_eval.benchmarks.base import StepBenchmark, StepResult
from vla_eval.connection import Connection
from vla_eval.model_servers.serve import serve_async
from vla_eval.runners.sync_runner import SyncEpisodeRunner
from vla_eval.specs import IMAGE_RGB, LANGUAGE, DimSpec, check_specs

from foreact.acting.turns import Seat, Turns
from foreact.contract.config import encode
from foreact.contract.errors import SpecError
from foreact.contract.normalisation import FeatureStatistics
from foreact.contract.specs import ActionSpec, GripperConvention
from foreact.envs.metaworld import MetaWorld
from foreact.recipes import catalogue
from foreact.training.checkpoint_folder import Content, write
from foreact.training.specs import specs_text
from foreact_vla_eval import ForeactModelServer
from foreact_vla_eval.declared import actions_declared

TASK = {"name": "door-open", "seed": 500_000}


class Door(StepBenchmark):
    """Foreact's Meta-World as somebody else's benchmark, under names of its own."""

    def __init__(self, send_state: bool = True, send_wrist_image: bool = False) -> None:
        super().__init__()
        self.told = (send_state, send_wrist_image)
        self.env = MetaWorld.Config(task="door-open", size=64, horizon=24).build()
        self.actions: list[np.ndarray] = []

    def get_tasks(self):
        return [TASK]

    def reset(self, task):
        return self.env.reset(seed=task["seed"])[0]

    def step(self, action):
        self.actions.append(action["actions"])
        observation, reward, ended, truncated, info = self.env.step(action["actions"])
        return StepResult(obs=observation, reward=reward, done=ended or truncated, info=info)

    def make_obs(self, raw_obs, task):
        images = {f"{name}_rgb": image.transpose(1, 2, 0) for name, image in raw_obs["images"].items()}
        return {"images": images, "state": raw_obs["state"], "task_description": raw_obs["instruction"]}

    def get_step_result(self, step_result):
        return {"success": bool(step_result.info.get("success", False))}

    def get_action_spec(self):
        return actions_declared(self.env.specs[1])

    def get_observation_spec(self):
        return {"image": IMAGE_RGB, "language": LANGUAGE, "state": DimSpec("state", self.env.specs[0].state.size, "raw")}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with one checkpoint of a joint model that nobody trained, fitted to the statistics of noise."""
    folder, run = tmp_path_factory.mktemp("run"), catalogue.recipe("joint").run("tiny")
    observation, action = MetaWorld.describe(MetaWorld.Config(task="door-open", size=64))
    model = run.model.build(observation, action)
    with torch.no_grad():  # initial zeros would hide what matters
        for _, parameter in model.parameters_to_train():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    g = np.random.default_rng(0)
    sizes = (observation.state.size, action.size)
    model.fit_normalisation(*(FeatureStatistics.of(g.normal(size=(64, size)).astype(np.float32)) for size in sizes))
    write(folder / "checkpoints", Content(step=1, model=model.state_dict(), state={}, progress={"step": 1}, texts={
        "config.json": json.dumps(encode(run)), "specs.json": specs_text(observation, action)}))
    return folder


@pytest.fixture(scope="module")
def server(run):
    return ForeactModelServer(str(run), cameras={"scene": "scene_rgb", "gripper": "gripper_rgb"})


async def served(server, work):
    """Run `work(address)` while vla-eval's own loop serves."""
    async with anyio.create_task_group() as group:
        port = await group.start(serve_async, server, "127.0.0.1", 0)
        try:
            with anyio.fail_after(300):
                return await work(f"ws://127.0.0.1:{port}")
        finally:
            group.cancel_scope.cancel()


async def episode(address, task=TASK, steps=12):
    benchmark = Door()
    connection = Connection(address, timeout=240)
    await connection.connect(benchmark="door")
    try:
        result = await SyncEpisodeRunner().run_episode(benchmark, task, connection, max_steps=steps)
        return result, np.stack(benchmark.actions), connection.server_info
    finally:
        await connection.close()


def test_an_episode_of_vla_evals_runner_is_the_one_that_foreact_would_act(server):
    result, actions, info = anyio.run(served, server, episode)
    assert result["steps"] == 12 and result["metrics"] == {"success": False} and actions.shape == (12, 4) and actions.dtype == np.float32
    assert info["observation_params"] == {"send_state": True, "send_wrist_image": True}
    from foreact_vla_eval.server import _noise

    door, seat, turns = Door(), Seat(seed=_noise(0, TASK)), Turns(server._model, lanes=4)
    seen, ours = door.reset(TASK), []
    for _ in range(12):
        ours.append(turns.act([seat], lambda _, seen=seen: seen)[0])
        seen = door.step({"actions": ours[-1]}).obs
    assert np.array_equal(actions, np.stack(ours))
    assert not server._seats  # the episode is over


def test_two_connections_at_once_act_as_each_would_alone(server):
    other = TASK | {"seed": 500_001}

    async def both(address):
        found = {}

        async def one(name, task):
            found[name] = (await episode(address, task, 9))[1]

        async with anyio.create_task_group() as group:
            group.start_soon(one, "a", TASK)
            group.start_soon(one, "b", other)
        found["alone"] = (await episode(address, other, 9))[1]
        return found

    found = anyio.run(served, server, both)
    assert np.array_equal(found["b"], found["alone"]) and not np.array_equal(found["a"], found["b"])


def test_the_declared_words_agree_with_a_benchmark_of_the_same_robot(server):
    door = Door()
    assert check_specs(server.get_action_spec(), door.get_action_spec(), server.get_observation_spec(), door.get_observation_spec()) == []


@pytest.mark.parametrize("fields, words", [
    ({"rotation": "axis-angle", "size": 7, "gripper": GripperConvention(index=6, open=-1.0, closed=1.0)},
     ["position", "rotation", "gripper"]),
    ({"rotation": "quaternion-wxyz", "size": 8, "gripper": GripperConvention(index=7, open=-1.0, closed=1.0)}, ["actions"]),
    ({"rotation": "none", "size": 7, "frame": "joint", "reference": "absolute"}, ["actions"]),
])
def test_what_has_no_word_is_declared_raw(fields, words):
    size = fields.pop("size")
    spec = ActionSpec(**{"names": tuple(f"a{i}" for i in range(size)), "low": (-1.0,) * size, "high": (1.0,) * size, "rate_hz": 10.0,
                         "reference": "delta", "frame": "end-effector"} | fields)
    assert list(actions_declared(spec)) == words


@pytest.mark.parametrize("spoil, where", [
    (lambda o: o["images"].pop("scene_rgb"), "images.scene_rgb"), (lambda o: o.update(state=np.zeros(7)), "state"),
    (lambda o: o["images"].update(gripper_rgb=np.zeros((64, 64, 3), np.float32)), "images.gripper_rgb"),
])
def test_a_wrong_observation_is_told_to_the_benchmark_and_the_next_right_one_is_answered(server, spoil, where, caplog):
    caplog.set_level(logging.CRITICAL)
    door = Door()
    right = door.make_obs(door.reset(TASK), TASK)

    async def work(address):
        connection = Connection(address, timeout=240)
        await connection.connect()
        await connection.start_episode({"task": TASK})
        wrong = right | {"images": dict(right["images"])}
        spoil(wrong)
        with pytest.raises(RuntimeError, match=where):
            await connection.act(wrong)
        answer = await connection.act(right)
        await connection.close()
        return answer

    assert anyio.run(served, server, work)["actions"].shape == (4,)


def test_a_camera_that_the_model_does_not_have_is_refused_at_once(run):
    with pytest.raises(SpecError, match=r"args\.cameras"):
        ForeactModelServer(str(run), cameras={"wrist": "eye_in_hand"})
