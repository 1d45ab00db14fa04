"""Where the four axes meet: misfits are refused by name, the two walks run, units come back."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from foreact.contract.axes import SeededNoise
from foreact.contract.config import apply_overrides, decode, encode
from foreact.contract.context import fake_context
from foreact.contract.errors import MisfitError, SpecError
from foreact.contract.normalisation import FeatureStatistics
from foreact.contract.specs import CameraSpec
from foreact.model import WorldActionModel
from tiny_members import (
    ACTION,
    BACKBONES,
    CHANCELESS,
    COUPLINGS,
    FITTING,
    IN_VIEW,
    OBSERVATION,
    REGIMES,
    SUBSTRATES,
    alive,
    build,
    config,
    context,
    losses,
    takes,
    window,
)


def demand(regime):
    """What a regime asks of the model: a memory, and how far apart its calls are."""
    return type(REGIMES[regime]).owner.persistent, REGIMES[regime].period()


ALIKE = {demand(name): name for name in reversed(REGIMES)}
COMBINED = [(regime, substrate) for substrate in sorted(SUBSTRATES) for regime in sorted(REGIMES)
            if substrate == "PixelLatents" or regime in ALIKE.values()]
"""Regimes that ask the same make the same model: one of them meets every substrate."""


@pytest.mark.parametrize(("regime", "substrate"), COMBINED)
@pytest.mark.parametrize("coupling", sorted(COUPLINGS))
def test_every_combination_that_fits_trains_and_plans(coupling, substrate, regime):
    if coupling in IN_VIEW and not type(SUBSTRATES[substrate]).owner.per_frame:
        pytest.skip("these do not fit")
    c = config(coupling, substrate, regime)
    if type(c.regime).owner.persistent and not type(c.coupling).owner.persistent:
        with pytest.raises(MisfitError, match="carries a memory from call to call"):
            build(c)
        return
    if c.regime.inpaints and not c.coupling.inpaints:
        with pytest.raises(MisfitError, match=r"denoises no actions(.|\n)*model.regime.compensation=drop"):
            build(c)
        return
    if coupling in IN_VIEW and not type(c.substrate).owner.per_frame:
        with pytest.raises(MisfitError, match="the space of the present"):
            build(c)
        return
    if not takes(coupling, substrate):
        with pytest.raises(MisfitError, match=r"cannot predict codes(.|\n)*JointAutoregression"):
            build(c)
        return
    model = build(c)
    w = window(c)
    assert set(losses(model, w)) == {"video", "action"} | ({"value"} if coupling.endswith(":valued") else set())
    plan = model.plan(w.context)
    assert plan.actions.shape == (4, 8, 2)
    if plan.future is not None:
        assert dict(plan.future.substrates) == {"video": substrate}
        assert plan.future.offsets == c.coupling.future_offsets
    assert plan.cost.total > 0
    assert plan.cost.seconds > 0


@pytest.mark.parametrize("coupling", sorted(COUPLINGS))
def test_a_backbone_that_does_not_fit_is_refused_with_both_sides_and_what_would(coupling):
    needed = COUPLINGS[coupling].requires()
    wrong = next(name for name in sorted(BACKBONES) if needed - type(BACKBONES[name]).owner.provides)
    c = replace(config(coupling), backbone=BACKBONES[wrong])
    with pytest.raises(MisfitError) as error:
        c.check(OBSERVATION, ACTION)
    message = str(error.value)
    assert f"coupling {coupling.partition(':')[0]} and backbone {wrong} do not fit" in message
    assert "accepted: " in message and FITTING[coupling] in message.partition("accepted: ")[2]
    assert "model.backbone=" in message
    with pytest.raises(MisfitError):
        c.build(OBSERVATION, ACTION)


def test_a_regime_that_does_not_fit_the_horizon_is_refused():
    c = replace(config("JointGeneration"), regime=replace(REGIMES["Chunked"], replan=9))
    with pytest.raises(MisfitError, match=r"replan = 9, model.coupling.horizon = 8"):
        c.check(OBSERVATION, ACTION)


def test_cameras_that_the_substrate_cannot_take_are_refused():
    odd = replace(OBSERVATION, cameras=(CameraSpec(name="front", height=15, width=16),))
    with pytest.raises(MisfitError, match=r"15, 16"):
        config("JointGeneration").check(odd, ACTION)


def test_one_word_changes_an_axis_and_the_config_reads_back():
    c = config("JointGeneration")
    changed = apply_overrides(c, ["regime=OpenLoop", "substrate=FrozenFeatures", "coupling.steps=5"])
    assert type(changed.regime).owner.name == "Open-loop"
    assert type(changed.substrate).owner.kind == "Feature (teacher)"
    assert changed.coupling.steps == 5
    assert decode(WorldActionModel.Config, encode(changed)) == changed


@pytest.mark.parametrize("coupling", sorted(COUPLINGS))
def test_actions_come_back_in_the_units_of_the_robot(coupling):
    model = alive(config(coupling))
    shown = context(model.config, batch=2)
    before = model.plan(shown)
    # the same weights for a robot whose commands are three times as large about ten, its bounds among them
    robot = replace(ACTION, low=tuple(3 * x + 10 for x in ACTION.low), high=tuple(3 * x + 10 for x in ACTION.high))
    weights, model = model.state_dict(), model.config.build(OBSERVATION, robot).eval()
    model.load_state_dict(weights)
    model.fit_normalisation(FeatureStatistics.of(torch.randn(50, 3).numpy() * 0 + torch.tensor([0.0, 0.0, 0.0]).numpy()),
                            FeatureStatistics.of((torch.tensor([[-1.0, 1.0]]) * torch.tensor([[1.0], [-1.0]]) * 3 + 10).numpy()))
    past = None if shown.past_actions is None else shown.past_actions * 3 + 10  # the same actions in the robot's units
    after = model.plan(replace(shown, past_actions=past))
    assert torch.allclose(after.actions, before.actions * 3 + 10, atol=1e-4)


@pytest.mark.parametrize("coupling", sorted(COUPLINGS))
def test_the_substrate_is_never_trained_with_the_model(coupling):
    model = alive(config(coupling)).train()
    assert all(not name.startswith("substrate.") for name, _ in model.parameters_to_train())
    sum(losses(model, window(model.config)).values()).backward()
    assert all(p.grad is None for p in model.substrate.parameters())


@pytest.mark.parametrize("coupling", sorted(COUPLINGS))
def test_stored_encodings_give_the_losses_of_the_images(coupling):
    model = alive(config(coupling))
    w = window(model.config)
    encoded = {"view": model.eye.encode(w.context.scene), "video": model.substrate.encode(w.scene)[:, 1:]}
    stored = replace(w, encoded=encoded, future_images={}, context=replace(w.context, images={}))
    with torch.no_grad():
        assert {n: v.item() for n, v in losses(model, w).items()} == {n: v.item() for n, v in losses(model, stored).items()}


@pytest.mark.parametrize("coupling", sorted(COUPLINGS))
def test_a_plan_depends_on_its_own_seed_and_episode_alone(coupling):
    model = alive(config(coupling))
    shown = context(model.config, batch=3)
    turned = replace(shown, images={n: i.flip(0) for n, i in shown.images.items()}, state=shown.state.flip(0),
                     past_actions=None if shown.past_actions is None else shown.past_actions.flip(0),
                     instruction=shown.instruction[::-1])
    one = model.plan(shown, noise=SeededNoise([1, 2, 3])).actions
    other = model.plan(turned, noise=SeededNoise([3, 2, 1])).actions.flip(0)
    assert torch.allclose(one, other, atol=5e-5)  # another row of a product may be summed in another order: float32 rounding
    same = torch.allclose(one, model.plan(shown, noise=SeededNoise([1, 2, 4])).actions, atol=1e-3)
    assert same == (coupling in CHANCELESS)


@pytest.mark.parametrize("coupling", sorted(COUPLINGS))
def test_saved_and_loaded_it_plans_the_same(coupling):
    model, other = alive(config(coupling)), alive(config(coupling), seed=1)
    shown = context(model.config, batch=2)
    other.load_state_dict(load(save(model.state_dict())))
    assert torch.equal(model.plan(shown).actions, other.plan(shown).actions)


def test_a_context_of_another_robot_is_refused():
    model = build(config("JointGeneration"))
    context = fake_context(OBSERVATION)
    with pytest.raises(SpecError, match="a camera is missing"):
        model.plan(replace(context, images={"front": context.images["front"]}))
    with pytest.raises(SpecError, match="the state has the wrong size"):
        model.plan(replace(context, state=context.state[..., :2]))


def test_a_baseline_keeps_only_the_space_that_the_present_is_seen_in():
    whole = config("PostPredictionHead:denoised", "OpticalFlow")
    bare = whole.without_future()
    assert (bare.substrate, bare.view) == (whole.view, None)
    assert bare.build(OBSERVATION, ACTION).plan(window(bare).context).future is None
