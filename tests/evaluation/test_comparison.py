"""Comparisons are paired, and refused where the two sides were not measured alike."""

from dataclasses import replace

import pytest

from foreact.contract.errors import ConfigError, ProtocolMismatchError
from foreact.envs.metaworld import MetaWorld
from foreact.evaluation.comparison import compare
from foreact.evaluation.evaluate import EvaluationConfig, evaluate
from foreact.evaluation.policies import HoldStill, ScriptedExpert
from foreact.evaluation.result import Result

CONFIG = EvaluationConfig(environment=MetaWorld.Config(task="drawer-open", size=32, horizon=90), tasks=("drawer-open", "door-open"),
                          conditions=("clean", "random"), seeds_per_task=3)


@pytest.fixture(scope="module")
def expert() -> Result:
    return evaluate(ScriptedExpert.Config(), CONFIG)


@pytest.fixture(scope="module")
def still() -> Result:
    return evaluate(HoldStill.Config(), replace(CONFIG, environment=replace(CONFIG.environment, task="reach")))


def test_pairs_on_task_seed_and_condition(expert, still):
    found = compare(expert, still)
    assert found.pairs.n == 12 and found.pairs.only_second == 0 and found.tasks.keys() == {"drawer-open", "door-open"}
    assert found.pairs.difference == found.first.value - found.second.value > 0
    assert compare(still, expert).pairs.difference == -found.pairs.difference


def test_results_of_the_wrong_pairing_are_refused(expert, still):
    fewer = replace(still, episodes=still.episodes[1:])
    with pytest.raises(ProtocolMismatchError, match="1 on one side only"):
        compare(expert, fewer)


def test_other_protocols_are_refused_with_the_difference(expert):
    other = evaluate(HoldStill.Config(), replace(CONFIG, out_of_bounds="error"))
    with pytest.raises(ProtocolMismatchError, match="out_of_bounds: 'clip' against 'error'"):
        compare(expert, other)


def test_conditions_are_compared_only_on_purpose(expert):
    clean, random = expert.only(condition="clean"), expert.only(condition="random")
    assert clean.n == random.n == 6 and clean.protocol.fingerprint != random.protocol.fingerprint
    with pytest.raises(ProtocolMismatchError, match=r"condition\.clean"):
        compare(clean, random)
    found = compare(clean, random, across=("condition",))
    assert found.pairs.n == 6 and found.across == ("condition",)
    assert found.pairs.difference == 0.0  # the expert does not look: what is drawn cannot change it
    with pytest.raises(ProtocolMismatchError, match="one condition"):
        compare(expert, random, across=("condition",))
    with pytest.raises(ConfigError, match="did you mean 'random'"):
        expert.only(condition="randon")


def test_a_part_bears_the_protocol_of_that_condition_alone(expert):
    alone = evaluate(ScriptedExpert.Config(), replace(CONFIG, conditions=("random",)))
    part = expert.only(condition="random")
    assert alone.protocol == part.protocol and [r.outcome for r in alone.episodes] == [r.outcome for r in part.episodes]
