"""Action-conditioned rollout: who sees whom, interactability to the last bit, and that the imagined future decides."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.axes import Dimensions, Reader, SeededNoise, SubstrateForm
from foreact.contract.errors import ConfigError
from foreact.couplings import ConditionedRollout
from foreact.couplings.conditioned_rollout import Imaginer
from foreact.selection import BestCandidate
from tiny_members import COUPLINGS, alive, build, config, losses, window

FORM = SubstrateForm(grid=(1, 1, 1), channels=4)
SMALL = Dimensions(view=FORM, forms={"video": FORM}, state=3, action=2, text=8)
EVERY = sorted(n for n in COUPLINGS if n.startswith("ConditionedRollout"))
SEEDED = SeededNoise([1, 2, 3, 4])


def layout(**options):
    return ConditionedRollout.Config(**{"horizon": 2, "future_offsets": (1, 2), "steps_per_token": 1} | options).layout(SMALL)


def encoded(model):
    with torch.no_grad():
        return model.encode_window(window(model.config))


def respond(model, e, actions):
    with torch.no_grad():
        return model.coupling.respond(model.backbone, e, actions, noise=SEEDED)["video"]


def propose(model, e, **reader):
    with torch.no_grad():
        return model.coupling.propose(model.backbone, replace(e, reader=Reader(**reader)) if reader else e, noise=SEEDED)


# --- layout -----------------------------------------------------------------------------------------------------------

def test_who_sees_whom_when_a_whole_chunk_is_given():
    # frame, state, proposal x2, action x2, goal x2, video x2
    assert layout().mask().int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        *[[1, 1, 1, 1, 0, 0, 0, 0, 0, 0]] * 2,
        *[[1, 1, 0, 0, 1, 1, 0, 0, 0, 0]] * 2,
        *[[1, 1, 0, 0, 0, 0, 1, 1, 0, 0]] * 2,
        *[[1, 1, 0, 0, 1, 1, 0, 0, 1, 1]] * 2,
    ]


def test_who_sees_whom_step_by_step():
    # frame, state, action x2, goal x2, fed, video x2: a frame sees actions up to its time and the frame fed back before it
    assert layout(mode="step-wise", nominal="mean").mask().int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0, 0],
        *[[1, 1, 0, 0, 1, 1, 0, 0, 0]] * 2,
        [1, 1, 0, 0, 0, 0, 1, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 1, 0],
        [1, 1, 1, 1, 0, 0, 1, 1, 1],
    ]


def test_neither_the_goal_nor_the_proposal_depends_on_the_action():
    assert {("video_goal",), ("proposal",)} <= set(layout().rounds())
    assert all(not {"action"} & {s.stream for s in layout().sees[n]} for n in ("frame", "state", "proposal", "video_goal"))


def test_nonsense_is_refused():
    with pytest.raises(ConfigError, match="nobody's consequence"):
        ConditionedRollout.Config(horizon=8, future_offsets=(16,))
    with pytest.raises(ConfigError, match="multiple of the steps per token"):
        ConditionedRollout.Config(horizon=10)
    with pytest.raises(ConfigError, match="ends where a frame stands"):
        ConditionedRollout.Config(future_offsets=(6, 16), mode="step-wise")
    with pytest.raises(ConfigError, match="nothing to act by"):
        ConditionedRollout.Config(future_offsets=(), nominal="mean")


# --- interactability (survey, section 5.1) ----------------------------------------------------------------------------

@pytest.mark.parametrize("name", EVERY)
def test_the_future_answers_to_the_action_and_to_nothing_where_there_is_no_difference(name):
    model = alive(config(name))
    e = encoded(model)
    change = torch.randn(e.executed.shape, generator=torch.Generator().manual_seed(0))
    plain = respond(model, e, e.executed)
    assert torch.equal(plain, respond(model, e, e.executed.clone()))
    response = [float((respond(model, e, e.executed + share * change) - plain).square().mean().sqrt()) for share in (0.25, 0.5, 1.0)]
    assert 1e-5 < response[0] < response[1] < response[2]


def test_step_by_step_a_frame_does_not_know_later_actions():
    model = alive(config("ConditionedRollout:step-wise"))
    e = encoded(model)
    plain, other = respond(model, e, e.executed), respond(model, e, torch.cat([e.executed[:, :4], e.executed[:, 4:] + 1], dim=1))
    assert torch.equal(plain[:, 0], other[:, 0])
    assert not torch.allclose(plain[:, 1], other[:, 1], atol=1e-4)


def test_step_by_step_the_predicted_frame_is_fed_back():
    """The last frame is what the net says of it after the first one, as predicted, was given for true."""
    model = alive(config("ConditionedRollout:step-wise"))
    e = encoded(model)
    rolled = respond(model, e, e.executed)
    seen = []
    hook = model.backbone.register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    assert torch.equal(respond(model, e, e.executed), rolled)
    hook.remove()
    fed = [x["video_fed"] for x in seen if "video_fed" in x]
    assert [float(x.abs().max()) > 0 for x in fed] == [False, True]
    assert torch.allclose(fed[1] + e.frame, rolled[:, 0], atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_candidates_in_a_batch_are_each_predicted_as_alone(name):
    model = alive(config(name))
    e = encoded(model)
    chunks = torch.randn(4, 3, 8, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = Imaginer(model.coupling, model.backbone, e, SEEDED).futures(chunks)["video"]
    # float32 products are blocked differently for another batch
    assert all(torch.allclose(together[:, i], respond(model, e, chunks[:, i]), atol=5e-5) for i in range(3))


def test_the_cache_changes_nothing_but_the_cost():
    """Training's single pass over all streams and the cached pass over candidates predict the same."""
    model = alive(config("ConditionedRollout"))
    e = encoded(model)
    c = model.coupling
    with torch.no_grad():
        inputs = c._given(e) | {"action": c._packed(e.executed)} | c._asked(["video"], 4, e)
        whole = model.backbone(inputs, c.layout.only(inputs), sigma={}, **e.words)["video"].unflatten(1, (2, -1)) + e.frame[:, None]
    assert torch.allclose(whole, respond(model, e, e.executed), atol=1e-5)


