"""What a cache gives is what the forward of training gives on the same visibility, over every recipe that has one.

Within a call: every evaluation on top of a cache is repeated without one, on all streams that the cache then stands for, under the layout
of training. From call to call: an episode that is streamed through a session plans what its whole history gives, and what the layout
of training gives when all of it runs at once. Tolerance: float32 sums in another order, through a few layers, in units in which values
are about 1.
"""

import weakref
from dataclasses import replace

import pytest
import torch

from foreact.contract.axes import SeededNoise, Tap
from foreact.contract.context import fake_context
from foreact.recipes.catalogue import names, recipe
from recipe_windows import metaworld_specs, recipe_window

EXACT = 5e-4
CACHELESS = {"agra", "jepa", "vpp"}
"""Recipes whose backbone runs once."""
GROWING = {"gr-1"}
"""Recipes whose streams grow inside the cache, frame by frame: the suite of the coupling compares them with teacher forcing."""
PERSISTENT = [name for name in names() if type(recipe(name).run("tiny").model.coupling).owner.persistent]


def made(name):
    """The recipe at tiny size, with no parameter at zero."""
    run = recipe(name).run("tiny")
    torch.manual_seed(0)
    model = run.model.build(*metaworld_specs(run)).eval()
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in model.parameters_to_train():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=g))
    return model


class Shadow:
    """Follows the caches of a backbone, and runs again without them what was run on top of them."""

    def __init__(self, backbone, monkeypatch):
        self.known, self.apart, self.backbone = weakref.WeakKeyDictionary(), [], backbone
        kind = type(backbone.new_cache())
        repeated, forget = kind.repeated, kind.forget

        def grown(cache, count):
            found = repeated(cache, count)
            old = self.known.get(cache, ({}, {}))
            self.known[found] = tuple({n: x.repeat_interleave(count, dim=0) for n, x in part.items()} for part in old)
            return found

        def forgotten(cache, streams):
            streams = list(streams)
            for part in self.known.get(cache, ()):
                for name in streams:
                    part.pop(name, None)
            return forget(cache, streams)

        monkeypatch.setattr(kind, "repeated", grown)
        monkeypatch.setattr(kind, "forget", forgotten)
        backbone.register_forward_hook(self.after, with_kwargs=True)

    def after(self, module, args, options, found):
        inputs, layout = args
        cache = options.pop("cache", None)
        if cache is None:
            return
        before, levels = self.known.setdefault(cache, ({}, {}))
        before |= inputs
        levels |= options.pop("sigma")
        tap = options.pop("tap", None)
        fresh = None if tap is None else Tap(tap.streams, tap.layers)
        everything = {name: x for name, x in before.items() if name in layout.names}
        whole = self.backbone(everything, layout.only(everything), sigma={n: s for n, s in levels.items() if n in everything}, tap=fresh,
                              **options)
        pairs = [(whole[name], x) for name, x in found.items() if name in inputs]
        pairs += [] if tap is None else [(fresh.states[key], x) for key, x in tap.states.items() if key[0] in inputs]
        self.apart += [float((one - other).abs().max() / (1 + other.abs().max())) for one, other in pairs]


@pytest.mark.parametrize("name", sorted(set(names()) - set(PERSISTENT) - GROWING))
def test_an_evaluation_on_top_of_a_cache_is_that_of_everything_at_once(name, monkeypatch):
    model = made(name)
    shadow = Shadow(model.backbone, monkeypatch)
    with torch.no_grad():
        model.plan(recipe_window(model, batch=2).context, noise=SeededNoise([1, 2]))
    assert bool(shadow.apart) == (name not in CACHELESS)
    assert max(shadow.apart, default=0.0) < EXACT


def test_a_cache_that_mixes_up_its_rows_is_found(monkeypatch):
    model = made("joint")
    kind = type(model.backbone.new_cache())
    repeated = kind.repeated

    def mixed_up(cache, count):
        found = repeated(cache, count)
        found.layers = {name: [(k.flip(0), v.flip(0)) for k, v in layers] for name, layers in found.layers.items()}
        return found

    monkeypatch.setattr(kind, "repeated", mixed_up)
    shadow = Shadow(model.backbone, monkeypatch)
    with torch.no_grad():
        model.plan(recipe_window(model, batch=2).context, noise=SeededNoise([1, 2]))
    assert max(shadow.apart) > 10 * EXACT


def seen_at(whole, call, history, stride, past):
    """What a call without a session is shown: a history of full length, the first frame repeated before the episode, with flags."""
    at = torch.arange(call - history + 1, call + 1)
    steps = torch.arange(call * stride - past, call * stride)
    done = whole.past_actions[:, steps.clamp(min=0)] * (steps >= 0)[None, :, None]
    return replace(whole, images={n: x[:, at.clamp(min=0)] for n, x in whole.images.items()}, state=whole.state[:, at.clamp(min=0)],
                   past_actions=done, history_is_pad=(at < 0)[None], past_is_pad=(steps < 0)[None])


def test_some_recipe_carries_a_memory():
    assert "lingbot-va" in PERSISTENT


@pytest.mark.parametrize("name", PERSISTENT)
def test_a_streamed_episode_is_the_forward_of_training_at_every_call(name):
    model = made(name)
    coupling = model.config.coupling
    calls, stride = coupling.history + 2, coupling.history_stride  # the memory fills up and then moves on
    whole = fake_context(model.observation, batch=1, history=calls, past=(calls - 1) * stride, actions=model.action.size)
    session, differing = model.coupling.begin(), []
    for call in range(calls):
        context, noise = seen_at(whole, call, coupling.history, stride, coupling.past_actions), SeededNoise([call])
        streamed = model.plan(replace(seen_at(whole, call, 1, stride, stride), history_is_pad=None, past_is_pad=None), noise=noise,
                              session=session)
        anew = model.plan(context, noise=noise)
        with torch.no_grad():
            encoded = model._encode_context(context, model.eye.encode(context.scene), None, None)
            trained = model.coupling.propose(model.backbone, encoded, noise=noise, cached=False)
        for found in (anew.actions, model.action_scaler.inverse(trained.actions.float())):
            assert torch.allclose(streamed.actions, found, atol=EXACT), call
        assert torch.allclose(streamed.future.values, trained.future["video"], atol=EXACT), call
        differing.append(streamed.actions)
    assert not torch.allclose(differing[-1], differing[-2], atol=10 * EXACT)
