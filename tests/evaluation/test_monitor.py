"""The monitor in closed loop: quiet while the world keeps to its rules, loud soon after it was secretly changed, and what its alarms do.

The model here imagines right, all but a little noise, as long as nobody interferes: it knows what the scripted expert would do in a world
that is left alone. The environment, the encoder, the comparison, the calibration and the monitor are those of every evaluation.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.cli.main import run
from foreact.contract.config import apply_overrides, decode, encode
from foreact.contract.context import Future, Plan, Scene
from foreact.contract.errors import ConfigError, DatasetError
from foreact.envs.aloha import Aloha
from foreact.envs.disturbance import Disturbance, disturb
from foreact.envs.metaworld import MetaWorld
from foreact.evaluation.controller import noise_seed
from foreact.evaluation.evaluate import EvaluationConfig, evaluate
from foreact.evaluation.guard import Guard
from foreact.evaluation.policies import HoldStill
from foreact.evaluation.result import Result
from foreact.evaluation.rollout import EpisodeRecord
from foreact.selection.calibration_file import read_calibration
from foreact.selection.rollback import Rollback

REPLAN, OFFSETS, HORIZON, WRONG = 6, (4, 8), 8, 0.1
TASK, FIRST, HELD_OUT, FRESH, RATE = "pick-place", 500_000, 10, 2, 0.2
DELAY = OFFSETS[-1] + REPLAN
"""Control steps from a secret change to the alarm, at most: the longest offset and a replan."""
CHANGED = 25
"""When the hand of the expert has taken hold."""


class Foreseeing:
    """Plans of an expert in a world that is left alone, with what would be seen there as the imagined future."""

    def __init__(self, model, task, seeds):
        self._own, self._model = model.plan, model
        self._environment = MetaWorld.Config(task=task, size=32).build()
        self._calls = {noise_seed(seed, call): (seed, REPLAN * call) for seed in seeds for call in range(60)}
        self._known = {}

    def __call__(self, context, *, noise=None, **rest):
        if noise is None:  # tried out, on random data
            return self._own(context, **rest)
        rows = [self._row(*self._calls[seed]) for seed in noise._seeds]
        future = torch.stack([row[1] for row in rows])
        future = future + WRONG * noise("wrong", tuple(future.shape[1:]))
        return Plan(actions=torch.stack([row[0] for row in rows]), future=Future(parts={"video": future}, offsets=OFFSETS,
                                                                                  substrates={"video": "PixelLatents"}))

    def _row(self, seed, step):
        if seed not in self._known:
            self._known[seed] = self._ahead(seed)
        actions, values = self._known[seed]
        last = max(values)
        return actions[[min(step + i, last - 1) for i in range(HORIZON)]], torch.stack([values[min(step + o, last)] for o in OFFSETS])

    def _ahead(self, seed):
        """What is done, and what is seen at every second step and at the end."""
        environment, actions, seen, over = self._environment, [], {}, False
        environment.start(seed)
        expert = environment.expert()
        while not over:
            if len(actions) % 2 == 0:
                seen[len(actions)] = environment.observe()["images"]
            actions.append(expert())
            over = environment.advance(actions[-1]).success
        seen[len(actions)] = environment.observe()["images"]
        images = {name: torch.from_numpy(np.stack([one[name] for one in seen.values()]))[None]
                  for name in self._model.observation.camera_names}
        with torch.no_grad():
            values = self._model.substrate.encode(Scene(images=images))[0]
        return torch.from_numpy(np.stack(actions)), dict(zip(seen, values, strict=True))


@pytest.fixture(scope="module")
def foreseeing(tiny):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "plan", Foreseeing(tiny, TASK, range(FIRST, FIRST + HELD_OUT + FRESH)))
        yield tiny


def watched(**more):
    return EvaluationConfig(environment=MetaWorld.Config(task=TASK, size=32, horizon=70), seeds_per_task=FRESH, seed_start=FIRST + HELD_OUT,
                            envs=1, **more)


@pytest.fixture(scope="module")
def run_folder(foreseeing, tmp_path_factory):
    """A run with an evaluation of held-out seeds, and what `foreact monitor calibrate` makes of it."""
    folder = tmp_path_factory.mktemp("run")
    found = evaluate(foreseeing, replace(watched(consistency="latent"), seeds_per_task=HELD_OUT, seed_start=FIRST),
                     out=folder / "evaluations" / "held-out")
    assert found.successes == HELD_OUT
    assert run(["monitor", "calibrate", str(folder), "--evaluation", "held-out", "--false-alarms", str(RATE)]) == 0
    return folder


@pytest.fixture(scope="module")
def monitor(run_folder):
    return str(run_folder / "monitor.json")


@pytest.fixture(scope="module")
def quiet(foreseeing, monitor, run_folder):
    return evaluate(foreseeing, watched(monitor=monitor), out=run_folder / "evaluations" / "quiet")


def test_nothing_is_said_of_a_world_that_is_left_alone(quiet, run_folder):
    assert quiet.successes == FRESH and not any(record.alarms for record in quiet.episodes)
    assert all(record.scores and max(s.mismatch for s in record.scores) <= 1 for record in quiet.episodes)
    assert quiet.summary()["monitor"]["solved"]["alarms"] == 0
    assert Result.load(run_folder / "evaluations" / "quiet") == quiet


@pytest.mark.parametrize(("kind", "size"), [("teleport", 0.12), ("push", 0.12), ("friction", 0.02)])
def test_a_secret_change_is_told_within_the_longest_offset_and_a_replan(foreseeing, monitor, quiet, kind, size):
    found = evaluate(foreseeing, watched(monitor=monitor, disturb=Disturbance(step=CHANGED, kind=kind, size=size)))
    for record, before in zip(found.episodes, quiet.episodes, strict=True):
        assert record.alarms, record.scores
        assert CHANGED < record.alarms[0].step <= CHANGED + DELAY and record.alarms[0].kind == "mismatch"
        alike = [score for score in record.scores if score.step <= CHANGED]
        assert alike == [score for score in before.scores if score.step <= CHANGED] and alike


@pytest.fixture(scope="module")
def reactions(foreseeing, monitor, run_folder):
    """One episode that is disturbed, under each action."""
    config = replace(watched(monitor=monitor, disturb=Disturbance(step=CHANGED, kind="teleport", size=0.12)), seeds_per_task=1)
    found = {action: evaluate(foreseeing, replace(config, monitor_action=action), out=run_folder / "evaluations" / action)
             for action in ("record", "replan", "stop")}
    return found, {action: result.episodes[0] for action, result in found.items()}


def test_what_an_alarm_does(reactions):
    results, records = reactions
    step = records["record"].alarms[0].step
    assert {record.alarms[0] for record in records.values()} == {records["record"].alarms[0]}
    assert step not in records["record"].call_steps and step in records["replan"].call_steps, "a plan ahead of its time"
    later = [one for one in records["replan"].consistency if one.step + one.offset > step]
    assert later and all(one.step >= step for one in later), "what had been imagined is given up"
    stopped = records["stop"]
    assert stopped.asked and not stopped.success and stopped.steps == step and not records["record"].asked
    told = results["stop"].summary()["monitor"]
    assert told["not_solved"].pop("interval") == pytest.approx([0.2065, 1.0], abs=1e-3)
    assert told == {"asked": 1, "mismatch": 1, "collapse": 0, "solved": None, "not_solved": {"n": 1, "alarms": 1, "rate": 1.0}}


def test_what_it_is_worth_is_measured(reactions, quiet, run_folder, capsys):
    assert run(["monitor", "measure", str(run_folder), "--evaluation", "quiet", "record", "stop", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["quiet"]["solved"]["alarms"] == 0 and told["quiet"]["solved"]["n"] == FRESH and told["quiet"]["auc"] is None
    assert told["record"]["before"]["alarms"] == 0 and told["record"]["detected"]["alarms"] == 1 and told["stop"]["asked"] == 1
    assert 0 < told["record"]["delay"]["p50"] <= DELAY


def test_rules_are_part_of_the_protocol_only_where_they_are_set(monitor):
    plain, guarded = (watched(**more).protocol()[0] for more in ({}, {"monitor": monitor}))
    assert "monitor" not in plain.fields and "disturb" not in plain.fields
    assert guarded.fields["monitor"] == {"calibration": read_calibration(monitor).fingerprint, "action": "record"}
    assert guarded.without(("monitor",)) == plain
    changed = apply_overrides(watched(), ["disturb.step=7", "disturb.kind=push"])
    assert changed.protocol()[0].fields["disturb"] == {"step": 7, "kind": "push", "size": 0.1}


def test_a_record_from_before_there_were_monitors_is_read(quiet):
    older = {name: value for name, value in encode(quiet.episodes[0]).items() if name not in ("alarms", "scores", "asked")}
    for frame in older["consistency"]:
        del frame["imagined"], frame["motion"]
    record = decode(EpisodeRecord, older)
    assert record.alarms == record.scores == () and record.consistency[0].motion is None


def test_what_does_not_fit_is_refused(foreseeing, monitor, streamed, run_folder, tmp_path, capsys):
    with pytest.raises(ConfigError, match="another policy"):
        evaluate(streamed, watched(monitor=monitor))
    with pytest.raises(ConfigError, match="another distance"):
        evaluate(foreseeing, watched(monitor=monitor, consistency="pixel"))
    with pytest.raises(ConfigError, match="a control imagines nothing"):
        evaluate(HoldStill.Config(), watched(monitor=monitor))
    with pytest.raises(DatasetError, match="no calibration of a monitor"):
        evaluate(foreseeing, watched(monitor=str(tmp_path / "none.json")))
    with pytest.raises(ConfigError, match="ahead of its time"):
        Guard(calibration=read_calibration(monitor), action="replan").require_for(streamed)
    with pytest.raises(ConfigError, match="undo the secret change"):
        watched(disturb=Disturbance(), rollback=Rollback())
    with pytest.raises(ConfigError, match="cannot be secretly changed"):
        EvaluationConfig(environment=Aloha.Config(task="transfer-cube"), disturb=Disturbance())
    with pytest.raises(ConfigError, match="a step and a size"):
        Disturbance(size=0.0)
    assert run(["monitor", "calibrate", str(run_folder), "--evaluation", "held-out", "--out", str(tmp_path / "m.json")]) != 0
    assert "too few successful episodes for this rate" in capsys.readouterr().err and not (tmp_path / "m.json").exists()
    assert run(["monitor", "measure", str(run_folder), "--evaluation", "held-out"]) != 0
    assert "nothing watched this evaluation" in capsys.readouterr().err


def test_friction_is_as_it_was_at_the_next_start():
    environment = MetaWorld.Config(task=TASK, size=32).build()
    environment.start(FIRST)
    before = environment.simulation.model.geom_friction.copy()
    disturb(environment, Disturbance(kind="friction", size=0.5))
    assert np.array_equal(environment.simulation.model.geom_friction, 0.5 * before)
    environment.start(FIRST)
    assert np.array_equal(environment.simulation.model.geom_friction, before)
    environment.close()
