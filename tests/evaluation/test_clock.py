"""Charged time: how many steps a plan costs, what the robot does meanwhile, and how old what it acts upon is."""

from dataclasses import replace

import numpy as np
import pytest

from foreact.contract.errors import ConfigError
from foreact.contract.specs import ActionSpec, GripperConvention, ObservationSpec, StateSpec
from foreact.evaluation.clock import Clock, holding, require_holding
from foreact.evaluation.controller import Controller, Seat
from foreact.evaluation.evaluate import EvaluationConfig, evaluate
from foreact.evaluation.policies import RandomActions
from foreact.evaluation.result import Result
from foreact.regimes import Asynchronous, Chunked, Ensembled, SingleStep
from foreact.selection.rollback import Rollback

MS = 50.0  # four steps at 80 Hz


def episode(model, regime, steps, *, ms=MS, seed=1, mode="charged"):
    """Drive one seat for `steps` steps over random observations; returns the seat and the actions."""
    controller, seat = Controller(model, regime.build(8), clock=Clock(mode=mode, ms=ms)), Seat(seed=seed)
    rng, actions = np.random.default_rng(0), []
    frames = [{c.name: rng.integers(0, 256, (3, c.height, c.width), dtype=np.uint8) for c in model.observation.cameras}
              for _ in range(steps)]
    states = rng.normal(size=(steps, model.observation.state.size)).astype(np.float32)
    while len(actions) < steps:
        step = len(actions)
        if controller.due(seat):
            controller.plan([seat], [{"images": frames[step], "state": states[step], "instruction": "do it"}])
        actions.extend(controller.chunk(seat, steps - step))
    return seat, np.stack(actions)


@pytest.mark.parametrize(("ms", "rate", "steps"), [(0, 80, 0), (1, 80, 1), (12.5, 80, 1), (12.6, 80, 2), (25, 80, 2), (100, 50, 5),
                                                   (100 / 3, 30, 1)])
def test_a_plan_costs_whole_steps(ms, rate, steps):
    assert Clock(mode="charged", ms=ms).steps(1e9, rate) == steps
    assert Clock().steps(ms, rate) == 0
    assert Clock(mode="wall").steps(ms, rate) == steps


def test_a_synchronous_robot_waits_and_then_acts_on_what_was(tiny):
    seat, actions = episode(tiny, Chunked.Config(replan=6), 30)
    assert [call.step for call in seat.calls] == [0, 10, 20]  # four steps of waiting, six of acting
    assert seat.waiting.idle == 12 and seat.waiting.staleness == [4, 4, 4]
    for call, start in zip(seat.calls, (0, 10, 20), strict=True):
        assert (actions[start:start + 4, :3] == 0).all()
        assert np.array_equal(actions[start + 4:start + 10], call.actions[:6])
    assert (actions[10:14, 3] == np.clip(actions[9, 3], -1, 1)).all()  # the gripper is held as it was last told


def test_a_single_step_costs_a_wait_at_every_action(tiny):
    seat, _ = episode(tiny, SingleStep.Config(), 15)
    assert seat.waiting.idle == 12 and [call.step for call in seat.calls] == [0, 5, 10]


def test_an_asynchronous_robot_waits_for_the_first_plan_alone(tiny):
    seat, actions = episode(tiny, Asynchronous.Config(replan=4, compensation="drop"), 24)
    assert [call.step for call in seat.calls] == [0, 4, 8, 12, 16, 20]
    assert seat.waiting.idle == 4 and set(seat.waiting.staleness) == {4}
    for number, call in enumerate(seat.calls[:5]):
        assert np.array_equal(actions[4 * number + 4:4 * number + 8], call.actions[4:]), number


def test_a_chunk_that_runs_out_before_the_next_comes_is_waited_for(tiny):
    seat, actions = episode(tiny, Asynchronous.Config(replan=6, compensation="drop"), 30)
    assert [call.step for call in seat.calls] == [0, 6, 12, 18, 24]
    assert seat.waiting.idle == 4 + 4 * 2  # 6 + 4 steps from a chunk of 8
    assert (actions[8:10, :3] == 0).all()


def test_a_chunk_that_is_over_when_it_comes_moves_nothing(tiny):
    seat, actions = episode(tiny, Asynchronous.Config(replan=4, compensation="drop"), 40, ms=100.0)
    assert seat.waiting.idle == 40 and seat.waiting.staleness == [] and (actions[:, :3] == 0).all()


def test_an_inpainted_chunk_begins_with_what_was_executed_while_it_was_made(tiny):
    seat, actions = episode(tiny, Asynchronous.Config(replan=4, compensation="inpaint"), 24)
    for call in seat.calls[1:5]:
        done = actions[call.step:call.step + 4]
        # float32 in the model's units, and back; executed within the bounds
        assert np.allclose(np.clip(call.actions[:4], -1, 1), np.clip(done, -1, 1), atol=1e-4)
        assert not np.allclose(call.actions[4:], 0)


