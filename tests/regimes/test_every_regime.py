"""What every regime promises: when it calls, what it hands out, how often."""

import numpy as np
import pytest

from foreact.contract.axes import Memory, Regime
from foreact.contract.config import registered
from foreact.contract.errors import MisfitError
from foreact.regimes import Chunked, Interactive, OpenLoop, SingleStep
from tiny_members import REGIMES

HORIZON = 8


def drive(regime, steps):
    """Run an episode; plan k holds actions k.0, k.1, ... Returns the actions and the steps at which a plan was asked for."""
    memory, handed, called = Memory(), [], []
    for step in range(steps):
        if regime.due(memory):
            called.append(step)
            regime.receive(memory, (len(called) + np.arange(HORIZON) / 10)[:, None])
        handed.append(round(float(regime.act(memory)[0]), 3))
        assert memory.steps == step + 1
        assert memory.calls == len(called)
        assert memory.since_call == step - called[-1] + 1
    return handed, called


def test_every_registered_regime_is_tested():
    assert set(registered(Regime.Config)) == set(REGIMES)
    assert {type(c).owner.name for c in REGIMES.values()} == {"Chunked", "Interactive", "Open-loop", "Single-step"}


@pytest.mark.parametrize("name", sorted(REGIMES))
def test_a_plan_is_due_at_the_start_and_its_first_action_comes_first(name):
    handed, called = drive(REGIMES[name].build(HORIZON), 1)
    assert (handed, called) == ([1.0], [0])


@pytest.mark.parametrize("name", sorted(REGIMES))
def test_episodes_do_not_share_a_memory(name):
    regime = REGIMES[name].build(HORIZON)
    assert drive(regime, 11) == drive(regime, 11)


def test_chunked_looks_again_every_replan_steps():
    handed, called = drive(Chunked.Config(replan=3).build(HORIZON), 7)
    assert handed == [1.0, 1.1, 1.2, 2.0, 2.1, 2.2, 3.0]
    assert called == [0, 3, 6]  # ceil(7 / 3) calls, equation 34


def test_single_step_looks_again_before_every_action():
    handed, called = drive(SingleStep.Config().build(HORIZON), 5)
    assert handed == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert called == [0, 1, 2, 3, 4]  # T calls, equation 35


@pytest.mark.parametrize("name", sorted(REGIMES))
def test_a_period_is_the_distance_between_calls(name):
    regime = REGIMES[name].build(HORIZON)
    called = drive(regime, 2 * HORIZON)[1]
    period = regime.config.period()
    assert called == ([0] if period is None else list(range(0, 2 * HORIZON, period)))


def test_interactive_looks_again_every_replan_steps_and_carries_a_memory():
    regime = Interactive.Config(replan=3).build(HORIZON)
    handed, called = drive(regime, 7)
    assert handed == [1.0, 1.1, 1.2, 2.0, 2.1, 2.2, 3.0]
    assert called == [0, 3, 6]
    assert {n for n, c in REGIMES.items() if type(c).owner.persistent} == {"Interactive"}


def test_open_loop_calls_once_and_holds_its_last_action():
    handed, called = drive(OpenLoop.Config().build(HORIZON), 11)
    assert handed == [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.7, 1.7, 1.7]
    assert called == [0]


@pytest.mark.parametrize("kind", [Chunked, Interactive])
@pytest.mark.parametrize("replan", [0, HORIZON + 1])
def test_a_replan_period_outside_the_chunk_is_refused(replan, kind):
    with pytest.raises(MisfitError, match=rf"replan = {replan}, model.coupling.horizon = {HORIZON}"):
        kind.Config(replan=replan).build(HORIZON)


def test_a_window_of_one_step_is_no_open_loop():
    with pytest.raises(MisfitError, match=r"model.coupling.horizon = 1"):
        OpenLoop.Config().build(1)
