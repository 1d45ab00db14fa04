"""Joint autoregression: the order of the stream, what is fed back, and how each kind of token is drawn."""

import math
from dataclasses import replace

import pytest
import torch

from foreact.contract.axes import Reader, SeededNoise
from foreact.contract.errors import MisfitError
from foreact.couplings.autoregression import JointAutoregression, draw_codes
from foreact.nets.resampler import Resampler
from foreact.nets.token_diffusion import TokenDiffusion
from foreact.regimes import SingleStep
from tiny_members import ACTION, OBSERVATION, alive, build, config, losses, window

EVERY = ["JointAutoregression", "JointAutoregression:drawn", "JointAutoregression:regressed"]


def encoded(model, **options):
    with torch.no_grad():
        return model.encode_window(window(model.config, **options))


def propose(model, e, seeds=(1, 2, 3, 4)):
    with torch.no_grad():
        return model.coupling.propose(model.backbone, e, noise=SeededNoise(seeds))


def test_the_mask_is_the_one_written_by_hand():
    c = JointAutoregression.Config(horizon=2, future_offsets=(1, 2), history=2, past_actions=1, resampler=Resampler.Config(tokens=1))
    whole = config("JointAutoregression")
    dimensions = whole.dimensions(OBSERVATION, ACTION)
    one = replace(dimensions.forms["video"], grid=(1, 1, 1))
    layout = c.layout(replace(dimensions, forms={"video": one}))
    assert layout.names == ("frame", "state", "past", "video", "video_back", "action")
    expected = """
        f0 f1 s0 s1 p v1 v2 b1 b2 a0 a1
    f0  x  .  x  .  . .  .  .  .  .  .
    f1  x  x  x  x  x .  .  .  .  .  .
    s0  x  .  x  .  . .  .  .  .  .  .
    s1  x  x  x  x  x .  .  .  .  .  .
    p   x  .  x  .  x .  .  .  .  .  .
    v1  x  x  x  x  x x  .  .  .  .  .
    v2  x  x  x  x  x x  x  x  .  .  .
    b1  x  x  x  x  x .  .  x  .  .  .
    b2  x  x  x  x  x .  .  x  x  .  .
    a0  x  x  x  x  x .  .  x  x  x  .
    a1  x  x  x  x  x .  .  x  x  x  x"""
    table = [[cell == "x" for cell in row.split()[1:]] for row in expected.strip("\n").splitlines()[1:]]
    assert layout.mask().tolist() == table


@pytest.mark.parametrize("name", EVERY)
def test_the_frame_after_next_does_not_reach_the_next_one(name):
    """The first frame is asked for before the second exists, and neither hears of the action."""
    model = alive(config(name))
    e = encoded(model)
    changed = replace(e, reader=Reader(through=lambda stream, values, sigma: values + 2))
    before, after = propose(model, e), propose(model, changed)
    assert torch.equal(before.future["video"][:, 0], after.future["video"][:, 0])
    assert not torch.allclose(before.future["video"][:, 1], after.future["video"][:, 1], atol=1e-4)
    assert not torch.allclose(before.actions, after.actions, atol=1e-4)


@pytest.mark.parametrize("name", EVERY)
def test_element_by_element_on_the_true_frames_is_the_whole_stream_at_once(name):
    """Fed the true frames, the walk with its cache gives what teacher forcing gives in one pass."""
    model = alive(config(name))
    e = encoded(model)
    true = iter(e.future["video"].unbind(dim=1))
    e = replace(e, reader=Reader(through=lambda stream, values, sigma: values if values.shape[1] > 1 else next(true)[:, None]))
    with torch.no_grad():
        once = model.coupling._forced(model.backbone, replace(e, reader=Reader()), acts=True)
        walked, _ = model.coupling._walk(model.backbone, e, noise=SeededNoise((1, 2, 3, 4)), acts=True)
    assert set(once) == set(walked) == {"video", "action"}
    for stream, value in once.items():
        # the same products in other shapes: float32 rounding, measured below 5e-6
        assert torch.allclose(value, walked[stream], atol=5e-5), stream


