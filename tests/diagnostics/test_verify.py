"""The executable taxonomy on models built to have a property, and on models built to lack it: those must fail by name."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.layout import Layout, Sight, Stream
from foreact.couplings import JointGeneration
from foreact.diagnostics import causality as causality_module
from foreact.diagnostics.check import bootstrap_mean
from foreact.diagnostics.gate import Interventions, gate, shared_gradient
from foreact.diagnostics.taxonomy import accepted, compare, derive
from foreact.diagnostics.trace import BackboneCall, traced_plan
from foreact.diagnostics.verify import verify
from foreact.nets import expert_stack
from tiny_members import REGIMES, alive, classes, config, window

CARD = {"substrate": "Pixel (latent)", "backbone": "Hybrid", "coupling": "Joint generation", "regime": "Chunked"}
ENCODER_ONLY = {"sees": {"action": ("frame", "state", "action"), "state": ("frame", "state")}, "future_at_test": "absent"}


def joint(**coupling):
    c = config("JointGeneration")
    return replace(c, coupling=replace(c.coupling, **coupling))


def verdict(model, card=CARD, **options):
    w = window(model.config, batch=8)
    episode = [window(model.config, batch=1, seed=i) for i in range(3)]
    return verify(model, w, episode, card=card, **options)


def check(found, name):
    return next(c for c in found.checks if c.name == name)


def failed(found):
    return {c.name for c in found.checks if c.holds is False}


# --- what holds -----------------------------------------------------------------------------------------------------------

def test_a_joint_model_is_what_it_says():
    found = verdict(alive(config("JointGeneration")), philosophy="Latent-Only")
    assert failed(found) == set() and found.holds
    assert check(found, "gate").figures["zeroed"]["low"] > 0
    assert check(found, "causality: masks").figures["cells"] > 100
    assert found.derived.calls_per_step == pytest.approx(1 / 3)


@pytest.mark.parametrize(("coupling", "place"), [
    ("JointGeneration", ("Pixel (latent)", "Hybrid", "Joint generation")),
    ("PostPredictionHead:denoised", ("Pixel (latent)", "Diffusion", "Post-prediction head")),
    ("PostPredictionHead:tapped", ("Feature (tap)", "Diffusion", "Post-prediction head")),
    ("ConditionedRollout", ("Pixel (latent)", "Hybrid", "Cond. rollout")),
    ("ConditionedRollout:denoised", ("Pixel (latent)", "Diffusion", "Cond. rollout")),
    ("JointAutoregression:regressed", ("Pixel (latent)", "Autoregressive", "Joint generation")),
    ("JointAutoregression:drawn", ("Pixel (latent)", "Autoregressive", "Joint generation")),
])
def test_the_axes_follow_from_the_run(coupling, place):
    model = alive(config(coupling))
    found = derive(model, traced_plan(model, window(model.config).context))
    assert (found.substrate, found.backbone, found.coupling) == place


def test_features_in_one_pass_are_a_joint_embedding():
    model = alive(config("PostPredictionHead", "FrozenFeatures", "OpenLoop"))
    found = derive(model, traced_plan(model, window(model.config).context))
    assert (found.substrate, found.backbone, found.coupling, found.regime) == (
        "Feature (teacher)", "Joint-embedding", "Post-prediction head", "Open-loop")
    assert found.philosophy == "Video-Generation-Free"


def test_an_action_without_a_future_at_test_reads_an_encoder():
    model = alive(joint(**ENCODER_ONLY))
    found = derive(model, traced_plan(model, window(model.config).context))
    assert (found.substrate, found.coupling) == ("Feature (encoder-only)", "Post-prediction head")


def test_chunks_with_a_memory_are_what_they_say():
    c = config("StreamedChunks", regime="Interactive")
    found = verdict(alive(replace(c, coupling=replace(c.coupling, steps=1, action_steps=1))), philosophy="Latent-Only",
                    card=CARD | {"coupling": "Post-prediction head", "regime": "Interactive"})
    assert failed(found) == set() and found.holds
    assert check(found, "persistence: bounded").holds and check(found, "persistence: replaced").holds
    assert check(found, "causality: masks").figures["cells"] > 300


@pytest.mark.parametrize("regime", sorted(classes(REGIMES)))
def test_the_regime_is_counted(regime):
    persistent = type(REGIMES[regime]).owner.persistent
    c = replace(config("StreamedChunks" if persistent else "JointGeneration"), regime=REGIMES[regime])
    model = alive(c)
    assert derive(model, traced_plan(model, window(c).context)).regime == type(c.regime).owner.name


def test_a_future_that_answers_to_the_action_is_found():
    everything = ("frame", "video", "state", "action")
    found = verdict(alive(joint(sees={"video": everything}, levels="independent")))
    assert check(found, "interactability").holds is True
    curve = check(found, "interactability").figures["response by share of the change"]
    assert curve["0.0"] == 0.0 < curve["0.25"] < curve["1.0"]


@pytest.mark.parametrize(("coupling", "backbone"), [("ConditionedRollout", "Hybrid"), ("ConditionedRollout:denoised", "Diffusion")])
def test_a_rollout_is_what_it_says_and_answers_to_the_action(coupling, backbone):
    found = verdict(alive(config(coupling)), CARD | {"coupling": "Cond. rollout", "backbone": backbone})
    assert failed(found) == set()
    assert check(found, "interactability").holds is True
    assert check(found, "gate").holds is True


# --- what must fail ---------------------------------------------------------------------------------------------------------

def test_behaviour_cloning_is_no_world_action_model():
    found = verdict(alive(config("JointGeneration").without_future()))
    assert "gate" in failed(found) and not found.holds
    assert "no future is predicted anywhere" in check(found, "gate").says


def test_a_discarded_future_head_is_no_world_action_model():
    """The future is predicted in training by an expert of which the action reads nothing."""
    blind = {"sees": {"action": ("state", "action"), "state": ("state",)}, "future_at_test": "absent"}
    found = verdict(alive(joint(**blind)))
    assert "gate" in failed(found)
    assert "nothing that the future's loss trains is read by the action" in check(found, "gate").says


def test_a_future_that_the_action_does_not_look_at_is_not_on_its_path():
    """Imagined at every step, and for nothing."""
    model = alive(joint(sees=ENCODER_ONLY["sees"]))
    w = window(model.config, batch=8)
    found = gate(model, w, traced_plan(model, w.context), settings=Interventions(), ablated=None)
    assert found.holds is False
    assert all(figures["square"] == 0.0 for figures in found.figures.values())


def test_one_leaking_cell_in_the_attention_is_named(monkeypatch):
    """The network looks at one action token from the video, though the layout does not let it."""
    model, honest = alive(config("JointGeneration")), expert_stack.look

    def leaking(name, query, seen, layout, layer, places):
        attended = honest(name, query, seen, layout, layer, places)
        if name == "video" and "action" in seen:
            attended = attended + 1e-3 * seen["action"][1][:, :, :1]
        return attended

    assert verdict(model).holds
    monkeypatch.setattr(expert_stack, "look", leaking)
    found = verdict(model)
    assert "causality: masks" in failed(found)
    assert "video[0] is moved by" in check(found, "causality: masks").says


def test_a_clean_later_token_in_the_layout_is_named():
    streams = (Stream(name="past", channels=2, expert="video", positions=((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))),
               Stream(name="action", channels=2, expert="video", positions=((0.5, 0.0, 0.0),), target="sample", noise="a"))

    def order(when):
        layout = Layout(streams=streams, sees={"past": (Sight("past", "causal"),), "action": (Sight("past", when), Sight("action"))})
        return causality_module._order([BackboneCall(layout.names, {}, layout, False, {}, {}, {})])

    assert order("causal").holds is True
    assert order("all").holds is False
    assert "action[0] sees past[1], which is later and given clean" in order("all").says


class Peeking(JointGeneration):
    """A coupling that looks at the answer when acting: for the test that this is found."""

    @classmethod
    def of(cls, model):
        coupling = cls(model.config.coupling, model.coupling.dimensions)
        coupling.load_state_dict(model.coupling.state_dict())
        return coupling

    def propose(self, backbone, encoded, **options):
        proposal = super().propose(backbone, encoded, **options)
        return proposal if encoded.actions is None else replace(proposal, actions=proposal.actions + 1e-6 * encoded.actions)


def test_a_plan_that_reads_the_true_future_is_named():
    model = alive(config("JointGeneration"))
    model.coupling = Peeking.of(model)
    assert "causality: acting" in failed(verdict(model))


def test_a_stream_that_sees_its_own_answer_is_named(monkeypatch):
    """Noise that is not quite pure: a thousandth of the clean value is left at full noise."""
    from foreact.couplings import joint as joint_module

    honest = joint_module.interpolate
    monkeypatch.setattr(joint_module, "interpolate", lambda x0, x1, s: honest(x0, x1, s) + 1e-3 * x0)
    assert "causality: own copy" in failed(verdict(alive(config("JointGeneration"))))


def test_a_card_that_says_something_else_is_refused():
    found = verdict(alive(config("JointGeneration")), card=CARD | {"backbone": "Diffusion"})
    assert failed(found) == {"axes"}
    assert "backbone ran as Hybrid, the card says Diffusion" in check(found, "axes").says
    assert failed(verdict(alive(config("JointGeneration")), philosophy="Video-Generation-Free")) == {"philosophy"}


# --- the pieces -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("cell", "words"), [
    ("Open / Chunked", {"Open", "Chunked", "Open-loop"}), ("Pixel (decoded / latent)", {"Pixel (decoded)", "Pixel (latent)"}),
    ("LLM/VLM", {"LLM/VLM"}), ("AR / Diffusion", {"AR", "Diffusion", "Autoregressive"}), ("Pixel (latent) + Geometric",) * 2,
])
def test_cells_of_the_census_that_allow_several_words(cell, words):
    assert accepted(cell) == ({words} if isinstance(words, str) else words)


def test_the_census_has_the_last_word():
    model = alive(config("JointGeneration"))
    derived = derive(model, traced_plan(model, window(model.config).context))
    assert compare(derived, CARD, CARD | {"regime": "Open / Chunked"}).holds is True
    assert compare(derived, CARD, CARD | {"regime": "Single-step"}).holds is False


def test_weights_that_both_losses_reach():
    w = window(config("JointGeneration"))
    assert shared_gradient(alive(joint(**ENCODER_ONLY)), w)["shared"] > 0
    loaded = alive(joint(**ENCODER_ONLY)).requires_grad_(False)
    assert shared_gradient(loaded, w)["shared"] > 0
    assert not any(p.requires_grad for p in loaded.parameters())
    blind = {"sees": {"action": ("state", "action"), "state": ("state",)}, "future_at_test": "absent"}
    assert shared_gradient(alive(joint(**blind)), w)["shared"] == 0


def test_the_interval_of_a_mean():
    mean, low, high = bootstrap_mean([1.0] * 10)
    assert mean == low == high == 1.0
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)).numpy()
    mean, low, high = bootstrap_mean(values)
    assert low < mean < high and high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)
