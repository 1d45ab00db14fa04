"""Several candidates of one plan: what does not depend on noise runs once, and every candidate is the one that would be drawn alone."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.axes import SeededNoise
from foreact.contract.encoded import Branches
from foreact.contract.errors import ConfigError
from foreact.selection import Consensus, First
from tiny_members import CHANCELESS, COUPLINGS, alive, config, context

DRAWN = [name for name in COUPLINGS if name not in CHANCELESS]
SEEDS = (3, 4)


def many(model, count=3, selector=First, **asked):
    return model.plan(context(model.config), noise=SeededNoise(SEEDS), selector=selector.Config(candidates=count).build(), **asked)


@pytest.mark.parametrize("coupling", DRAWN)
def test_candidates_are_those_of_plans_that_share_nothing(coupling):
    model = alive(config(coupling))
    found = many(model)
    apart = model.plan(context(model.config).repeat(3), noise=Branches(SeededNoise(SEEDS), 3))
    assert torch.allclose(found.candidates.actions.flatten(0, 1), apart.actions, atol=2e-4)
    assert not torch.allclose(found.candidates.actions[:, 0], found.candidates.actions[:, 1], atol=1e-3)
    first = model.plan(context(model.config), noise=SeededNoise(SEEDS))
    assert torch.allclose(found.actions, first.actions, atol=2e-4)
    assert (found.future is None) == (first.future is None)
    for name in first.future.parts if first.future else ():
        assert torch.allclose(found.future.parts[name], first.future.parts[name], atol=2e-3)


@pytest.mark.parametrize("coupling", ["JointGeneration", "StreamedChunks"])
def test_one_candidate_is_the_plan_to_the_last_bit_and_fewer_are_the_first_of_more(coupling):
    model = alive(config(coupling))
    first = model.plan(context(model.config), noise=SeededNoise(SEEDS))
    assert torch.equal(many(model, 1, Consensus).actions, first.actions)
    assert torch.allclose(many(model, 2).candidates.actions, many(model, 4).candidates.actions[:, :2], atol=1e-4)


@pytest.mark.parametrize("coupling", sorted(CHANCELESS))
def test_where_nothing_is_left_to_chance_there_is_nothing_to_choose(coupling):
    with pytest.raises(ConfigError, match="left to chance"):
        many(alive(config(coupling)))


def test_a_session_remembers_one_episode_however_many_candidates_were_drawn_of_it():
    model = alive(config("StreamedChunks"))
    shown, noise = context(model.config, batch=1), SeededNoise([5])
    plain, chosen = model.coupling.begin(), model.coupling.begin()
    for _ in range(4):
        alone = model.plan(shown, noise=noise, session=plain)
        found = model.plan(shown, noise=noise, session=chosen, selector=First.Config(candidates=3).build())
        assert torch.allclose(found.actions, alone.actions, atol=2e-4)
        assert chosen.tokens == plain.tokens
    for name, layers in plain.cache.layers.items():
        for (k, v), (other_k, other_v) in zip(layers, chosen.cache.layers[name], strict=True):
            assert torch.equal(k, other_k) and torch.equal(v, other_v)


def test_what_stands_between_future_and_action_meets_every_candidate():
    model, rows = alive(config("JointGeneration")), []

    def through(name, values, sigma):
        rows.append((len(values), len(sigma)))
        return torch.zeros_like(values)

    found = many(model, 3, through=through)
    assert set(rows) == {(2, 2)}
    alone = model.plan(context(model.config), noise=SeededNoise(SEEDS), through=through)
    assert torch.allclose(found.actions, alone.actions, atol=2e-4)
    assert not torch.allclose(found.actions, many(model).actions, atol=1e-3)


def test_selectors_measure_futures_in_their_substrates_and_actions_in_the_models_units():
    made = config("JointGeneration")
    model = alive(replace(made, action_scaling="none"))
    with torch.no_grad():
        model.action_scaler.scale.copy_(torch.tensor([2.0, 0.5]))
    one, other = torch.zeros(1, 2, 8, 2), torch.ones(1, 1, 8, 2)
    assert torch.allclose(model._actions_apart(one, other), torch.full((1, 2), (0.25 + 4.0) / 2))
    shape = model.config.dimensions(model.observation, model.action).forms["video"]
    far = {"video": torch.zeros(1, 2, 2, shape.tokens, shape.channels)}
    near = {"video": torch.full((1, 1, 2, shape.tokens, shape.channels), 0.5)}
    assert torch.allclose(model._apart(far, near), torch.full((1, 2), 0.25))


@pytest.mark.parametrize("coupling", DRAWN)
def test_the_present_is_run_once_for_all_candidates(coupling):
    model, rows = alive(config(coupling)), []
    model.backbone.register_forward_pre_hook(lambda module, inputs: rows.append({n: len(x) for n, x in inputs[0].items()}))
    many(model)
    assert {ran["frame"] for ran in rows if "frame" in ran} == {2}
    assert max(count for ran in rows for count in ran.values()) >= 6 or coupling == "PostPredictionHead"  # there only the head draws
