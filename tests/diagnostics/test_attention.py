"""Attention of models built to have the property: an action head wired to one patch lights that patch alone."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.contract.errors import ConfigError, MisfitError
from foreact.contract.layout import Layout, Sight, Stream
from foreact.diagnostics.attention import attention
from foreact.nets.attention import Whose, attend, attended
from foreact.nets.streams import look
from tiny_members import BACKBONES, SUBSTRATES, alive, config, context


def wired(place):
    """A model whose action looks for one direction, which the condition tokens of one place alone have, in both frames."""
    model = alive(config("PostPredictionHead:bridged"))
    head = model.coupling.head
    with torch.no_grad():
        sought = torch.randn(16, generator=torch.Generator().manual_seed(1))
        head.place["tap"].view(2, -1, 16)[:, place] += 1000 * sought
        head.condition_norm.weight.fill_(1)
        head.condition_norm.bias.zero_()
        for layer in head.layers:
            layer.condition.query.weight.zero_()
            layer.condition.query.bias.copy_(1000 * sought)
            layer.condition.key_value.weight[:16] = torch.eye(16)
            layer.condition.key_value.bias.zero_()
    return model


@pytest.mark.parametrize("place", [0, 5])
def test_a_head_wired_to_one_patch_lights_that_patch_alone(place):
    model = wired(place)
    found = attention(model, context(model.config))
    heat = found.heat().reshape(2, -1)
    assert heat[:, place] == pytest.approx(1.0)
    assert np.delete(heat, place, axis=1).max() < 1e-6
    assert found.streams["video"] == pytest.approx(1.0)
    assert found.mass.shape == (2, 3, 2, 2, 2, 2, 2)  # layers, steps, batch, heads, cameras, rows, columns


def test_a_stack_that_looks_at_one_token_lights_it():
    """Keys of streams in a cache and of streams that run now, told apart by name."""
    streams = tuple(Stream(name=n, channels=1, expert="e", positions=((0.0, 0.0, 0.0),) * 3) for n in ("video", "action"))
    layout = Layout(streams=streams, sees={"action": (Sight("video"), Sight("action"))})
    keys = {n: torch.zeros(1, 2, 3, 4) for n in ("video", "action")}
    keys["video"][:, 0, 1, 0] = 1  # head 0 finds token 1 of the video
    keys["action"][:, 1, 2, 0] = 1  # head 1 finds token 2 of the action
    query = torch.zeros(1, 2, 3, 4)
    query[..., 0] = 100
    gazes = []
    with attended(["action"], gazes.append):
        look("action", query, {n: (k, k) for n, k in keys.items()}, layout, 0)
    (gaze,) = gazes
    assert (gaze.layer, gaze.keys) == (1, (("video", 3), ("action", 3)))
    assert gaze.weights[0, 0, :, 1] == pytest.approx(1.0)
    assert gaze.weights[0, 1, :, 3 + 2] == pytest.approx(1.0)


def test_what_is_heard_is_what_is_computed():
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 4, generator=g) for n in (5, 7, 7))
    mask = torch.rand(2, 1, 5, 7, generator=g) > 0.3
    mask[..., 0] = True
    whose = Whose(1, (("a", 2), ("b", 3)), (("c", 7),))
    gazes = []
    with attended({"b"}, gazes.append):
        out = attend(q, k, v, mask, lambda: whose)
    assert [gaze.query for gaze in gazes] == ["b"]
    assert torch.allclose(gazes[0].weights @ v, out[:, :, 2:], atol=1e-6)
    assert (gazes[0].weights.masked_select(~mask[:, :, 2:].expand(-1, 3, -1, -1)) == 0).all()


def test_nobody_is_asked_while_nobody_listens():
    def whose():
        raise AssertionError("asked")

    q = torch.randn(1, 1, 2, 4)
    attend(q, q, q, None, whose)


COMPILED = """
import torch
from foreact.nets.attention import Whose, attend

def one(q):
    return attend(q, q, q, None, lambda: Whose(1, (("a", 2),), (("a", 2),)))

