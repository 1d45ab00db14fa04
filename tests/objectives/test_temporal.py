"""Consistency over time: the loss by hand, one word that reaches every family of recipe, and no cost when acting."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from foreact.contract.config import apply_overrides, decode, encode
from foreact.contract.errors import ConfigError, MisfitError
from foreact.model import WorldActionModel
from foreact.objectives.representation import Alignment
from foreact.objectives.temporal import TemporalConsistency, info_nce
from tiny_members import COUPLINGS, SUBSTRATES, alive, build, config, context, losses, window


def consistent(coupling="JointGeneration", substrate="PixelLatents", **options):
    return replace(config(coupling, substrate), temporal=TemporalConsistency.Config(**options))


def directions(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_the_loss_is_cross_entropy_in_both_directions():
    now, later = directions(5, 8), directions(5, 8, seed=1)
    logits, match = now @ later.T / 0.2, torch.arange(5)
    by_hand = (F.cross_entropy(logits, match) + F.cross_entropy(logits.T, match)) / 2
    assert info_nce(now, later, torch.ones(5, dtype=torch.bool), 0.2).item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_frames_past_the_end_are_neither_match_nor_others():
    now, later, keep = directions(5, 8), directions(5, 8, seed=1), torch.tensor([True, True, False, True, False])
    found = info_nce(now, later, keep, 0.2)
    changed = torch.where(keep[:, None], later, directions(5, 8, seed=2))
    assert info_nce(now, changed, keep, 0.2).item() == pytest.approx(found.item(), rel=1e-6)
    logits = now @ later.T / 0.2
    which = F.cross_entropy(logits[keep][:, keep], torch.arange(3))
    whose = F.cross_entropy(logits.T[keep], torch.tensor([0, 1, 3]))
    assert found.item() == pytest.approx(((which + whose) / 2).item(), rel=1e-5)
    assert info_nce(now, later, torch.zeros(5, dtype=torch.bool), 0.2).item() == 0.0
    assert info_nce(now[:1], later[:1], keep[:1], 0.2).item() == 0.0


def test_it_is_low_where_windows_are_told_apart_and_high_where_they_are_mixed():
    """Each camera has a direction for each window, and the projections are the identity."""
    size = SUBSTRATES["PixelLatents"].form(build(consistent()).observation)
    c = TemporalConsistency.Config(features=8, layers=(1.0,))
    temporal = c.build(size, size, (size.tokens, size.tokens), (8, 8), 1)
    temporal.present["1"], temporal.future["1"] = torch.nn.Identity(), torch.nn.Identity()
    address = torch.eye(8)[:6].view(3, 2, 1, 8).expand(-1, -1, size.tokens // 2, -1).flatten(1, 2)  # window, camera, token
    future, keep = address.repeat(1, 2, 1), torch.ones(3, 2, dtype=torch.bool)
    told_apart = temporal([address], [future], keep)
    mixed = temporal([address], [future.roll(1, dims=0)], keep)
    swapped = temporal([address], [future.unflatten(1, (2, 2, -1)).flip(2).flatten(1, 3)], keep)  # one camera's for the other's
    assert told_apart < 1e-4 < 0.05 < swapped < mixed


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_one_word_reaches_every_coupling(coupling):
    model = alive(consistent(coupling))
    seen = window(model.config)
    found, plain = losses(model, seen), losses(alive(config(coupling)), seen)
    assert set(found) == set(plain) | {"temporal"}
    assert found["temporal"].isfinite() and found["temporal"] > 0
    found["temporal"].backward()
    moved = {name.partition(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved >= {"backbone", "temporal"}
    with torch.no_grad():
        # without gradients attention is another kernel: the same sums in another order
        torch.testing.assert_close(losses(model, seen)["temporal"], found["temporal"].detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("substrate", ["PointTracks", "MelLatents", "Depth"])
def test_futures_that_lie_on_another_grid_are_pooled_whole(substrate):
    model = alive(consistent(substrate=substrate))
    assert losses(model, window(model.config))["temporal"].isfinite()


def test_it_stands_beside_an_alignment():
    alignment = Alignment.Config(teacher=SUBSTRATES["FrozenFeatures"], stream="frame", layers=(0.5,))
    c = replace(consistent(layers=(0.5, 1.0)), alignment=alignment)
    model = alive(c)
    both, seen = losses(model, window(c)), window(c)
    for name, other in (("alignment", "temporal"), ("temporal", "alignment")):
        alone = build(replace(c, **{other: None}))
        alone.load_state_dict({n: x for n, x in model.state_dict().items() if n in alone.state_dict()})
        assert torch.equal(losses(alone, seen)[name], both[name])
    assert not {"alignment", "temporal"} & set(losses(model, seen, train=("action",)))


def test_nothing_of_it_runs_when_acting():
    model = alive(consistent())
    plain = build(config("JointGeneration"))
    plain.load_state_dict({n: x for n, x in model.state_dict().items() if not n.startswith("temporal.")})
    called = []
    for module in model.temporal.modules():
        module.register_forward_hook(lambda *_: called.append(1))
    seen = context(model.config)
    assert torch.equal(model.plan(seen).actions, plain.plan(seen).actions)
    assert not called
    losses(model, window(model.config))
    assert called


def test_training_makes_the_windows_known():
    c = consistent(weight=1.0)
    model, seen = build(c), window(c, batch=8)
    optimiser = torch.optim.Adam([p for _, p in model.parameters_to_train()], lr=3e-3)
    first = losses(model, seen)["temporal"].item()
    for step in range(60):
        optimiser.zero_grad()
        losses(model, seen, seed=step)["temporal"].backward()
        optimiser.step()
    assert losses(model, seen, seed=99)["temporal"].item() < 0.3 * first


def test_a_config_without_it_is_read_as_ever():
    c = config("JointGeneration")
    saved = json.loads(json.dumps(encode(c)))
    assert saved.pop("temporal") is None
    assert decode(WorldActionModel.Config, saved) == c
    assert apply_overrides(c, ["temporal=TemporalConsistency"]) == consistent()
    assert decode(WorldActionModel.Config, encode(consistent())) == consistent()
    assert consistent().without_future().temporal is None


def test_what_does_not_fit_is_refused():
    with pytest.raises(MisfitError, match="nothing to be consistent over time"):
        build(replace(consistent(), coupling=COUPLINGS["JointGeneration"].without_future()))
    with pytest.raises(ConfigError, match="shares of the depth"):
        TemporalConsistency.Config(layers=())
    with pytest.raises(ConfigError, match="temperature is positive"):
        TemporalConsistency.Config(temperature=0.0)
