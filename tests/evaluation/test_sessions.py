"""Under a regime that carries a memory every episode has a session of its own: no cross-talk, and a new episode begins anew."""

import numpy as np
import pytest
import torch

from foreact.contract.axes import SeededNoise
from foreact.evaluation.controller import Controller, Seat, context_of, noise_seed
from tiny_members import alive, config

CALLS = 5


@pytest.fixture(scope="module")
def model():
    return alive(config("StreamedChunks", regime="Interactive"))


def seen(model, seed):
    """The observations of one episode, one for each call."""
    rng = np.random.default_rng(seed)
    return [{"images": {c.name: rng.integers(0, 256, (3, c.height, c.width), dtype=np.uint8) for c in model.observation.cameras},
             "state": rng.normal(size=model.observation.state.size).astype(np.float32), "instruction": "do it"} for _ in range(CALLS)]


def drive(controller, episodes, seats, calls=CALLS):
    """The seats through their episodes side by side; returns each seat's plans."""
    for call in range(calls):
        assert all(controller.due(seat) for seat in seats)
        controller.plan(seats, [episode[call] for episode in episodes])
        for seat in seats:
            assert len(controller.chunk(seat, 100)) == 3
    return [[c.actions for c in seat.calls] for seat in seats]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_seats_do_not_hear_each_other(model):
    episodes = [seen(model, i) for i in range(3)]
    together = drive(Controller(model), episodes, [Seat(seed=i) for i in range(3)])
    for i, episode in enumerate(episodes):
        (alone,) = drive(Controller(model), [episode], [Seat(seed=i)])
        assert same(alone, together[i]), i
    assert not same(together[0], together[1])


def test_a_new_episode_in_the_same_place_begins_anew(model):
    controller, episode = Controller(model), seen(model, 7)
    drive(controller, [seen(model, 3)], [Seat(seed=3)])
    again, (first,) = Seat(seed=7), drive(Controller(model), [episode], [Seat(seed=7)])
    assert same(drive(controller, [episode], [again])[0], first)
    other = Seat(seed=7)
    drive(controller, [episode], [other], calls=1)
    assert other.session is not again.session and other.session.tokens == again.session.tokens


def test_seats_that_are_out_of_step_keep_their_own_time(model):
    """One episode begins while the other is under way."""
    controller, early, late = Controller(model), seen(model, 1), seen(model, 2)
    one, two = Seat(seed=1), Seat(seed=2)
    for call in range(CALLS):
        seats, shown = ([one], [early[call]]) if call < 2 else ([one, two], [early[call], late[call - 2]])
        controller.plan(seats, shown)
        for seat in seats:
            controller.chunk(seat, 100)
    (alone,) = drive(Controller(model), [late], [Seat(seed=2)], calls=CALLS - 2)
    assert same([c.actions for c in two.calls], alone)


def test_what_enters_the_memory_is_what_was_executed_inside_the_bounds(model):
    """The session's plan is that of a recomputation from what the seat saw and executed."""
    controller, episode, seat = Controller(model), seen(model, 5), Seat(seed=5)
    drive(controller, [episode], [seat])
    assert np.abs(np.stack(seat.executed)).max() <= 1.0 and len(seat.executed) == 3 * CALLS
    seat.executed, coupling = seat.executed[:-3], model.config.coupling
    context = context_of([seat], history=coupling.history, past=coupling.past_actions, width=2)
    alone = model.plan(context, noise=SeededNoise([noise_seed(5, CALLS - 1)]))
    # float32 rounding of the same sums, carried through a plan; see the test of the coupling
    assert torch.allclose(alone.actions[0], torch.from_numpy(seat.calls[-1].actions), atol=1e-4)