q = torch.randn(1, 1, 2, 4)
assert torch.allclose(torch.compile(one, backend="eager", fullgraph=True)(q), one(q))
"""


def test_compiled_code_stays_whole():
    """In a process of its own: checked shapes cannot be compiled."""
    subprocess.run([sys.executable, "-c", COMPILED], check=True, timeout=120)


@pytest.mark.parametrize(("coupling", "stream"), [
    ("JointGeneration", "video"), ("JointGeneration:valued", "video"), ("LatentFrames", "video"),
    ("StreamedChunks", "video_shown"), ("FutureTokens", "video"),
    ("PostPredictionHead", "video"), ("PostPredictionHead:tapped", "video"), ("PostPredictionHead:pooled", "video")])
def test_every_recipe_in_which_actions_look_at_frames(coupling, stream):
    model = alive(config(coupling))
    c = context(model.config)
    plain = model.plan(c).actions
    found = attention(model, c)
    assert found.stream == stream
    assert sum(found.streams.values()) == pytest.approx(1.0)
    assert found.streams[stream] == pytest.approx(found.heat().sum(axis=(1, 2, 3)))
    assert torch.equal(model.plan(c).actions, plain)
    assert np.allclose(found.heat(), np.mean([found.heat(layer=1), found.heat(layer=2)], axis=0))


def test_pooled_tokens_stand_for_what_they_look_at():
    """Where the resampler looks at one place alone, so does the action, as far as it looks at pooled tokens at all."""
    model = alive(config("PostPredictionHead:pooled"))
    pool = model.coupling.head.pool
    with torch.no_grad():
        sought = torch.randn(8, generator=torch.Generator().manual_seed(1))
        pool.place[[3, 11]] += 1000 * sought  # place 3 of both frames
        pool.seen_norm.weight.fill_(1)
        pool.seen_norm.bias.zero_()
        for layer in pool.looks:
            layer.query.weight.zero_()
            layer.query.bias.copy_(1000 * sought)
            layer.key_value.weight[:8] = torch.eye(8)
            layer.key_value.bias.zero_()
    found = attention(model, context(model.config))
    heat = found.heat().reshape(2, -1)
    assert heat.sum(axis=1) == pytest.approx(heat[:, 3])
    assert found.streams["video"] == pytest.approx(heat[:, 3])


def test_tokens_of_an_experts_own_making_lie_where_it_says():
    """Wan's tokens are patches of 2 x 2 cells, row by row over all cameras; one that all keys but its own are blind to lights its cell."""
    chosen = replace(config("JointGeneration"), backbone=replace(BACKBONES["WanMixture"]),
                     substrate=replace(SUBSTRATES["PixelLatents"], patch=4))
    chosen = replace(chosen, coupling=replace(chosen.coupling, video_target="velocity"))
    model = alive(chosen)
    stack = model.backbone.stack
    video, acting = stack.experts["video"], stack.experts["action"]
    plain = {"video": video.project, "action": acting.project}

    def seen(layer, x, lit):
        q, k, v = plain["video"](layer, x, lit)
        k = torch.zeros_like(k)
        k[:, :, 1 * 4 + 2] = 100.0  # row 1 of 2, column 2 of 4: the second camera's first
        return q, k, v

    def asking(layer, x, lit):
        q, k, v = plain["action"](layer, x, lit)
        return torch.ones_like(q), torch.zeros_like(k), v

    video.project, acting.project = seen, asking
    stack._turned = lambda projected, angle: projected
    found = attention(model, context(chosen))
    assert found.mass.shape[-3:] == (2, 2, 2)
    heat = found.heat()[0]
    assert heat[1, 1, 0] == pytest.approx(heat.sum()) and heat.sum() > 0.3


def test_the_present_where_no_future_is_seen():
    c = config("JointGeneration")
    blind = {"action": ("frame", "state", "action"), "state": ("frame", "state")}
    model = alive(replace(c, coupling=replace(c.coupling, sees=blind)))
    assert attention(model, context(model.config)).stream == "frame"
    with pytest.raises(MisfitError, match="does not look at the frames"):
        attention(model, context(model.config), stream="video")


@pytest.mark.parametrize("coupling", ["PostPredictionHead:inverse", "ConditionedRollout", "JointAutoregression"])
def test_a_model_without_such_attention_says_so(coupling):
    model = alive(config(coupling))
    with pytest.raises(MisfitError, match="no action is drawn by attention over frames"):
        attention(model, context(model.config))


def test_one_layer_head_and_step_may_be_asked_for():
    model = alive(config("JointGeneration"))
    found = attention(model, context(model.config))
    assert np.allclose(found.heat(layer=2, step=1, head=0), found.mass[1, 1, :, 0])
    for wrong in ({"layer": 9}, {"step": 3}, {"head": 2}):
        with pytest.raises(ConfigError, match="no such"):
            found.heat(**wrong)
