"""Alignment by one override in real recipes of several families, and the table of docs/how-to/align-hidden-states.md.

Each is trained for a few steps at its smallest size on windows that are seen again: the loss is there and falls, its gradient reaches the
aligned layer and the layers below and none above, and the action is the same function of the same weights as without it.
"""

import re
from pathlib import Path

import pytest
import torch

from foreact.contract.config import apply_overrides
from foreact.recipes.catalogue import recipe
from recipe_windows import fitted, metaworld_specs, recipe_window

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "align-hidden-states.md"
ALIGNED = ("mv-wam", "vpp", "lingbot-va", "cosmos-policy", "gr-1", "flare")
TEACHERS = {
    "FrozenFeatures": "",
    "SemanticMasks": "",
    "Depth": "",
    "PointMaps": ', "cameras": [0]',
}
LAYER = re.compile(r"(?:^|\.)(?:layers|blocks)\.(\d+)\.")


def override(teacher, more=""):
    return f'model.alignment={{"type": "Alignment", "teacher": {{"type": "{teacher}"}}{more}}}'


def built(name, *overrides):
    """The recipe as it stands, and as it is with these words."""
    run = apply_overrides(recipe(name).run("tiny"), overrides)
    torch.manual_seed(0)
    return run, run.model.build(*metaworld_specs(run))


@pytest.mark.parametrize("name", ALIGNED)
def test_one_override_aligns_a_recipe(name):
    run, model = built(name, override("FrozenFeatures"))
    fitted(model, steps=1)
    window, train = recipe_window(model), frozenset(run.training.stages[-1].train)
    aligned, optimiser = [], torch.optim.AdamW([p for _, p in model.parameters_to_train()], lr=1e-3)
    for _ in range(4):
        losses = model.losses(window, train=train, generator=torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        if not aligned:
            losses["alignment"].backward(retain_graph=True)
            reached = {n for n, p in model.backbone.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
            assert not any(p.grad is not None for p in model.teacher.parameters())
            optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
        aligned.append(float(losses["alignment"].detach()))
    assert 0 < aligned[-1] < 0.9 * aligned[0]
    depths = {int(found[1]) + 1 for found in map(LAYER.search, reached) if found}
    assert depths == set(range(1, model.alignment.layers[-1] + 1)), "the aligned layer and those below, none above"

    _, plain = built(name)
    kept = {n: x for n, x in model.state_dict().items() if not n.startswith(("teacher.", "alignment."))}
    plain.load_state_dict(kept)
    called = []
    for part in (*model.teacher.modules(), *model.alignment.modules()):
        part.register_forward_hook(lambda *_: called.append(1))
    assert torch.equal(model.eval().plan(window.context).actions, plain.eval().plan(window.context).actions)
    assert not called, "nothing of the teacher or the projections runs when acting"
    layers = f"{', '.join(map(str, model.alignment.layers))} of {model.backbone.config.layers()}"
    row = f"| `{name}` | `{type(model.coupling).__name__}` over `{type(model.backbone).__name__}` | {layers} |"
    assert row in PAGE.read_text(), row


@pytest.mark.parametrize("teacher", TEACHERS)
def test_semantics_and_geometry_teach_by_one_override(teacher):
    _, model = built("vpp", override(teacher, TEACHERS[teacher]))
    fitted(model, steps=1)
    window = recipe_window(model)
    alignment = model.losses(window, train=frozenset({"video", "action"}), generator=torch.Generator().manual_seed(0))["alignment"]
    alignment.backward()
    assert alignment > 0
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.backbone.parameters())
    assert f'"type": "{teacher}"' in PAGE.read_text()