# --- the future decides -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", EVERY)
def test_another_imagined_future_gives_another_choice(name):
    model = alive(config(name))
    e = encoded(model)
    plain = propose(model, e).actions
    assert torch.equal(plain, propose(model, e, through=lambda n, v, s: v).actions)
    zeroed = propose(model, e, through=lambda n, v, s: torch.zeros_like(v)).actions
    moved = (zeroed - plain).abs().amax(dim=(1, 2))
    assert (moved > 1e-3).sum() >= 3, moved  # the same candidate may still be the best of a few
    shuffled = propose(model, e, through=lambda n, v, s: v.roll(1, dims=0)).actions
    assert ((shuffled - plain).abs().amax(dim=(1, 2)) > 1e-3).sum() >= 2


def test_where_futures_cannot_be_told_apart_the_proposal_is_executed():
    c = config("ConditionedRollout")
    model = alive(replace(c, coupling=replace(c.coupling, planner=BestCandidate.Config(candidates=6))))
    e = encoded(model)
    zeroed = propose(model, e, through=lambda n, v, s: torch.zeros_like(v))
    with torch.no_grad():
        nominal = Imaginer(model.coupling, model.backbone, e, SEEDED).nominal
    assert torch.equal(zeroed.actions, nominal.clamp(e.bounds[:, :1], e.bounds[:, 1:]))
    assert zeroed.candidates.scores.abs().max() == 0


@pytest.mark.parametrize("name", EVERY)
def test_the_plan_comes_with_its_evidence_and_within_the_bounds(name):
    model = alive(config(name))
    plan = model.plan(window(model.config).context, noise=SEEDED)
    chosen = plan.candidates.actions[torch.arange(4), plan.candidates.chosen]
    assert torch.allclose(chosen, plan.actions, atol=1e-6)
    assert plan.candidates.actions.abs().max() <= 1 + 1e-6
    assert not plan.candidates.scores.isnan().any()


# --- training ---------------------------------------------------------------------------------------------------------

def test_the_predictor_learns_from_what_was_executed_and_the_proposal_from_what_was_meant():
    model = alive(config("ConditionedRollout"))
    w = window(model.config)
    w = replace(w, executed=w.actions + 0.3)
    plain, meant, done = losses(model, w), losses(model, replace(w, actions=w.actions - 0.5)), losses(model, replace(w, executed=w.actions))
    assert plain["video"].item() == meant["video"].item() != done["video"].item()
    assert plain["action"].item() == done["action"].item() != meant["action"].item()


def test_rows_without_actions_teach_the_goal_alone():
    model = alive(config("ConditionedRollout"))
    w = window(model.config)
    free = replace(w, has_action=torch.zeros(4, dtype=torch.bool))
    other = replace(free, executed=w.actions + 1)
    assert losses(model, free)["video"].item() == losses(model, other)["video"].item() > 0
    assert losses(model, free)["action"].item() == 0


def test_without_a_proposal_there_is_no_loss_of_the_action():
    c = config("ConditionedRollout")
    model = build(replace(c, coupling=replace(c.coupling, nominal="mean")))
    assert "proposal" not in model.coupling.layout
    assert set(losses(model, window(model.config))) == {"video"}
    assert model.config.without_future().coupling.nominal == "cloned"
    assert propose(model, encoded(model)).actions.isfinite().all()
