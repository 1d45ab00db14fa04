"""Plans do not depend on what shares their batch; bounds are kept in the open."""

import numpy as np
import pytest
import torch

from foreact.contract.errors import SpecError
from foreact.contract.specs import ActionSpec
from foreact.evaluation.controller import Controller, Seat, noise_seed, within_bounds
from foreact.regimes.open_loop import OpenLoop

SPEC = ActionSpec(names=("x", "y"), low=(-1.0, 0.0), high=(1.0, 0.5), rate_hz=10.0, reference="delta", frame="base")


def observations(model, count):
    rng = np.random.default_rng(0)
    return [{"images": {c.name: rng.integers(0, 256, (3, c.height, c.width), dtype=np.uint8) for c in model.observation.cameras},
             "state": rng.normal(size=model.observation.state.size).astype(np.float32), "instruction": f"do thing {i}"}
            for i in range(count)]


def plans(model, count, cuts, **options):
    """The action chunks of `count` episodes, planned together in groups of the sizes in `cuts`."""
    controller, seats, seen = Controller(model, **options), [Seat(seed=100 + i) for i in range(count)], observations(model, count)
    start = 0
    for size in cuts:
        controller.plan(seats[start:start + size], seen[start:start + size])
        start += size
    return torch.stack([torch.from_numpy(seat.calls[0].actions) for seat in seats])


def test_rows_are_the_same_however_they_are_batched(tiny):
    together = plans(tiny, 7, [7])
    for cuts in ([1] * 7, [2, 5], [3, 4], [6, 1]):
        assert torch.equal(plans(tiny, 7, cuts), together), cuts


def test_without_lanes_the_batch_shows_or_not_but_only_in_the_last_bits(tiny):
    assert torch.allclose(plans(tiny, 5, [5], lanes=0), plans(tiny, 5, [1] * 5, lanes=0), atol=1e-4)


def test_noise_comes_from_seed_and_call_alone(tiny):
    controller, (seen,) = Controller(tiny), observations(tiny, 1)
    first, second, other = Seat(seed=1), Seat(seed=1), Seat(seed=2)
    for seat in (first, second, other):
        controller.plan([seat], [seen])
    assert np.array_equal(first.calls[0].actions, second.calls[0].actions)
    assert not np.array_equal(first.calls[0].actions, other.calls[0].actions)
    controller.chunk(first, 6)
    controller.plan([first], [seen])
    assert first.calls[1].step == 6 and not np.array_equal(first.calls[1].actions, first.calls[0].actions)
    assert len({noise_seed(s, c) for s in range(20) for c in range(20)}) == 400


def test_evaluations_are_counted(tiny):
    controller, seat = Controller(tiny), Seat(seed=1)
    controller.plan([seat], observations(tiny, 1))
    assert seat.calls[0].evaluations == 5  # the frame once, then two rounds at each of two denoising steps
    assert len(controller.alone_ms) == 1 and controller.alone_ms[0] > 0


def test_chunks_end_where_the_regime_wants_to_look(tiny):
    controller, seat = Controller(tiny), Seat(seed=1)
    assert controller.due(seat)
    controller.plan([seat], observations(tiny, 1))
    assert controller.chunk(seat, 100).shape == (6, 4) and controller.due(seat)
    unlooking, seat = Controller(tiny, OpenLoop.Config().build(8)), Seat(seed=1)
    unlooking.plan([seat], observations(tiny, 1))
    chunk = unlooking.chunk(seat, 20)
    assert chunk.shape == (20, 4) and np.array_equal(chunk[7:], np.repeat(chunk[7:8], 13, axis=0))


def test_bounds():
    inside, outside = np.float32([1.0, 0.25]), np.float32([1.5, -0.1])
    assert within_bounds(inside, SPEC, "error")[1] is False
    action, clipped = within_bounds(outside, SPEC, "clip")
    assert clipped and action.tolist() == [1.0, 0.0]
    with pytest.raises(SpecError, match="left the action bounds"):
        within_bounds(outside, SPEC, "error")
    for bad in (np.float32([np.nan, 0.0]), np.float32([0.0])):
        with pytest.raises(SpecError, match="no action"):
            within_bounds(bad, SPEC, "clip")
