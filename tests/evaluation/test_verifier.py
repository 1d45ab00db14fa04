"""A verifier is asked while a plan is carried out; where it says that the plan does not hold, a new one is made at once."""

from dataclasses import replace

import numpy as np
import pytest

from foreact.acting.verifiers import Stuck
from foreact.contract.config import decode, encode
from foreact.contract.errors import ConfigError
from foreact.evaluation.controller import Controller
from foreact.evaluation.evaluate import EvaluationConfig, evaluate
from foreact.evaluation.policies import HoldStill
from foreact.regimes import OpenLoop
from tiny_members import ACTION, alive, config

ALWAYS, NEVER = Stuck.Config(every=4, moving=0.0, still=1e9), Stuck.Config(every=4, moving=1.0)


@pytest.fixture
def episode(environment):
    return EvaluationConfig(environment=environment, seeds_per_task=1, seed_start=500_000)


@pytest.mark.parametrize(("moved", "commanded", "holds"), [(0.0, 1.0, False), (0.01, 1.0, True), (0.0, 0.01, True), (0.0, 0.0, True)])
def test_a_robot_is_stuck_where_it_was_told_to_move_and_did_not(moved, commanded, holds):
    then, now = ({"images": {}, "state": np.float32([0.2, x]), "instruction": ""} for x in (0.5, 0.5 + moved))
    actions = np.full((4, ACTION.size), commanded, np.float32)
    assert Stuck.Config().build(ACTION).holds(then, now, actions, actions) is holds


def test_a_plan_that_does_not_hold_is_given_up_at_once(tiny, episode):
    """Plans of 8 actions, of which 6 are carried out, or 4 where nobody believes in them."""
    plain, never, always = (evaluate(tiny, replace(episode, verifier=v)).episodes[0] for v in (None, NEVER, ALWAYS))
    assert plain.call_steps == never.call_steps == (0, 6, 12, 18)
    assert never.actions_digest == plain.actions_digest, "a verifier that is content changes nothing"
    assert always.call_steps == (0, 4, 8, 12, 16, 20)


def test_it_is_part_of_the_protocol(episode):
    told = [replace(episode, verifier=v).protocol()[0].fields.get("verifier") for v in (None, NEVER, ALWAYS)]
    assert told[0] is None and told[1] != told[2]
    kept = replace(episode, verifier=ALWAYS)
    assert decode(EvaluationConfig, encode(kept)) == kept


def test_where_no_plan_can_be_made_early_it_is_refused(episode):
    for whole in (config("StreamedChunks", regime="Interactive"), replace(config("JointGeneration"), regime=OpenLoop.Config())):
        with pytest.raises(ConfigError, match="ahead of its time"):
            Controller(alive(whole), verifier=ALWAYS)
    with pytest.raises(ConfigError, match="a control has no plans"):
        evaluate(HoldStill.Config(), replace(episode, verifier=ALWAYS))


@pytest.mark.parametrize("settings", [{"every": 0}, {"moving": -1.0}, {"still": float("nan")}])
def test_thresholds_make_sense(settings):
    with pytest.raises(ConfigError):
        Stuck.Config(**settings)