def seams(model, compensation, seed):
    """How far the first action of each new chunk lies from the one that the old chunk had for that step."""
    seat, actions = episode(model, Asynchronous.Config(replan=4, compensation=compensation), 44, ms=25.0, seed=seed)
    return [np.abs(actions[new.step + 2] - old.actions[new.step + 2 - old.step]).mean()
            for old, new in zip(seat.calls, seat.calls[1:], strict=False) if new.step + 2 < 44]


def test_inpainting_makes_the_seams_smaller(tiny):
    jumps = {word: np.mean([seams(tiny, word, seed) for seed in (1, 2)]) for word in ("none", "drop", "inpaint")}
    assert jumps["inpaint"] < 0.7 * jumps["drop"], jumps


def test_an_ensemble_goes_on_with_its_older_chunks(tiny):
    seat, _ = episode(tiny, Ensembled.Config(replan=1), 24, ms=25.0)
    assert seat.waiting.idle == 2 and set(seat.waiting.staleness) == {2}
    assert [call.step for call in seat.calls] == list(range(0, 24, 2))  # one at a time


@pytest.mark.parametrize("compensation", ["none", "drop", "inpaint"])
@pytest.mark.parametrize("mode", ["free", "charged"])
def test_without_a_delay_asynchronous_is_chunked(tiny, compensation, mode):
    chunked, a = episode(tiny, Chunked.Config(replan=6), 20, ms=0.0, mode=mode)
    other, b = episode(tiny, Asynchronous.Config(replan=6, compensation=compensation), 20, ms=0.0, mode=mode)
    assert np.array_equal(a, b) and [c.step for c in chunked.calls] == [c.step for c in other.calls]


def test_the_wall_clock_charges_what_a_plan_took(tiny):
    seat, _ = episode(tiny, Chunked.Config(replan=6), 60, mode="wall", ms=0.0)
    rate = tiny.action.rate_hz
    for call, steps in zip(seat.calls, seat.waiting.staleness, strict=False):
        assert steps == Clock(mode="wall").steps(call.prepare_ms + call.model_ms, rate) > 0
        assert call.batch == 1


def charged(environment, **options):
    return EvaluationConfig(environment=replace(environment, horizon=40), seeds_per_task=3, seed_start=500_000, clock="charged",
                            clock_ms=MS, **options)


def test_charged_results_are_the_same_however_the_work_is_spread(tiny, environment, tmp_path):
    model = replace(tiny.config, regime=Asynchronous.Config(replan=4, compensation="drop")).build(tiny.observation, tiny.action)
    model.load_state_dict(tiny.state_dict())
    found = evaluate(model.eval(), charged(environment, envs=3), out=tmp_path / "charged")
    assert [r.outcome for r in found.episodes] == [r.outcome for r in evaluate(model, charged(environment, envs=1)).episodes]
    for record in found.episodes:
        assert record.idle == 4 and set(record.staleness) == {4} and record.steps == 40
    kept = Result.load(tmp_path / "charged")
    assert kept.protocol.fields["clock"] == {"mode": "charged", "ms": MS, "holding": "zero motion, gripper kept"}
    assert kept.summary()["clock"]["staleness_steps"]["p50"] == 4 and kept.summary()["clock"]["idle_share"] == pytest.approx(0.1)


def test_a_free_clock_is_no_rule(tiny, environment):
    free = EvaluationConfig(environment=environment, seeds_per_task=1, seed_start=500_000)
    assert "clock" not in free.protocol()[0].fields
    (record,) = evaluate(tiny, free).episodes
    assert record.staleness == () and record.idle == 0


def test_what_a_clock_cannot_mean_is_refused(environment):
    with pytest.raises(ConfigError, match="a price belongs to the clock that charges it"):
        EvaluationConfig(environment=environment, clock_ms=10.0)
    with pytest.raises(ConfigError, match="does not go back either"):
        EvaluationConfig(environment=environment, clock="wall", rollback=Rollback())
    with pytest.raises(ConfigError, match="a control makes no plans"):
        evaluate(RandomActions.Config(), charged(environment))


def test_holding_still():
    spec = ActionSpec(names=("x", "grip"), low=(-1.0, -1.0), high=(1.0, 1.0), rate_hz=10.0, reference="delta", frame="base",
                      gripper=GripperConvention(index=1, open=-1.0, closed=1.0))
    absolute = replace(spec, reference="absolute", gripper=None)
    shown = ObservationSpec(cameras=(), state=StateSpec(names=("grip", "x"), units=("1", "m")), rate_hz=10.0)
    seen = {"images": {}, "state": np.float32([0.25, 7.0]), "instruction": ""}
    last = np.float32([0.5, 0.75])
    assert holding(shown, spec, last, seen).tolist() == [0.0, 0.75]
    assert holding(shown, spec, None, seen).tolist() == [0.0, 0.0]
    assert holding(shown, absolute, last, seen).tolist() == [0.5, 0.75]
    assert holding(shown, absolute, None, seen).tolist() == [1.0, 0.25]  # where it stands, within the bounds
    require_holding(shown, absolute)
    with pytest.raises(ConfigError, match=r"without a state of the same name: y"):
        require_holding(shown, replace(absolute, names=("x", "y")))
