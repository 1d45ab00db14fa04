"""Alignment of hidden states: the two losses by hand, and one override that reaches every family of recipe."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.errors import ConfigError, MisfitError
from foreact.objectives.alignment import relational_alignment
from foreact.objectives.representation import Alignment, aligned_layers
from tiny_members import OBSERVATION, SUBSTRATES, alive, build, config, context, losses, window

TEACHER = SUBSTRATES["FrozenFeatures"]
ORACLE = SUBSTRATES["SemanticMasks"]


def aligned(coupling="JointGeneration", *, teacher=TEACHER, **options):
    return replace(config(coupling), alignment=Alignment.Config(teacher=teacher, **options))


def test_layers_are_shares_of_the_depth():
    assert aligned_layers((1 / 3,), 24) == (8,)
    assert aligned_layers((1 / 2,), 30) == (15,)
    assert aligned_layers((1 / 6, 1 / 3, 1 / 2), 24) == (4, 8, 12)
    assert aligned_layers((0.01,), 4) == (1,)


def test_the_relational_loss_knows_no_basis():
    """A rotated teacher has the same structure; a shuffled one does not."""
    g = torch.Generator().manual_seed(0)
    teacher = torch.randn(3, 8, 16, generator=g)
    turn = torch.linalg.qr(torch.randn(16, 16, generator=g))[0]
    keep = torch.ones(3, dtype=torch.bool)
    assert relational_alignment(2.5 * teacher @ turn, teacher, keep) == pytest.approx(0, abs=1e-10)
    assert relational_alignment(teacher.flip(1), teacher, keep) > 0.01
    one = teacher[:1, :2]
    cosine = torch.cosine_similarity(one[0, 0], one[0, 1], dim=0)
    same = torch.ones(1, 2, 16)
    assert relational_alignment(same, one, keep[:1]).item() == pytest.approx((2 * (1 - cosine) ** 2 / 4).item(), rel=1e-4)


def test_frames_past_the_end_do_not_count():
    g = torch.Generator().manual_seed(0)
    teacher, ours = torch.randn(2, 4, 8, generator=g), torch.randn(2, 4, 8, generator=g)
    first = relational_alignment(ours[:1], teacher[:1], torch.ones(1, dtype=torch.bool))
    assert relational_alignment(ours, teacher, torch.tensor([True, False])).item() == pytest.approx(first.item(), rel=1e-5)


@pytest.mark.parametrize("coupling", ["JointGeneration", "PostPredictionHead:denoised", "PostPredictionHead:tapped", "StreamedChunks",
                                      "ConditionedRollout:denoised", "FutureTokens", "LatentFrames", "JointAutoregression",
                                      "JointAutoregression:regressed"])
def test_one_override_reaches_every_family(coupling):
    model = alive(aligned(coupling))
    found = losses(model, window(model.config))
    plain = losses(alive(config(coupling)), window(model.config))
    assert set(found) == set(plain) | {"alignment"}
    assert found["alignment"].isfinite()
    found["alignment"].backward()
    moved = {name.partition(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {"backbone", "alignment"} <= moved
    assert "teacher" not in moved  # a coupling may have a part of its own before the backbone, never behind it


def test_nothing_of_it_runs_when_acting():
    model = alive(aligned())
    called = []
    for name in ("teacher", "alignment"):
        getattr(model, name).register_forward_hook(lambda *_, name=name: called.append(name))
    plain = model.teacher.encode
    model.teacher.encode = lambda *arguments: called.append("encode") or plain(*arguments)
    model.plan(context(model.config))
    assert called == []
    losses(model, window(model.config))
    assert set(called) == {"alignment", "encode"}


def test_other_losses_are_left_as_they_are():
    """Hearing changes nothing that is computed."""
    torch.manual_seed(0)
    model = alive(aligned())
    found = losses(model, window(model.config))
    without = model.coupling.losses(model.backbone, model.encode_window(window(model.config)), train=frozenset({"video", "action"}),
                                    generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(found[name], without[name]) for name in without)
    assert not model.backbone._forward_pre_hooks


@pytest.mark.parametrize("coupling", ["JointGeneration", "PostPredictionHead:tapped"])
def test_validation_measures_the_same(coupling):
    model = alive(aligned(coupling))
    learnt = losses(model, window(model.config))
    with torch.no_grad():
        measured = losses(model, window(model.config))
    # without gradients attention is another kernel: the same sums in another order
    torch.testing.assert_close(measured["alignment"], learnt["alignment"].detach(), atol=1e-5, rtol=1e-4)


def test_it_belongs_to_stages_that_train_video():
    model = alive(aligned())
    assert set(losses(model, window(model.config), train=("video",))) == {"video", "alignment"}


@pytest.mark.parametrize(("teacher", "stream"), [("SemanticMasks", "video"), ("Depth", "video"), ("FrozenFeatures", "frame"),
                                                 ("PixelLatents", "video")])
def test_every_substrate_can_teach(teacher, stream):
    c = aligned(teacher=SUBSTRATES[teacher], stream=stream)
    assert set(SUBSTRATES[teacher].needs(OBSERVATION)) <= set(c.needs(OBSERVATION))
    assert losses(alive(c), window(c))["alignment"] > 0


def test_several_layers_have_projections_of_their_own():
    model = build(aligned(layers=(0.5, 1.0)))
    assert len(model.alignment.project) == 2
    assert losses(model, window(model.config))["alignment"].isfinite()


def test_training_aligns():
    """The relational loss falls on windows that are seen again and again."""
    c = aligned(weight=1.0)
    model, seen = build(c), window(c, batch=4)
    optimiser = torch.optim.Adam([p for _, p in model.parameters_to_train()], lr=3e-3)
    first = losses(model, seen)["alignment"].item()
    for step in range(80):
        optimiser.zero_grad()
        losses(model, seen, seed=step)["alignment"].backward()
        optimiser.step()
    assert losses(model, seen)["alignment"].item() < 0.5 * first


def test_the_grids_are_matched_camera_by_camera():
    model = build(aligned())
    alignment = model.alignment
    cameras, rows, columns = alignment._from
    hidden = torch.arange(cameras, dtype=torch.float32)[:, None].expand(-1, rows * columns).reshape(1, -1, 1)
    out = alignment._resampled(hidden).reshape(cameras, -1)
    assert torch.equal(out, torch.arange(cameras, dtype=torch.float32)[:, None].expand_as(out))


def test_what_does_not_fit_is_refused():
    with pytest.raises(MisfitError, match=r"alignment\.stream"):
        build(aligned(stream="action"))
    with pytest.raises(ConfigError, match="shares of the depth"):
        Alignment.Config(teacher=TEACHER, layers=(0.0,))
    with pytest.raises(ConfigError, match="one of the two losses counts"):
        Alignment.Config(teacher=TEACHER, patchwise=0.0, relational=0.0)


def test_the_baseline_is_not_aligned():
    assert aligned().without_future().alignment is None
