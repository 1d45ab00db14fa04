"""Action by action: every regime, in any company, and what is handed out is inside the bounds."""

from __future__ import annotations

import numpy as np
import pytest

from foreact.acting.turns import Seat, Turns
from foreact.contract.context import fake_context
from tiny_members import alive, config


def shown(model, step, place):
    context = fake_context(model.observation, batch=1, history=1, seed=100 * step + place)
    return {"images": {name: x[0, 0].numpy() for name, x in context.images.items()}, "state": context.state[0, 0].numpy(),
            "instruction": context.instruction[0]}


@pytest.fixture(scope="module")
def model():
    return alive(config("JointGeneration"))


def acted(model, places, *, steps=7):
    turns, seats = Turns(model, lanes=4), [Seat(seed=place) for place in places]
    return np.stack([turns.act(seats, lambda i, step=step: shown(model, step, places[i])) for step in range(steps)])


def test_no_episode_can_tell_who_else_is_there(model):
    together, alone = acted(model, [0, 1, 2]), acted(model, [1])
    assert np.array_equal(together[:, 1], alone[:, 0]) and not np.array_equal(together[:, 0], together[:, 1])
    assert (together >= np.float32(model.action.low)).all() and (together <= np.float32(model.action.high)).all()


def test_only_those_who_are_due_are_looked_at(model):
    turns, seats, looked = Turns(model, lanes=4), [Seat(seed=0), Seat(seed=1)], []

    def look(place):
        looked.append(place)
        return shown(model, 0, place)

    turns.act(seats[:1], look)
    turns.act(seats, lambda place: look(place))
    assert looked[:1] == [0] and looked[1:] == ([1] if model.config.regime.period() > 1 else [0, 1])


def test_a_chunk_is_a_whole_plan_and_counts_as_carried_out_up_to_the_next_call(model):
    turns, seats = Turns(model, lanes=4), [Seat(seed=0)]
    chunk = turns.chunk(seats, lambda place: shown(model, 0, place))
    assert chunk.shape == (1, model.config.coupling.horizon, model.action.size)
    assert np.array_equal(np.stack(seats[0].executed), chunk[0, : model.config.regime.period()])
    again = turns.chunk(seats, lambda place: shown(model, 0, place))
    assert not np.array_equal(chunk, again)  # another call, other noise
