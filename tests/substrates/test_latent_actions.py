"""Latent actions on scenes in which something moves that is known: they carry the motion and not the scenery."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.context import Scene
from foreact.contract.errors import TrainingError
from foreact.flow.probes import nearest_score, ridge_score
from foreact.nets.latent_action import LatentActionModel
from foreact.substrates import LatentActions
from tiny_members import OBSERVATION, SUBSTRATES

CONFIG = LatentActionModel.Config(channels=3, width=32, depth=1, heads=2, kept=8, hidden=64)
TOKENS = 6


def frames(count, g):
    """A row of six tokens: scenery from four numbers, and before it a soft blob that moves up to one token to either side."""
    looks = torch.Generator().manual_seed(5)
    basis, look = 0.5 * torch.randn(4, TOKENS, 6, generator=looks), torch.randn(6, generator=looks)
    scenery, place = torch.randn(count, 4, generator=g), 2 + torch.rand(count, 1, generator=g)
    move = 2 * torch.rand(count, 1, generator=g) - 1

    def shown(at):
        return torch.einsum("nk,ktc->ntc", scenery, basis) + 2 * (-(torch.arange(TOKENS) - at).square()).exp()[..., None] * look

    return shown(place), shown(place + move), scenery, move


def learnt(adversary, steps=160):
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    model = replace(CONFIG, adversary=adversary).build(TOKENS, 6)
    before, after, *_ = frames(1000, g)
    model.start(before, after)
    usual = after.mean(dim=0)
    scales = {"v_change": float((after - before).square().mean()), "v_frame": float((after - usual).square().mean())}
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for step in range(steps):
        before, after, *_ = frames(64, g)
        optimiser.zero_grad()
        sum(model.losses(before, after, usual, strength=min(1.0, 2 * step / steps), **scales).values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return model.eval()


@pytest.fixture(scope="module")
def models():
    return {adversary: learnt(adversary) for adversary in (0.0, 1.0)}


@torch.no_grad()
def measured(model):
    before, after, scenery, move = frames(1200, torch.Generator().manual_seed(9))
    z = model.inverse(before, after)
    elsewhere = before.roll(1, dims=0)
    again = model.inverse(elsewhere, model(elsewhere, z))
    return {"move": ridge_score(z[:600], move[:600], z[600:], move[600:]),
            "scenery": nearest_score(z[:600], scenery[:600], z[600:], scenery[600:]),
            "leaked": nearest_score(z[:600], after[:600].flatten(1), z[600:], after[600:].flatten(1)),
            "transferred": float(1 - (again - z).square().mean() / z.var(dim=0).mean()),
            "explained": float(1 - (model(before, z) - after).square().mean() / (after - before).square().mean())}


def test_a_latent_action_is_the_motion_and_not_the_scenery(models):
    """No label was seen. The same latent action moves another scene in the same way."""
    found = measured(models[1.0])
    assert found["move"] > 0.9
    assert found["scenery"] < 0.1
    assert found["transferred"] > 0.85
    assert found["explained"] > 0.85


def test_the_adversary_takes_the_scene_out_and_leaves_the_motion(models):
    without, with_it = measured(models[0.0]), measured(models[1.0])
    assert with_it["leaked"] < without["leaked"] - 0.05
    assert with_it["move"] > without["move"] - 0.05


def test_each_sides_loss_moves_its_own_weights_alone():
    model = CONFIG.build(TOKENS, 6)
    before, after, *_ = frames(32, torch.Generator().manual_seed(0))

    def reached(name):
        model.zero_grad()
        model.losses(before, after, after.mean(dim=0), v_change=1.0, v_frame=1.0)[name].backward()
        return {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().max() > 0)}

    inverse = {"see", "infer_at", "infer", "bottleneck"}
    assert reached("adversary") == {"adversary"}
    assert reached("leak") == inverse
    assert reached("forward") == inverse | {"embed", "act", "move_at", "move", "change"}


def test_a_latent_action_says_nothing_of_the_future_beyond_its_own_offset():
    substrate = SUBSTRATES["LatentActions"].build(OBSERVATION).eval()
    images = {n: torch.randint(0, 256, (2, 3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
              for n in OBSERVATION.camera_names}
    later = {n: x.clone() for n, x in images.items()}
    for x in later.values():
        x[:, 2] = 255 - x[:, 2]
    one, other = (substrate.encode(Scene(images=seen)) for seen in (images, later))
    assert torch.equal(one[:, 1], other[:, 1])
    assert not torch.allclose(one[:, 2], other[:, 2], atol=1e-4)


def test_too_few_scenes_are_refused():
    substrate = LatentActions.Config(inner=SUBSTRATES["PixelLatents"], model=CONFIG).build(OBSERVATION)
    images = {n: torch.zeros(4, 3, 3, 16, 16, dtype=torch.uint8) for n in OBSERVATION.camera_names}
    with pytest.raises(TrainingError, match="too few batches"):
        substrate.fit((Scene(images=images) for _ in range(36)), steps=3, seed=0)


def test_it_begins_at_the_principal_components_of_the_change():
    model = replace(CONFIG, channels=4).build(TOKENS, 6)
    for name in ("bottleneck", "change"):
        torch.nn.init.zeros_(list(getattr(model, name).parameters())[-2])
        torch.nn.init.zeros_(list(getattr(model, name).parameters())[-1])
    before, after, *_ = frames(400, torch.Generator().manual_seed(0))
    change = (after - before).flatten(1)
    change = change - change.mean(dim=0)
    model.start(before, before + change.view(before.shape))
    leading = torch.linalg.eigh(change.T @ change).eigenvectors[:, -4:]
    z = change @ model.basis.T / model.spread
    assert torch.allclose(z.std(dim=0, unbiased=False), torch.ones(4), atol=1e-3)
    found = model.train().inverse(before, before + change.view(before.shape))
    assert torch.allclose(found, z, atol=1e-2)  # the batch norm has nothing left to do
    assert torch.allclose(model(before, z) - before, (change @ leading @ leading.T).view(before.shape), atol=1e-3)
