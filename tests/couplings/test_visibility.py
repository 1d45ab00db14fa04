"""The grammar of joint generation: who sees whom, how noise is drawn, in which order, and what becomes of the future when acting."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.axes import Dimensions, SeededNoise, SubstrateForm
from foreact.contract.errors import ConfigError, MisfitError
from foreact.couplings import JointGeneration
from foreact.model import Part
from tiny_members import BACKBONES, SUBSTRATES, alive, config, losses, window

ALONE = {"action": ("frame", "state", "action"), "state": ("frame", "state")}
EACH_OTHER = {"video": ("frame", "video", "state", "action")}
FORM = SubstrateForm(grid=(1, 1, 1), channels=4)
SMALL = Dimensions(view=FORM, forms={"video": FORM}, state=3, action=2, text=8)


def member(**options):
    c = config("JointGeneration")
    return replace(c, coupling=replace(c.coupling, **options))


def united(**options):
    """A net in the manner of UWM."""
    return alive(member(**({"sees": EACH_OTHER, "levels": "independent"} | options)))


def encoded(model, batch=4):
    with torch.no_grad():
        return model.encode_window(window(model.config, batch=batch))


def generate(model, e, noise=None, **options):
    with torch.no_grad():
        return model.coupling.generate(model.backbone, e, noise=noise or SeededNoise([1, 2, 3, 4]), **options)


def other_noise(name):
    """The same noise, but for one stream."""
    seeded = SeededNoise([1, 2, 3, 4])
    return lambda n, shape: seeded(n, shape) * (-1.0 if n == name else 1.0)


def same(one, other, stream):
    values = (p.actions if stream == "action" else p.future["video"] for p in (one, other))
    return torch.equal(*values)


def changed(e, stream):
    """Another clean value of one stream."""
    return replace(e, actions=e.actions + 1) if stream == "action" else replace(e, future={"video": e.future["video"] + 1})


# --- who sees whom ----------------------------------------------------------------------------------------------------------

def test_video_and_action_may_see_each_other():
    # frame, video, state, action
    table = JointGeneration.Config(horizon=1, future_offsets=(1,), sees=EACH_OTHER).layout(SMALL).mask().int().tolist()
    assert table == [[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_the_action_may_see_the_present_alone():
    table = JointGeneration.Config(horizon=1, future_offsets=(1,), sees=ALONE).layout(SMALL).mask().int().tolist()
    assert table == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]]


@pytest.mark.parametrize("sees", [{"acton": ("frame",)}, {"action": ("frame", "acton")}], ids=["stream", "sight"])
def test_a_misspelt_stream_is_told_the_nearest(sees):
    with pytest.raises(ConfigError, match=r"model\.coupling\.sees(.|\n)*acton(.|\n)*did you mean 'action'"):
        JointGeneration.Config(sees=sees).layout(SMALL)


# --- a future that is left out --------------------------------------------------------------------------------------------

def test_an_action_that_sees_the_future_even_at_second_hand_cannot_do_without_it():
    for sees in ({}, {"action": ("frame", "state", "action")}):  # by default the state sees the future
        with pytest.raises(MisfitError, match="cannot do without it"):
            JointGeneration.Config(sees=sees, future_at_test="absent").build(SMALL)


def test_nothing_of_the_future_is_run_when_it_is_left_out():
    model = alive(member(sees=ALONE, future_at_test="absent"))
    run = []
    model.backbone.register_forward_pre_hook(lambda m, args: run.extend(args[0]))
    plan = model.plan(window(model.config).context)
    assert plan.future is None
    assert set(run) == {"frame", "state", "action"}


def test_leaving_the_future_out_changes_no_action_of_a_net_whose_action_does_not_see_it():
    absent, imagined = (alive(member(sees=ALONE, future_at_test=way)) for way in ("absent", "imagined"))
    e = encoded(absent)
    one, other = (m.coupling.propose(m.backbone, e, noise=SeededNoise([1, 2, 3, 4])) for m in (absent, imagined))
    assert torch.equal(one.actions, other.actions)
    assert set(other.future) == {"video"}


def test_training_leaks_nothing_of_the_future_into_an_action_that_does_not_see_it():
    model = alive(member(sees=ALONE, levels="independent"))
    e = encoded(model)
    one, other = (model.coupling.losses(model.backbone, x, train=frozenset({"video", "action"}), generator=torch.Generator().manual_seed(0))
                  for x in (e, changed(e, "video")))
    assert one["action"].item() == other["action"].item()
    assert one["video"].item() != other["video"].item()


def test_the_loss_of_the_video_trains_the_present_that_the_action_reads():
    """Co-training: the keys and values of the present get gradient from both losses."""
    c = member(sees=ALONE, levels="independent")
    model = alive(replace(c, backbone=BACKBONES["DiffusionTransformer"]))
    found = losses(model, window(model.config))
    embed = model.backbone.stack.experts["all"].embed["frame"].weight
    assert all(torch.autograd.grad(found[n], embed, retain_graph=True)[0].abs().max() > 0 for n in ("video", "action"))


def test_a_future_left_as_noise_is_not_proposed_and_stays_noise():
    model = united(future_at_test="noise")
    e = encoded(model)
    with torch.no_grad():
        plan = model.coupling.propose(model.backbone, e, noise=SeededNoise([1, 2, 3, 4]))
    assert plan.future == {}
    assert same(plan, generate(model, e, unknown=("video",)), "action")
    assert not same(plan, generate(model, e), "action")


# --- one net, four models ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("cached", [True, False], ids=["cached", "uncached"])
@pytest.mark.parametrize("space", ["frames", "changes"])
def test_what_is_given_comes_back_and_drives_the_rest(space, cached):
    """Forward dynamics (action given) and inverse dynamics (video given)."""
    model = united(video_space=space)
    e = encoded(model)
    for given, asked in (("action", "video"), ("video", "action")):
        one, other = (generate(model, x, given=(given,), cached=cached) for x in (e, changed(e, given)))
        back = one.actions if given == "action" else one.future["video"]
        true = e.actions if given == "action" else e.future["video"]
        if space == "frames" or given == "action":
            assert torch.equal(back, true)
        else:  # the present is taken off and added again, which rounds
            assert torch.allclose(back, true, atol=1e-5)
        assert not same(one, other, asked)
        assert same(one, generate(model, e, noise=other_noise(given), given=(given,), cached=cached), asked)
        hidden = generate(model, changed(e, asked), given=(given,), cached=cached)
        assert same(one, hidden, asked), "what is asked for is made from noise, not from its true value"


def test_what_is_unknown_has_no_influence_by_its_true_value():
    """Policy (video unknown) and video model (action unknown)."""
    model = united()
    e = encoded(model)
    for unknown, asked in (("video", "action"), ("action", "video")):
        one, other = (generate(model, x, unknown=(unknown,)) for x in (e, changed(e, unknown)))
        assert same(one, other, asked)
        assert not same(one, generate(model, e), asked), "an unknown stream is another condition than an imagined one"
    assert generate(model, e, unknown=("video",)).future == {}


def test_unknown_streams_stay_at_the_noise_they_began_with():
    model = united()
    e = encoded(model)
    found = generate(model, e, unknown=("action",))
    assert torch.equal(found.actions, SeededNoise([1, 2, 3, 4])("action", (8, 2)))


def test_actions_are_answered_with_their_consequences_where_the_video_sees_them():
    model = united()
    e = encoded(model)
    noise = SeededNoise([1, 2, 3, 4])
    with torch.no_grad():
        one, other = (model.coupling.respond(model.backbone, e, e.actions + by, noise=noise)["video"] for by in (0.0, 1.0))
        assert not torch.allclose(one, other, atol=1e-3)
        blind = alive(config("JointGeneration"))
        assert blind.coupling.respond(blind.backbone, e, e.actions, noise=noise) == {}


# --- video without actions --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("levels", ["shared", "independent", "per-frame"])
def test_hidden_actions_bear_on_no_loss_to_the_last_bit(levels):
    model = united(levels=levels)
    w = replace(window(model.config), has_action=torch.tensor([True, False, True, False]))
    nonsense = replace(w, actions=torch.where(w.has_action[:, None, None], w.actions, 50.0))
    shown = replace(w, has_action=torch.ones(4, dtype=torch.bool))
    with torch.no_grad():
        one, other, full = (losses(model, x) for x in (w, nonsense, shown))
    assert {n: v.item() for n, v in one.items()} == {n: v.item() for n, v in other.items()}
    assert one["action"].item() != full["action"].item()
    assert one["video"].item() != full["video"].item(), "the video still learns from such rows, with actions of pure noise"


def test_a_batch_of_video_alone_has_an_action_loss_of_zero():
    model = united()
    found = losses(model, replace(window(model.config), has_action=torch.zeros(4, dtype=torch.bool)))
    assert found["action"].item() == 0.0
    assert found["video"].item() > 0
    (gradient,) = torch.autograd.grad(found["video"] + found["action"], model.backbone.stack.experts["action"].unembed["action"].weight)
    assert torch.equal(gradient, torch.zeros_like(gradient))


# --- noise levels and order -------------------------------------------------------------------------------------------------

def levels_of(model):
    """The noise levels that one training step shows the backbone."""
    seen = {}
    model.backbone.register_forward_pre_hook(lambda m, args, options: seen.update(options["sigma"]), with_kwargs=True)
    losses(model, window(model.config))
    return seen


def test_each_frame_has_a_noise_level_of_its_own():
    video = levels_of(alive(member(levels="per-frame")))["video"]
    frames = video.unflatten(1, (2, -1))
    assert torch.equal(frames, frames[:, :, :1].expand_as(frames)), "one level for all tokens of a frame"
    assert (frames[:, 0, 0] != frames[:, 1, 0]).all()


@pytest.mark.parametrize(("levels", "equal"), [("shared", True), ("independent", False)])
def test_streams_share_a_noise_level_or_do_not(levels, equal):
    found = levels_of(alive(member(levels=levels)))
    assert found["video"].shape == found["action"].shape == (4,)
    assert torch.equal(found["video"], found["action"]) == equal


@pytest.mark.parametrize("order", ["together", "action-first", "future-first"])
def test_streams_are_finished_in_the_stated_order(order):
    model = united(order=order)
    seen = []
    model.backbone.register_forward_pre_hook(
        lambda m, args, options: seen.append({n: round(float(s[0]), 3) for n, s in options["sigma"].items()}), with_kwargs=True)
    generate(model, encoded(model))
    levels = [s for s in seen if {"video", "action"} <= set(s)]
    whole = [1.0, 0.667, 0.333]
    early, late = [*whole, *[0.0] * 3], [*[1.0] * 3, *whole]
    expected = {"together": (whole, whole), "action-first": (late, early), "future-first": (early, late)}[order]
    # what stands still at the joint of the halves is shown once as finished and once as not begun
    assert [s["video"] for s in levels][: len(whole)] == expected[0][: len(whole)]
    assert [s["action"] for s in levels][: len(whole)] == expected[1][: len(whole)]
    assert [s["video"] for s in levels][-3:] == expected[0][-3:]
    assert [s["action"] for s in levels][-3:] == expected[1][-3:]


# --- parts beside the main one ----------------------------------------------------------------------------------------------

def test_parts_beside_the_main_one_are_denoised_trained_and_seen():
    c = config("JointGeneration")
    model = alive(replace(c, beside=(Part(name="features", substrate=SUBSTRATES["FrozenFeatures"]),)))
    w = window(model.config)
    assert set(losses(model, w)) == {"video", "features", "action"}
    e = encoded(model)
    one, other = (generate(model, e, noise=n) for n in (None, other_noise("features")))
    assert set(one.future) == {"video", "features"}
    assert not same(one, other, "video")
    assert not same(one, other, "action")


def test_a_part_may_be_hidden_from_the_rest():
    c = member(sees={"video": ("frame", "video"), "action": ("frame", "video", "state", "action"), "state": ("frame", "state")})
    model = alive(replace(c, beside=(Part(name="features", substrate=SUBSTRATES["FrozenFeatures"]),)))
    e = encoded(model)
    one, other = (generate(model, e, noise=n) for n in (None, other_noise("features")))
    assert same(one, other, "action")
    assert same(one, other, "video")
    assert not torch.equal(one.future["features"], other.future["features"])


def test_all_that_nothing_noised_reaches_is_computed_once():
    model = alive(member(sees=ALONE, future_at_test="absent"))
    run = []
    model.backbone.register_forward_pre_hook(lambda m, args: run.append(tuple(args[0])))
    e = encoded(model)
    one = generate(model, e, left_out=("video",))
    assert run == [("frame", "state"), *[("action",)] * 3]
    other = generate(model, e, left_out=("video",), cached=False)
    # the same sums over the same keys, blocked differently: float32 rounding carried through three steps
    assert torch.allclose(one.actions, other.actions, atol=1e-4)
