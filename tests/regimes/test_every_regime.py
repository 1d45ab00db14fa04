"""What every regime promises: when it calls, what it hands out, how often."""

import numpy as np
import pytest

from foreact.contract.agreement import of_mean
from foreact.contract.axes import Memory, Regime
from foreact.contract.config import registered
from foreact.contract.errors import ConfigError, MisfitError
from foreact.contract.specs import ActionSpec, GripperConvention
from foreact.regimes import Adaptive, Asynchronous, Chunked, Ensembled, Interactive, OpenLoop, SingleStep
from tiny_members import REGIMES, classes

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
    assert set(registered(Regime.Config)) == classes(REGIMES)
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
    if period is None:
        assert called == [0] or regime.by_value
    else:
        assert called == list(range(0, 2 * HORIZON, period))


def test_adaptive_looks_again_soon_where_the_value_fell():
    """Against the plan before, and by more than is let pass; a plan without one before it is carried out for long."""
    regime, memory = Adaptive.Config(replan=4, soon=2, fall=0.1).build(HORIZON), Memory()
    values, called = iter([0.5, 0.45, 0.3, 0.3, 0.1, 0.9]), []
    for step in range(20):
        if regime.due(memory):
            called.append(step)
            memory.value = next(values)
            regime.receive(memory, np.zeros((HORIZON, 1)))
        regime.act(memory)
    assert called == [0, 4, 8, 10, 14, 16]  # the third and the fifth are looked at again after 2 steps


@pytest.mark.parametrize(("settings", "error"), [
    ({"replan": 9}, MisfitError), ({"replan": 4, "soon": 5}, MisfitError), ({"soon": 0}, MisfitError), ({"fall": -0.1}, ConfigError)])
def test_adaptive_refuses_what_makes_no_sense(settings, error):
    with pytest.raises(error):
        Adaptive.Config(**settings).build(HORIZON)


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


@pytest.mark.parametrize("kind", [Asynchronous, Chunked, Ensembled, Interactive])
@pytest.mark.parametrize("replan", [0, HORIZON + 1])
def test_a_replan_period_outside_the_chunk_is_refused(replan, kind):
    with pytest.raises(MisfitError, match=rf"replan = {replan}, model.coupling.horizon = {HORIZON}"):
        kind.Config(replan=replan).build(HORIZON)


def test_a_window_of_one_step_is_no_open_loop():
    with pytest.raises(MisfitError, match=r"model.coupling.horizon = 1"):
        OpenLoop.Config().build(1)


@pytest.mark.parametrize("compensation", ["none", "drop", "inpaint"])
def test_a_plan_that_comes_at_once_makes_asynchronous_chunked(compensation):
    regime = Asynchronous.Config(replan=3, compensation=compensation).build(HORIZON)
    assert drive(regime, 20) == drive(Chunked.Config(replan=3).build(HORIZON), 20)


def late(regime, delay, steps):
    """Plan k holds k.0, k.1, ... and is handed over `delay` steps after it was asked for, the first one at once."""
    memory, handed, asked, under_way = Memory(), [], [], None
    for step in range(steps):
        if under_way is None and regime.due(memory):
            asked.append(step)
            under_way, memory.waited = (len(asked) + np.arange(HORIZON) / 10)[:, None], 0
        if under_way is not None and (len(asked) == 1 or memory.waited == delay):
            regime.receive(memory, under_way)
            under_way, memory.waited = None, 0
        handed.append(round(float(regime.act(memory)[0]), 3))
        memory.waited += under_way is not None
    return handed, asked


def test_a_late_chunk_goes_on_at_its_own_time_where_its_past_is_dropped():
    handed, asked = late(Asynchronous.Config(replan=3, compensation="drop").build(HORIZON), 2, 9)
    assert handed == [1.0, 1.1, 1.2, 1.3, 1.4, 2.2, 2.3, 2.4, 3.2]
    assert asked == [0, 3, 6]
    handed, asked = late(Asynchronous.Config(replan=3, compensation="none").build(HORIZON), 2, 9)
    assert handed == [1.0, 1.1, 1.2, 1.3, 1.4, 2.0, 2.1, 2.2, 3.0]
    assert asked == [0, 3, 6]


def test_an_ensemble_is_the_weighted_mean_of_what_was_planned_for_the_step():
    decay, regime = 0.2, Ensembled.Config(replan=2, decay=0.2).build(HORIZON)
    handed, called = drive(regime, 6)
    assert called == [0, 2, 4]
    for step, action in enumerate(handed):
        cover = [(k + 1 + (step - asked) / 10, np.exp(-decay * (step - asked))) for k, asked in enumerate(called) if asked <= step]
        values, weights = zip(*cover, strict=True)
        assert action == pytest.approx(np.average(values, weights=weights), abs=1e-3)


def test_the_weights_of_act_favour_the_oldest():
    regime, memory = Ensembled.Config().build(HORIZON), Memory()
    for value in (0.0, 1.0, 2.0):
        regime.receive(memory, np.full((HORIZON, 1), value))
        action = regime.act(memory)[0]
    weights = np.exp(-0.01 * np.arange(3))  # ACT: the oldest is number 0
    assert action == pytest.approx(weights @ [0.0, 1.0, 2.0] / weights.sum())


def test_chunks_leave_the_ensemble_when_they_are_over():
    regime, memory = Ensembled.Config(replan=1).build(HORIZON), Memory()
    for _ in range(3 * HORIZON):
        regime.receive(memory, np.zeros((HORIZON, 1)))
        regime.act(memory)
        assert len(memory.chunks) <= HORIZON


def test_a_late_plan_takes_its_place_in_time_in_the_ensemble():
    regime, memory = Ensembled.Config(replan=4, decay=0.0).build(HORIZON), Memory()
    regime.receive(memory, np.arange(HORIZON)[:, None] * 1.0)
    for _ in range(4):
        regime.act(memory)
    regime.act(memory)
    memory.waited = 1  # asked for before the last step, there now
    regime.receive(memory, 100 + np.arange(HORIZON)[:, None] * 1.0)
    assert regime.act(memory)[0] == pytest.approx((5 + 101) / 2)


def test_a_gripper_is_never_told_what_no_chunk_proposed():
    regime, memory = Ensembled.Config(replan=1, decay=0.0).build(HORIZON), Memory()
    regime.action = ActionSpec(names=("x", "gripper"), low=(-1.0, -1.0), high=(1.0, 1.0), rate_hz=10.0, reference="delta", frame="base",
                               gripper=GripperConvention(index=1, open=-1.0, closed=1.0))
    told = []
    for gripper in (-1.0, 1.0, 1.0):
        regime.receive(memory, np.tile([gripper, gripper], (HORIZON, 1)))
        told.append(regime.act(memory))
    assert [action[1] for action in told] == [-1.0, -1.0, 1.0]  # one of two is no majority
    assert [action[0] for action in told] == pytest.approx([-1.0, 0.0, 1 / 3])


def test_a_mean_of_absolute_rotations_is_refused():
    turned = ActionSpec(names=tuple("abc"), low=(-4.0,) * 3, high=(4.0,) * 3, rate_hz=10.0, reference="absolute", frame="end-effector",
                        rotation="axis-angle")
    with pytest.raises(MisfitError, match="a mean of rotations is no rotation"):
        of_mean(Ensembled.Config(), turned)
    of_mean(Chunked.Config(), turned)
