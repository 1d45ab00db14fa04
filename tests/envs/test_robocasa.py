"""RoboCasa's adapter against an imitation of RoboCasa's environments, run in a process of its own as the real one is: no physics.

The imitation has the real one's names of environments, keys, shapes and manners: words on standard output, a generator in `env.rng` that
`reset(seed=)` does not touch, things on the table chosen by the hash of a name. What it cannot show is that the simulator and its assets
do their part.
"""

import sys
from textwrap import dedent

import numpy as np
import pytest

from foreact.contract.errors import ConfigError, SpecError
from foreact.contract.unified_actions import embodiment_of
from foreact.envs.robocasa import VARIABLE, RoboCasa
from foreact.envs.robocasa_published import ARTICULATED, DATASET, NAMES, PARTS, PICK_AND_PLACE, TASKS, from_dataset, published, to_dataset
from foreact.evaluation.evaluate import EvaluationConfig, evaluate
from foreact.evaluation.policies import RandomActions

IMITATION = '''
    import gymnasium
    import numpy as np
    from gymnasium.envs.registration import register

    print("WARNING: mimicgen environments not imported since mimicgen is not installed!")
    PARTS = {"left_hand": 6, "right_hand": 6, "left_arm": 7, "right_arm": 7, "waist": 3}


    class Simulation:
        rng = np.random.default_rng()


    class Environment(gymnasium.Env):
        def __init__(self, name, enable_render):
            assert enable_render
            self.name, self.env, self.closed = name, Simulation(), False
            self.plant = hash(name) % 251
            self.action_space = self.observation_space = gymnasium.spaces.Dict({})

        def seen(self):
            whole = np.full((256, 256, 3), self.plant, np.uint8)
            whole[:128, :, 0] = self.colour
            found = {"state." + name: value for name, value in self.at.items()}
            return {**found, "video.ego_view_pad_res256_freq20": 255 - whole, "video.ego_view_bg_crop_pad_res256_freq20": whole,
                    "annotation.human.coarse_action": f"unlocked_waist: pick the {self.thing} from the plate and place it in the pan"}

        def reset(self, seed=None, options=None):
            np.random.seed(seed)
            self.colour = int(self.env.rng.integers(1, 255))
            self.thing = str(self.env.rng.choice(["pear", "corn", "can", "bun", "egg"]))
            self.at = {name: np.zeros(count, np.float32) for name, count in PARTS.items()}
            return self.seen(), {"success": False}

        def step(self, action):
            print("stepping")
            for name, count in PARTS.items():
                value = action.pop("action." + name)
                assert value.shape == (count,) and value.dtype == np.float32
                self.at[name] = value
            assert not action, action
            if self.at["waist"][2] == 3:
                raise RuntimeError("the robot fell apart")
            reward = float(self.at["right_hand"][0] > 1)
            return self.seen(), reward, False, False, {"success": reward > 0}


    for task in ("PnPCupToDrawerClose", "PosttrainPnPNovelFromPlateToPanSplitA", "EvalPnPNovelFromPlateToPanSplitB"):
        name = f"gr1_unified/{task}_GR1ArmsAndWaistFourierHands_Env"
        register(id=name, entry_point=Environment, kwargs={"name": name})
'''
TASK = "PosttrainPnPNovelFromPlateToPanSplitA"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A Python in which the imitation is installed."""
    package = tmp_path / "robocasa" / "utils" / "gym_utils"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").write_text("")
    (package / "gymnasium_groot.py").write_text(dedent(IMITATION))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv(VARIABLE, sys.executable)
    monkeypatch.setenv("PYTHONHASHSEED", "17")  # whatever it is outside


@pytest.fixture
def env(installed):
    env = RoboCasa.Config(task=TASK, size=128, cameras=("ego", "ego-wide"), horizon=4).build()
    yield env
    env.close()


def acting(**parts):
    action = np.zeros(len(NAMES), np.float32)
    for name, value in parts.items():
        action[NAMES.index(name)] = value
    return action


def test_an_episode_runs_as_gr00t_runs_it(env):
    seen, info = env.reset(seed=3)
    assert info["seed"] == 3 and env.observation_space["images"].contains(seen["images"])
    assert seen["instruction"].startswith("pick the") and seen["state"].tolist() == [0.0] * 29
    colour = seen["images"]["ego"][0, 0, 0]
    assert seen["images"]["ego"].shape == (3, 128, 128) and seen["images"]["ego"][0, -1, 0] == seen["images"]["ego"][1, 0, 0] != colour
    assert seen["images"]["ego-wide"][0, 0, 0] == 255 - colour
    assert not env.advance(acting(left_joint_1=0.5, right_joint_7=-0.5, left_thumb_turn=3.0, waist_roll=0.1)).success
    state = dict(zip(NAMES, env.observe()["state"].tolist(), strict=True))
    assert {name: value for name, value in state.items() if value} == pytest.approx(
        {"left_joint_1": 0.5, "right_joint_7": -0.5, "left_thumb_turn": 3.0, "waist_roll": 0.1})
    last = env.advance(acting(right_pinky=1.5))
    assert last.success and last.reward == 1.0 and not last.truncated
    assert [env.advance(acting()).truncated for _ in range(2)] == [False, True]
    with pytest.raises(SpecError, match="over"):
        env.advance(acting())


def test_a_seed_makes_the_scene_whatever_came_before_and_in_every_process(env):
    found = {seed: env.reset(seed=seed)[0] for seed in (1, 2, 3, 4)}
    assert len({seen["images"]["ego"].tobytes() for seen in found.values()}) > 1
    other = RoboCasa.Config(task=TASK, size=128, cameras=("ego", "ego-wide")).build()
    for seed in (4, 2):
        again = other.reset(seed=seed)[0]
        assert again["instruction"] == found[seed]["instruction"]
        np.testing.assert_array_equal(again["images"]["ego"], found[seed]["images"]["ego"])
    other.close()


def test_other_objects_are_roboCasas_split_b(installed):
    rules = RoboCasa.rules(RoboCasa.Config(task=TASK, condition="instance"))
    assert rules["environment"] == "gr1_unified/EvalPnPNovelFromPlateToPanSplitB_GR1ArmsAndWaistFourierHands_Env"
    env = RoboCasa.Config(task=TASK, condition="instance").build()
    env.start(0)
    env.close()
    for config in (RoboCasa.Config(task=TASK, condition="random"), RoboCasa.Config(task=ARTICULATED[0], condition="instance")):
        with pytest.raises(ConfigError, match="does not offer this condition"):
            config.build()


def test_the_evaluation_runs_on_it(installed):
    config = EvaluationConfig(environment=RoboCasa.Config(task="PnPCupToDrawerClose", size=16, horizon=3), seeds_per_task=2, seed_start=8,
                              envs=1)
    result = evaluate(RandomActions.Config(), config)
    assert len(result.episodes) == 2 and all(1 <= record.steps <= 3 for record in result.episodes)


def test_what_fails_over_there_is_said_here(env, monkeypatch):
    env.start(0)
    with pytest.raises(SpecError, match="the robot fell apart"):
        env.advance(acting(waist_roll=3.0))
    env._worker._process.kill()
    env._worker._process.wait()
    with pytest.raises(SpecError, match=r"process has ended(.|\n)*exit code -9"):
        env.start(1)
    with pytest.raises(SpecError, match=r"cannot be rewound(.|\n)*restorable=false"):
        env.snapshot()
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises(SpecError, match=r"RoboCasa refused(.|\n)*No module named 'robocasa'"):
        RoboCasa.Config(task=TASK).build()
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConfigError, match=rf"not here(.|\n)*{VARIABLE}(.|\n)*numpy 1\.26"):
        RoboCasa.Config(task=TASK).build()
    with pytest.raises(ConfigError, match=f"did you mean '{ARTICULATED[0]}'"):
        RoboCasa.Config(task="PnPCupToDrawerClosed").build()


# --- what is published --------------------------------------------------------------------------------------------------

def test_its_tasks_are_twenty_four_and_its_robot_is_declared():
    assert (len(PICK_AND_PLACE), len(ARTICULATED), len(set(TASKS))) == (18, 6, 24) and RoboCasa.tasks == TASKS
    assert sum(PARTS.values()) == len(NAMES) == 29 and sum(DATASET.values()) == 44
    assert embodiment_of(*RoboCasa.describe(RoboCasa.Config(task=TASK))).name == "gr1-arms-waist"


def test_a_row_of_the_demonstrations_is_taken_apart_and_put_together():
    numbers = np.arange(88.0).reshape(2, 44)
    ours = from_dataset(numbers)
    assert ours[0].tolist() == [*range(7), *range(22, 29), *range(7, 13), *range(29, 35), 41, 42, 43]
    back = to_dataset(ours)
    np.testing.assert_array_equal(from_dataset(back), ours)
    moving = np.isin(np.arange(44), ours[0])
    np.testing.assert_array_equal(back[:, moving], numbers[:, moving])
    assert (back[:, ~moving] == 0).all()
    with pytest.raises(SpecError, match="not a row"):
        from_dataset(ours)


@pytest.mark.parametrize(("method", "within"), [("GR00T N1.5", 0.5), ("GR00T N1.6", 0.05)])
def test_averages_are_the_printed_ones(method, within):
    row = published(method)
    assert set(row.tasks) == set(TASKS)
    assert sum(row.tasks.values()) / 24 == pytest.approx(row.average, abs=within + 1e-9)


def test_what_agra_says_of_gr00t_is_its_printed_average():
    assert published().average - published("GR00T N1.6").average == pytest.approx(18.8) and not published().tasks
    with pytest.raises(ConfigError, match=r"no such row(.|\n)*GR00T N1\.6"):
        published("GR00T N1.7")
