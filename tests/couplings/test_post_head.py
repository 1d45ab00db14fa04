"""Post-prediction head: who sees whom as a table, what the head reads, where its gradient ends."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.axes import Dimensions, SeededNoise, SubstrateForm
from foreact.contract.errors import ConfigError
from foreact.couplings import PostPredictionHead
from foreact.nets.action_expert import ActionExpert
from foreact.nets.head import Reading
from tiny_members import ACTION, OBSERVATION, alive, build, config, losses, window

FORM = SubstrateForm(grid=(1, 1, 2), channels=4)
SMALL = Dimensions(view=FORM, forms={"video": FORM}, state=3, action=2, text=8)


def test_who_sees_whom():
    # frame, frame, video at 24, video at 48
    layout = PostPredictionHead.Config(future_offsets=(24, 48)).layout(SMALL)
    assert layout.mask().int().tolist() == [[1, 1, 0, 0, 0, 0]] * 2 + [[1] * 6] * 4
    assert layout.times("video").tolist() == [1.0, 1.0, 2.0, 2.0]
    assert layout.noise_groups == ()
    assert [s.target for s in layout.streams] == [None, "sample"]


def test_before_training_the_future_is_the_present():
    model = build(config("PostPredictionHead"))
    with torch.no_grad():
        e = model.encode_window(window(model.config))
        future = model.coupling.propose(model.backbone, e, noise=SeededNoise([0] * 4)).future["video"]
    assert torch.equal(future, e.frame[:, None].expand_as(future))


def test_the_loss_of_the_future_is_the_mean_square_of_its_error():
    model = alive(config("PostPredictionHead"))
    w = window(model.config)
    with torch.no_grad():
        e = model.encode_window(w)
        future = model.coupling.propose(model.backbone, e, noise=SeededNoise([0] * 4)).future["video"]
        assert losses(model, w)["video"].item() == pytest.approx((future - e.future["video"]).square().mean().item(), rel=1e-5)


def test_the_action_loss_ends_at_the_predicted_future():
    model = alive(config("PostPredictionHead"))
    losses(model, window(model.config))["action"].backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(p.grad is not None for p in model.coupling.head.parameters())


def test_the_action_uses_the_predicted_future():
    model = alive(config("PostPredictionHead"))
    with torch.no_grad():
        e = model.encode_window(window(model.config))
        proposal = model.coupling.propose(model.backbone, e, noise=SeededNoise([1, 2, 3, 4]))
        future, head = proposal.future["video"], model.coupling.head
        one, other, later = (head.act(Reading(context=e, futures={"video": f}), noise=SeededNoise([1, 2, 3, 4]))
                             for f in (future, torch.zeros_like(future), future.flip(1)))
    assert torch.equal(one, proposal.actions), "the head reads the future that the plan shows"
    assert not torch.allclose(one, other, atol=1e-3)
    assert not torch.allclose(one, later, atol=1e-3), "the head must tell one offset from another"


def test_evaluations_are_counted_by_network():
    c = config("PostPredictionHead")
    w = window(c)
    assert dict(build(c).plan(w.context).cost.evaluations) == {"backbone": 1, "coupling.head": 3}
    assert dict(build(c.without_future()).plan(w.context).cost.evaluations) == {"coupling.head": 3}
    solver = replace(c, coupling=replace(c.coupling, head=replace(c.coupling.head, solver="heun")))
    assert dict(build(solver).plan(w.context).cost.evaluations) == {"backbone": 1, "coupling.head": 5}


def test_nonsense_is_refused():
    with pytest.raises(ConfigError, match="multiple of the head's steps per token"):
        replace(config("PostPredictionHead"), coupling=PostPredictionHead.Config(horizon=10)).build(OBSERVATION, ACTION)
    with pytest.raises(ConfigError, match="future offsets must rise"):
        PostPredictionHead.Config(future_offsets=(0, 24))
    with pytest.raises(ConfigError, match="heads of even size"):
        ActionExpert.Config(width=100, heads=3)
