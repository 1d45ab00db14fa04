"""The monitor over the wire: its scores are those of evaluation, a session has its own, and no action depends on them."""

from dataclasses import asdict

import numpy as np
import pytest

from foreact.acting.identity import content_of, weights_of
from foreact.contract.errors import ConfigError
from foreact.evaluation.controller import Controller, Seat
from foreact.evaluation.guard import Guard
from foreact.evaluation.sources import ModelSource
from foreact.regimes import Chunked
from foreact.selection.calibration_file import write_calibration
from foreact.selection.monitor import Calibration, Expected
from foreact.serving.background import serving
from foreact.serving.settings import ServerSettings
from foreact_client import ChunkPlayer, Client, Refused
from served import get
from tiny_members import alive, config

CALLS, REPLAN = 5, 4


@pytest.fixture(scope="module")
def calibration(model):
    expected = tuple(Expected(offset=offset, base=0.0, slope=0.5, spread=0.2, low=-9.0, high=9.0, still=0.0, imagined_still=0.0, moving=0.0)
                     for offset in model.config.coupling.future_offsets)
    content = content_of(model.config, model.observation, model.action, weights_of(model))
    assert content == ModelSource.of(model).identity["sha256"]
    return Calibration(policy=content, distance="latent", rate=0.05, fitted=19, held_out=19, seeds=(1,), expected=expected, floor=1e-3,
                       slack=0.0, mismatch=3.0, collapse=1.0)


@pytest.fixture(scope="module")
def watched(model, calibration, tmp_path_factory):
    file = tmp_path_factory.mktemp("monitor") / "monitor.json"
    write_calibration(calibration, file)
    with serving(model, ServerSettings(port=0, monitor=str(file))) as address:
        yield address


def plans(address, looks, seed, **wanted):
    with Client(address) as client:
        client.reset(seed=seed)
        return [client.plan(seen, executed=REPLAN if call else None, **wanted) for call, seen in enumerate(looks)]


def evaluated(model, calibration, looks, seed):
    """The scores and alarms of the same looks in an evaluation."""
    controller = Controller(model, Chunked.Config(replan=REPLAN).build(model.config.coupling.horizon), consistency="latent",
                            guard=Guard(calibration=calibration))
    seat, told = Seat(seed=seed), []
    for seen in looks:
        images = {name: x.transpose(2, 0, 1).copy() for name, x in seen["images"].items()}
        look = {"images": images, "state": seen["state"], "instruction": seen["prompt"]}
        controller.see(seat, look)
        scores = asdict(seat.monitor.scores[-1]) if seat.monitor.scores else {"step": None, "mismatch": None, "collapse": None}
        told.append({**scores, "alarms": [alarm.kind for alarm in seat.monitor.alarms if alarm.step == seat.memory.steps]})
        controller.plan([seat], [look])
        controller.chunk(seat, REPLAN)
    return told


def test_scores_are_those_of_evaluation_for_every_session(model, calibration, watched, episode):
    """Two sessions, look by look in turn: neither hears of the other's world."""
    with Client(watched) as one, Client(watched) as other:
        assert one.metadata["monitors"]
        found = {1: [], 2: []}
        for number, client in ((1, one), (2, other)):
            client.reset(seed=number)
        for call in range(CALLS):
            for number, client in ((1, one), (2, other)):
                plan = client.plan(episode(number, CALLS)[call], executed=REPLAN if call else None, monitor=True)
                found[number].append(plan.monitor)
    for number, told in found.items():
        assert told == evaluated(model, calibration, episode(number, CALLS), seed=number)
        assert told[0]["mismatch"] is None and told[-1]["step"] == REPLAN * (CALLS - 1)
        assert [kind for each in told for kind in each["alarms"]], "pictures of noise are not what anybody imagines"


def test_an_episode_begins_without_a_past_and_looks_that_do_not_ask_count(watched, episode):
    looks = episode(1, CALLS)
    whole = plans(watched, looks, 1, monitor=True)
    with Client(watched) as client:
        for _ in range(2):
            client.reset(seed=1)
            for call, seen in enumerate(looks):
                last = client.plan(seen, executed=REPLAN if call else None, monitor=call == CALLS - 1)
                assert call == CALLS - 1 or last.monitor is None
            assert last.monitor == whole[-1].monitor


def test_no_action_depends_on_it_and_alarms_are_counted(address, watched, episode):
    looks = episode(3, CALLS)
    both = [plans(one, looks, 3) for one in (address, watched)]
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip(*both, strict=True))
    assert 'foreact_alarms_total{outcome="mismatch"}' in get(watched, "/metrics")[1]


def test_a_player_asks_for_it(watched, episode):
    with Client(watched) as client:
        player = ChunkPlayer(client, replan=REPLAN)
        player.reset(seed=1)
        for seen in episode(1, REPLAN + 1):
            player.act(lambda seen=seen: seen, monitor=True)
    assert player.plan.monitor["step"] == REPLAN


def test_where_nothing_watches_nobody_is_told_otherwise(address, episode):
    with Client(address) as client:
        assert not client.metadata["monitors"]
        with pytest.raises(Refused, match="nothing watches the sessions"):
            client.plan(episode(1)[0], monitor=True)


def test_a_monitor_of_another_model_is_refused(calibration, tmp_path):
    write_calibration(calibration, tmp_path / "monitor.json")
    other = alive(config("JointGeneration"), seed=1)
    with pytest.raises(ConfigError, match="calibrated for another policy"), \
            serving(other, ServerSettings(port=0, monitor=str(tmp_path / "monitor.json"))):
        pass
