"""Future tokens: who sees whom, where the prediction leaves, what the loss measures, what the action reads."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.axes import Dimensions, SeededNoise, SubstrateForm
from foreact.contract.errors import ConfigError
from foreact.couplings import FutureTokens
from tiny_members import BACKBONES, alive, build, config, losses, window

FORM = SubstrateForm(grid=(1, 1, 1), channels=4)
SMALL = Dimensions(view=FORM, forms={"video": FORM}, state=3, action=2, text=8)
NOISE = SeededNoise([1, 2, 3, 4])


def encoded(model):
    with torch.no_grad():
        return model.encode_window(window(model.config))


def propose(model, e, noise=NOISE):
    with torch.no_grad():
        return model.coupling.propose(model.backbone, e, noise=noise)


def test_who_sees_whom():
    # frame, state, video, action
    layout = FutureTokens.Config(horizon=1, future_offsets=(1,)).layout(SMALL)
    assert layout.mask().int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert layout["video"].query
    assert layout.rounds() == (("frame",), ("state",), ("video",), ("action",))


def test_the_future_is_predicted_once_and_before_the_action():
    model = alive(config("FutureTokens"))
    streams = []
    model.backbone.register_forward_pre_hook(lambda m, args: streams.append(tuple(args[0])))
    propose(model, encoded(model))
    assert streams == [("frame", "state", "video"), *[("action",)] * 3]


def test_the_prediction_leaves_in_the_middle_and_the_tokens_go_on():
    model = alive(config("FutureTokens"))
    e = encoded(model)
    before = propose(model, e)
    with torch.no_grad():
        for parameter in model.backbone.stack.experts["all"].layers[1].parameters():
            parameter.add_(0.3)
    after = propose(model, e)
    assert torch.equal(before.future["video"], after.future["video"])
    assert not torch.allclose(before.actions, after.actions, atol=1e-3)


def test_what_stands_in_the_place_of_a_query_is_not_read():
    model = alive(config("FutureTokens"))
    e = encoded(model)
    inputs = model.coupling._given(e)
    with torch.no_grad():
        one, other = (model.backbone(inputs | {"video": inputs["video"] + by}, model.coupling.before, sigma={}, **e.words)["video"]
                      for by in (0.0, 5.0))
    assert torch.equal(one, other)


def test_the_loss_of_the_video_is_the_cosine_and_does_not_depend_on_the_teachers_scale():
    model = alive(config("FutureTokens"))
    e = encoded(model)

    def loss(e):
        with torch.no_grad():
            return model.coupling.losses(model.backbone, e, train=frozenset({"video"}), generator=torch.Generator())["video"].item()

    assert loss(replace(e, future={"video": 3 * e.future["video"]})) == pytest.approx(loss(e), rel=1e-5)
    predicted = propose(model, e).future["video"]
    assert loss(replace(e, future={"video": predicted})) == pytest.approx(0.0, abs=1e-5)
    assert loss(replace(e, future={"video": -predicted})) == pytest.approx(2 * model.config.coupling.alignment_weight, rel=1e-5)


def test_the_future_given_out_has_the_length_of_whitened_features():
    model = alive(config("FutureTokens"))
    future = propose(model, encoded(model)).future["video"]
    assert torch.allclose(future.square().mean(dim=-1), torch.ones(future.shape[:-1]), atol=1e-4)


def test_the_action_loss_trains_the_future_tokens_too():
    """The action reads them in every layer, so they serve both masters."""
    model = build(config("FutureTokens"))
    queries = model.backbone.stack.experts["all"].queries["video"]
    w, optimiser = window(model.config), torch.optim.SGD([p for _, p in model.parameters_to_train()], lr=0.1)
    for _ in range(2):  # the ways out begin at zero and hold back what lies before them
        optimiser.zero_grad()
        losses(model, w)["action"].backward()
        optimiser.step()
    assert queries.grad.abs().max() > 0


def test_a_diagnosis_reaches_the_action_through_the_hidden_states():
    model = alive(config("FutureTokens"))
    e = encoded(model)
    seen = []

    def zero(name, values, sigma):
        seen.append((name, values.shape[-1], sigma))
        return torch.zeros_like(values)

    plain, changed = propose(model, e), propose(model, replace(e, reader=replace(e.reader, through=zero)))
    assert set(seen) == {("tap", 24, None)}
    assert not torch.allclose(plain.actions, changed.actions, atol=1e-3)


def test_hidden_actions_bear_on_no_loss_to_the_last_bit():
    model = alive(config("FutureTokens"))
    w = replace(window(model.config), has_action=torch.tensor([True, False, True, False]))
    nonsense = replace(w, actions=torch.where(w.has_action[:, None, None], w.actions, 50.0))
    assert {n: v.item() for n, v in losses(model, w).items()} == {n: v.item() for n, v in losses(model, nonsense).items()}


def test_nonsense_is_refused():
    with pytest.raises(ConfigError, match="horizon and steps"):
        FutureTokens.Config(steps=0)
    with pytest.raises(ConfigError, match=r"aligned_after(.|\n)*1 to 2"):
        replace(BACKBONES["AlignedDenoiser"], aligned_after=3)
