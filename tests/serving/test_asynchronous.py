"""A robot that goes on while its next plan is made: over the wire it does what evaluation does, to the last bit."""

import numpy as np
import pytest

from foreact.evaluation.clock import Clock
from foreact.evaluation.controller import Controller, Seat
from foreact.regimes import Asynchronous, Chunked
from foreact.serving.background import serving
from foreact.serving.settings import ServerSettings
from foreact_client import AsynchronousPlayer, ChunkPlayer, Client, Refused, Unreachable, holding_still

STEPS = 14


@pytest.fixture
def looks(episode):
    """What is seen at each step."""
    return episode(3, STEPS)


def evaluated(model, looks, regime, *, latency):
    """The executed actions, and the steps held still, where the same looks are evaluated under a regime of the library."""
    regime = regime.build(model.config.coupling.horizon)
    controller = Controller(model, regime, clock=Clock(mode="charged", ms=1000 * latency / model.action.rate_hz))
    seat, actions = Seat(seed=5), []
    for seen in looks:
        if controller.due(seat):
            images = {name: x.transpose(2, 0, 1).copy() for name, x in seen["images"].items()}
            controller.plan([seat], [{"images": images, "state": seen["state"], "instruction": seen["prompt"]}])
        actions.extend(np.clip(controller.chunk(seat, 1), -1, 1))
    return np.stack(actions), seat.waiting.idle


@pytest.mark.parametrize(("replan", "latency"), [(2, 0), (2, 1), (2, 2), (3, 1), (1, 3)])
@pytest.mark.parametrize("goes_on", [True, False])
def test_at_a_charged_latency_it_does_what_evaluation_does(model, address, looks, replan, latency, goes_on):
    made = AsynchronousPlayer if goes_on else ChunkPlayer
    with Client(address) as client:
        player = made(client, replan=replan, latency=latency)
        player.reset(seed=5)
        actions = np.stack([player.act(lambda seen=seen: seen) for seen in looks])
    regime = Asynchronous.Config(replan=replan, compensation="drop") if goes_on else Chunked.Config(replan=replan)
    expected, idle = evaluated(model, looks, regime, latency=latency)
    assert np.array_equal(actions, expected) and player.held == idle


def test_without_latency_it_is_the_chunk_player(address, looks):
    found = []
    for made in (lambda client: AsynchronousPlayer(client, latency=0), ChunkPlayer):
        with Client(address) as client:
            player = made(client)
            player.reset(seed=5)
            found.append(np.stack([player.act(lambda seen=seen: seen) for seen in looks]))
    assert np.array_equal(*found)


def test_the_server_is_told_what_was_carried_out(address, looks):
    """Held still or not: the steps that the server counts are those that went by."""
    with Client(address) as client:
        player, steps = AsynchronousPlayer(client, replan=2, latency=3), []
        player.reset(seed=5)
        for number, seen in enumerate(looks):
            asked = []
            player.act(lambda seen=seen, asked=asked: asked.append(0) or seen)
            steps += [number] * len(asked)
        last = player._coming.result(timeout=20) if player._coming is not None else player.plan
    assert steps[:3] == [0, 3, 6] and last.about["step"] == steps[-1]


def test_on_a_robot_a_plan_is_there_when_it_has_come(model, looks):
    """The first actions hold still, nothing is waited for, and what a plan is late by is dropped from it."""
    with serving(model, ServerSettings(port=0)) as address, Client(address) as client:
        player = AsynchronousPlayer(client, replan=2)
        player.reset(seed=5)
        first = player.act(lambda: looks[0])
        assert np.array_equal(first, [0, 0]) and player.held == 1 and not player.due
        player._coming.exception(timeout=20)  # it has come
        second = player.act(lambda: looks[1])
        assert player.waited == 1 and np.array_equal(second, player.plan.actions[1])
        player.act(lambda: looks[2])
        player.reset(seed=5)
        assert player.plan is None and player.due


def test_what_went_wrong_is_raised_where_the_plan_should_be(address, looks):
    with Client(address) as client:
        player = AsynchronousPlayer(client, latency=1)
        player.act(lambda: {"state": looks[0]["state"]})
        with pytest.raises(Refused, match="camera"):
            player.act(lambda: looks[1])


def test_it_refuses_what_no_plan_could_do(address):
    with Client(address) as client:
        horizon = client.metadata["horizon"]
        with pytest.raises(ValueError, match="is over after"):
            AsynchronousPlayer(client, latency=horizon)
        with pytest.raises(ValueError, match="but a plan has"):
            AsynchronousPlayer(client, replan=horizon + 1)


@pytest.mark.parametrize(("spec", "last", "expected"), [
    ({"reference": "delta", "names": ["x", "y", "grip"], "gripper": {"index": 2}}, [1.0, 1.0, 0.5], [0.0, 0.0, 0.5]),
    ({"reference": "delta", "names": ["x", "y"], "gripper": None}, None, [0.0, 0.0]),
    ({"reference": "absolute", "names": ["b", "a"], "gripper": None}, [0.3, 0.4], [0.3, 0.4]),
    ({"reference": "absolute", "names": ["b", "a"], "gripper": None, "low": [-1, -1], "high": [1, 1]}, None, [1.0, 0.25]),
])
def test_how_a_robot_holds_still(spec, last, expected):
    told = {"action": spec, "observation": {"state": {"names": ["a", "b"]}}}
    assert np.array_equal(holding_still(told, None if last is None else np.float32(last), {"state": [0.25, 7.0]}), np.float32(expected))


def test_a_robot_that_cannot_hold_still_says_so():
    told = {"action": {"reference": "absolute", "names": ["c"]}, "observation": {"state": {"names": ["a"]}}}
    with pytest.raises(ValueError, match="its state has no c"):
        holding_still(told, None, {"state": [0.0]})


def test_a_closed_client_does_not_come_back(address, looks):
    """Neither by itself, for a plan that is under way, nor when it is asked."""
    client = Client(address)
    player = AsynchronousPlayer(client)
    player.act(lambda: looks[0])
    client.close()
    assert player._coming.exception(timeout=20) is None or isinstance(player._coming.exception(), Unreachable)
    assert client._socket is None
    with pytest.raises(Unreachable, match="this client is closed"):
        client.reset()