@pytest.mark.parametrize("name", EVERY[:2])
def test_the_history_reaches_the_plan_and_says_what_lies_before_the_episode(name):
    model = alive(config(name))
    e = encoded(model)
    plan = propose(model, e)
    past = torch.arange(e.history.shape[1]) < e.history.shape[1] - 1
    for changed in (replace(e, history=torch.where(past[None, :, None, None], e.history + 1, e.history)),
                    replace(e, states=torch.where(past[None, :, None], e.states + 1, e.states)),
                    replace(e, history_is_pad=past.expand(4, -1))):
        assert not torch.allclose(plan.actions, propose(model, changed).actions, atol=1e-5)


def test_actions_carried_out_are_read_where_they_are_asked_for():
    model = alive(config("JointAutoregression:drawn"))
    e = encoded(model)
    assert e.past_actions.shape == (4, 2, 2)
    plan = propose(model, e)
    assert not torch.allclose(plan.actions, propose(model, replace(e, past_actions=e.past_actions + 1)).actions, atol=1e-5)


def test_a_history_must_be_what_the_regime_looks_at():
    c = config("JointAutoregression")
    with pytest.raises(MisfitError, match="3 steps apart; the regime calls every 1"):
        replace(c, regime=SingleStep.Config()).check(OBSERVATION, ACTION)
    replace(c, regime=SingleStep.Config(), coupling=replace(c.coupling, history_stride=1)).check(OBSERVATION, ACTION)


def test_it_asks_for_a_causal_trunk_and_for_taps_where_it_draws():
    plain = JointAutoregression.Config()
    assert plain.requires() == {"causal"}
    assert replace(plain, video_detokenizer=TokenDiffusion.Config()).requires() == {"causal", "taps"}


@pytest.mark.parametrize("name", EVERY)
def test_codes_are_learnt_by_cross_entropy_and_come_out_as_codes(name):
    c = config(name, "DiscreteTokens")
    # the trunk's outputs begin at zero, so every code is as likely as every other: -log(1 / 12)
    assert losses(build(c), window(c))["video"].item() == pytest.approx(math.log(12), rel=1e-5)
    model = alive(c)
    e = encoded(model)
    one, again, other = (propose(model, e, seeds=s).future["video"] for s in ((1, 2, 3, 4), (1, 2, 3, 4), (5, 6, 7, 8)))
    assert torch.equal(one.sum(dim=-1), torch.ones(4, 2, 8))
    assert set(one.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_drawn_codes_follow_the_softmax():
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0])
    noise = torch.randn(40_000, 4, generator=torch.Generator().manual_seed(0))
    for temperature in (1.0, 0.5):
        share = draw_codes(logits.expand(40_000, 4), noise, temperature=temperature).mean(dim=0)
        assert torch.allclose(share, (logits / temperature).softmax(dim=0), atol=0.01)
    assert draw_codes(logits.expand(100, 4), noise[:100], temperature=0.0)[:, 2].all()


def test_a_diffusion_head_learns_two_modes_where_regression_gives_their_mean():
    """Tokens are +1 or -1, whatever the hidden state: drawn ones must be near the two, and not near 0."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    head = TokenDiffusion.Config(width=32, depth=2, draws=4, steps=12).build(4, 1)
    optimiser = torch.optim.Adam(head.parameters(), lr=3e-3)
    hidden = torch.zeros(64, 1, 4)
    for _ in range(250):
        clean = torch.randint(0, 2, (64, 1, 1), generator=g) * 2.0 - 1
        optimiser.zero_grad()
        head.loss(hidden, clean, generator=g).mean().backward()
        optimiser.step()
    with torch.no_grad():
        drawn = head.draw(torch.zeros(400, 1, 4), torch.randn(400, 1, 1, generator=g)).flatten()
    assert 0.35 < (drawn > 0).float().mean() < 0.65
    assert (drawn.abs() - 1).abs().median() < 0.15
