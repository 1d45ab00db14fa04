"""Within a plan nothing that noise cannot change is computed twice, over every recipe: counted in calls and in what goes into them."""

from collections import Counter

import pytest
import torch
from torch import nn

from foreact.acting.rehearsal import rehearsal
from foreact.contract.axes import SeededNoise
from foreact.recipes.catalogue import names, recipe
from recipe_windows import metaworld_specs


def made(name):
    run = recipe(name).run("tiny")
    torch.manual_seed(0)
    return run.model.build(*metaworld_specs(run)).eval()


def counted(model, monkeypatch):
    """Calls by what was called, while one plan is made."""
    calls = Counter()

    def watch(owner, method, word):
        before = getattr(owner, method)
        monkeypatch.setattr(owner, method, lambda *given, **named: (calls.update([word]), before(*given, **named))[1])

    for name, substrate in model.substrates.items():
        watch(substrate, "encode", f"{name} encodes")
    handles = [model.text.register_forward_pre_hook(lambda *_: calls.update(["text"]))]
    seen = set()

    def looks_again(path, given):
        key = path, given.shape, given.double().sum().item(), given.double().abs().max().item()
        calls.update(["layers twice with the same"] if key in seen else [])
        seen.add(key)

    def streams(module, given, named):
        calls.update(f"stream {name}" for name in given[0])

    for path, module in model.named_modules():
        if isinstance(module, nn.Linear) and path.endswith(".key_value"):
            handles.append(module.register_forward_pre_hook(lambda _, given, path=path: looks_again(path, given[0])))
    handles.append(model.backbone.register_forward_pre_hook(streams, with_kwargs=True))
    model.plan(rehearsal(model), noise=SeededNoise([1]))
    for handle in handles:
        handle.remove()
    return calls


@pytest.mark.parametrize("name", names())
def test_what_noise_cannot_change_is_computed_once(name, monkeypatch):
    calls = counted(made(name), monkeypatch)
    assert calls["text"] == 1
    assert sum(count for word, count in calls.items() if word.endswith("encodes")) == 1
    assert calls["layers twice with the same"] == 0
    assert calls["stream frame"] <= 1
