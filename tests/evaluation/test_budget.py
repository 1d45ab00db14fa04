"""Fronts against every pair, the sustained horizon by hand, how failures ended, and times that add up over real policies."""

import itertools
import random
from dataclasses import dataclass

import pytest

from foreact.contract.stopwatch import ACTION, ENCODING, FUTURE, PREPROCESSING, SELECTION, TOGETHER
from foreact.envs.metaworld import MetaWorld
from foreact.envs.touch import Feeler, Touch
from foreact.evaluation.budget import at_equal_latency, failures, front, sustained
from foreact.evaluation.pacing import Contender, recorded, take_turns
from foreact.evaluation.rollout import EpisodeRecord
from foreact.recipes import catalogue
from foreact.selection.selectors import ActionConsensus


@dataclass(frozen=True)
class Placed:
    ms: float
    success: float


def record(steps, success, touch=None):
    return EpisodeRecord(task="t", condition="clean", seed=0, success=success, held=success, steps=steps, calls=1, evaluations=1, outside=0,
                         instruction="", actions_digest="", touch=touch)


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_no_other_beats(seed):
    draw = random.Random(seed)
    points = [Placed(float(draw.randint(1, 8)), draw.randint(0, 6) / 6) for _ in range(12)]

    def beats(a, b):
        return a.ms <= b.ms and a.success >= b.success and (a.ms < b.ms or a.success > b.success)

    unbeaten = {p for p in points if not any(beats(other, p) for other in points)}
    found = front(points)
    assert set(found) == unbeaten and len(found) == len(unbeaten)
    assert all(a.ms < b.ms and a.success < b.success for a, b in itertools.pairwise(found))
    for ms in range(10):
        able = [p for p in points if p.ms <= ms]
        best = at_equal_latency(points, ms)
        assert (best is None) == (not able)
        assert best is None or best.success == max(p.success for p in able)


def test_the_sustained_horizon_by_hand():
    # solved after 10, 20 and 40 steps, and one never: q(0) = 3/4, q(10) = 2/3, q(20) = 1/2, q(40) = 0
    found = sustained([record(10, True), record(20, True), record(40, True), record(100, False)])
    assert found.steps == 40 and found.running == 1
    assert found.shares == ((0, 0.75, 4), (10, pytest.approx(2 / 3), 3), (20, 0.5, 2), (40, 0.0, 1))
    assert sustained([record(10, True), record(100, False), record(100, False)]).steps == 0
    assert sustained([record(100, False)]).steps == 0
    assert sustained([record(30, True), record(50, True)]).steps == 50


def test_failures_are_told_by_how_they_ended():
    held = Touch(first=5, last=95, steps=60)
    found = failures([record(100, True, Touch()), record(100, False, Touch()), record(100, False, held),
                      record(100, False, Touch(first=5, last=50, steps=9)), record(100, False)])
    assert found == {"never touched": 1, "lost": 1, "in contact": 1, "unknown": 1}
    assert failures([]) == {"never touched": 0, "lost": 0, "in contact": 0}


def test_the_expert_touches_what_it_closes_and_feeling_changes_nothing():
    env, other, feeler = MetaWorld.Config(task="drawer-close").build(), MetaWorld.Config(task="drawer-close").build(), Feeler()
    for each in (env, other):
        each.start(500_000)
    feeler.start(env)
    expert, step, over = env.expert(), 0, False
    while not over:
        action, step = expert(), step + 1
        over = env.advance(action).success
        other.advance(action)
        feeler.feel(env, step)
    assert 0 < feeler.touch.first <= feeler.touch.last <= step and feeler.touch.steps > 0
    assert (env.privileged == other.privileged).all()
    assert feeler.touch.ending(step) == "in contact" and feeler.touch.ending(step + 100) == "lost"
    for each in (env, other):
        each.close()


@pytest.fixture(scope="module")
def trails():
    return recorded(MetaWorld.Config(task="drawer-close", size=64), ["drawer-close"], seed=500_000, looks=3, every=8)


def contender(name, selector=None):
    observation, action = MetaWorld.describe(MetaWorld.Config(task="drawer-close", size=64))
    run = catalogue.baseline(catalogue.recipe("joint").run("tiny")) if name == "no-future" else catalogue.recipe(name).run("tiny")
    return Contender(model=run.model.build(observation, action), selector=selector)


def test_times_are_told_apart_where_passes_are_and_add_up(trails):
    every = {name: contender(name) for name in ("no-future", "joint", "fast-wam", "agra", "lingbot-va", "flare", "cosmos-policy")}
    every["chosen"] = contender("joint", ActionConsensus.Config(candidates=2))
    paces = take_turns(every, dict.fromkeys(every, trails), rounds=2)
    laps = {name: {key for lap in pace.laps for key in lap} for name, pace in paces.items()}
    both = {PREPROCESSING, ENCODING}
    assert laps["no-future"] == laps["fast-wam"] == both | {ACTION}
    assert laps["joint"] == both | {TOGETHER} and laps["chosen"] == both | {TOGETHER, SELECTION}
    assert laps["cosmos-policy"] >= both | {TOGETHER}
    for apart in ("agra", "lingbot-va", "flare"):
        assert laps[apart] >= both | {FUTURE, ACTION}
    for pace in paces.values():
        assert len(pace.total) == 2 and all(ms > 0 for ms in pace.total)
        assert pace.total == [pytest.approx(sum(lap.values())) for lap in pace.laps]
        told = pace.summary()
        assert told["mean"] == pytest.approx(sum(lap["mean"] for lap in told["laps"].values()))
        assert told["p50"] <= told["p95"] and told["n"] == 2
