"""Inverse dynamics: each gap's actions come from its two pictures alone, and a motion is learnt from pictures."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.axes import Dimensions, SubstrateForm
from foreact.contract.errors import MisfitError
from foreact.couplings import ActionExpert, InverseDynamics
from foreact.nets.head import Readable
from tiny_members import ACTION, OBSERVATION, config

FORM = SubstrateForm(grid=(1, 2, 2), channels=3)
READABLE = Readable(dimensions=Dimensions(view=FORM, forms={"video": FORM}, state=3, action=2, text=8), horizon=7, offsets=(3, 7),
                    futures={"video": FORM})


def net(seed=0):
    torch.manual_seed(seed)
    return InverseDynamics.Config(width=16, hidden=32, channels=4, noise=0.0).build(READABLE)


def test_each_gap_is_read_from_its_two_pictures_alone_and_the_state_from_the_first():
    model, frames, state = net(), torch.randn(2, 3, 4, 3), torch.randn(2, 3)
    with torch.no_grad():
        plain = model(frames, state)
        last = frames.clone()
        last[:, 2] += 1
        later, told = model(last, state), model(frames, state + 1)
    assert plain.shape == (2, 7, 2)
    assert torch.equal(plain[:, :3], later[:, :3])
    assert not torch.allclose(plain[:, 3:], later[:, 3:], atol=1e-4)
    assert not torch.allclose(plain[:, :3], told[:, :3], atol=1e-4)
    assert torch.equal(plain[:, 3:], told[:, 3:])


def test_one_net_serves_every_gap():
    model = net()
    frames, state = torch.randn(1, 4, 3), torch.zeros(1, 3)
    with torch.no_grad():
        model.state.weight.zero_()
        model.unknown_state.copy_(model.state.bias)
        found = model(torch.stack([frames, frames + 1, frames], dim=1), state)
        other = model(torch.stack([frames + 1, frames, frames + 1], dim=1), state)
    assert torch.allclose(found[:, :3], other[:, 3:6], atol=1e-6)


def test_it_learns_how_far_a_picture_moved():
    """The brightness of one token is the position; the action of a gap is the change of position over its steps."""
    model = net()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)

    def batch(seed, count=64):
        g = torch.Generator().manual_seed(seed)
        place = torch.rand(count, 3, generator=g)
        frames = torch.rand(count, 1, 4, 3, generator=g).repeat(1, 3, 1, 1)
        frames[:, :, 1, 0] = place
        speed = (place[:, 1:] - place[:, :-1]) / torch.tensor([3.0, 4.0])
        return frames, torch.cat([speed[:, :1].repeat(1, 3), speed[:, 1:].repeat(1, 4)], dim=1)[..., None].repeat(1, 1, 2)

    state = torch.zeros(64, 3)
    for step in range(250):
        frames, actions = batch(step)
        optimiser.zero_grad()
        (model(frames, state) - actions).square().mean().backward()
        optimiser.step()
    with torch.no_grad():
        frames, actions = batch(10_000)
        assert (model(frames, state) - actions).square().mean() < 0.1 * actions.var()


def test_a_future_that_is_not_in_the_presents_space_or_ends_elsewhere_is_refused():
    apart = replace(READABLE, dimensions=replace(READABLE.dimensions, in_view=frozenset()))
    for readable in (apart, replace(READABLE, horizon=8), replace(READABLE, futures={})):
        with pytest.raises(MisfitError, match="in the space of the present"):
            InverseDynamics.Config().build(readable)


def test_its_baseline_is_a_policy_on_the_present():
    bare = config("PostPredictionHead:inverse").without_future()
    assert isinstance(bare.coupling.head, ActionExpert.Config)
    bare.build(OBSERVATION, ACTION)
