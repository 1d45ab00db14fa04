"""Whoever else is connected, a session's actions are those of a session alone, and those that evaluation makes, to the last bit."""

import threading
import time

import numpy as np
import pytest

from foreact.evaluation.controller import Controller, Seat
from foreact.serving.background import serving
from foreact.serving.settings import ServerSettings
from foreact_client import Client

SESSIONS = 7


def played(address, observations, *, seed, pause=0.0, executed=None):
    """The plans of one session."""
    with Client(address) as client:
        client.reset(seed=seed)
        plans = []
        for seen in observations:
            plans.append(client.plan(seen, executed=executed if plans else None))
            time.sleep(pause)
    return plans


def evaluated(model, observations, *, seed, lanes=4):
    """The plans that the same episode has in evaluation."""
    controller, seat = Controller(model, lanes=lanes), Seat(seed=seed)
    for seen in observations:
        images = {name: x.transpose(2, 0, 1).copy() for name, x in seen["images"].items()}
        controller.plan([seat], [{"images": images, "state": seen["state"], "instruction": seen["prompt"]}])
        controller.chunk(seat, 100)
    return [np.clip(call.actions, -1, 1) for call in seat.calls]


@pytest.mark.parametrize("kind", ["model", "streamed"])
def test_sessions_of_mixed_speeds_do_not_hear_each_other(kind, request, episode):
    model, together = request.getfixturevalue(kind), {}
    settings = ServerSettings(port=0, batch=8, wait_ms=20)
    with serving(model, settings) as address:
        def run(number):
            together[number] = played(address, episode(number), seed=number, pause=0.004 * (number % 3))

        threads = [threading.Thread(target=run, args=(number,)) for number in range(SESSIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        alone = {number: played(address, episode(number), seed=number) for number in (0, 4)}
    if kind == "model":
        assert max(plan.about["batch"] for plans in together.values() for plan in plans) > 1, "they were planned together"
    for number in range(SESSIONS):
        of_evaluation = evaluated(model, episode(number), seed=number)
        for call, plan in enumerate(together[number]):
            assert np.array_equal(plan.actions, of_evaluation[call]), (number, call)
    for number, plans in alone.items():
        assert all(np.array_equal(a.actions, b.actions) for a, b in zip(plans, together[number], strict=True))


def test_what_was_executed_enters_the_memory(streamed, episode):
    with serving(streamed, ServerSettings(port=0)) as address:
        assumed = played(address, episode(1), seed=1)
        said = played(address, episode(1), seed=1, executed=3)
        other = played(address, episode(1), seed=1, executed=np.zeros((3, 2), np.float32))
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip(assumed, said, strict=True))
    assert not np.array_equal(assumed[1].actions, other[1].actions)
    assert [plan.about["step"] for plan in other] == [0, 3, 6, 9]
