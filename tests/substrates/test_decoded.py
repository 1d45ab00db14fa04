"""Decoded pixels: predicted as latents, shown as the very pixels that the decoder gives."""

import pytest
import torch
from torch.nn import functional as F

from foreact.contract.axes import SeededNoise
from foreact.contract.config import decode
from foreact.contract.context import Scene
from foreact.contract.errors import ConfigError
from foreact.substrates import Decoded, PixelLatents
from tiny_members import OBSERVATION, SUBSTRATES, alive, config, window


def images(count=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 256, (count, 3, 4, 4), generator=g).float()
    picture = F.interpolate(coarse, (16, 16), mode="bilinear").to(torch.uint8)
    return {camera.name: picture.roll(i, 0)[:, None] for i, camera in enumerate(OBSERVATION.cameras)}


def fitted(channels=48):
    torch.manual_seed(0)
    config = Decoded.Config(inner=PixelLatents.Config(channels=channels, patch=8, width=8, depth=1, floor=0.0))
    substrate = config.build(OBSERVATION).eval()
    substrate.fit((Scene(images=images(12, seed)) for seed in range(60)), steps=12, seed=0)
    return substrate


def test_the_form_of_what_is_predicted_is_the_latents_and_of_what_is_shown_pixels():
    form = SUBSTRATES["Decoded"].form(OBSERVATION)
    assert (form.grid, form.channels, form.exposed_channels) == ((2, 2, 2), 4, 3 * 8 * 8)
    assert form.exposed.channels == 3 * 8 * 8


def test_it_shows_the_picture_as_patches_in_minus_one_to_one_on_the_tokens_grid():
    substrate, seen = fitted(), images()
    shown = substrate.expose(substrate.encode(Scene(images=seen)))
    true = torch.stack([F.pixel_unshuffle(seen[n][:, 0].float() / 127.5 - 1, 8) for n in OBSERVATION.camera_names], dim=1)
    true = true.flatten(3).transpose(2, 3).flatten(1, 2)[:, None]
    # 48 of 192 principal components of smooth pictures: the rest of their variance is small
    assert (shown - true).square().mean() < 0.05 * true.var()


def test_what_is_watched_is_what_is_shown_rounded_to_bytes():
    substrate = fitted()
    values = substrate.encode(Scene(images=images())) + 0.3
    shown, watched = substrate.expose(values), substrate.decode(values, {})
    for camera, name in enumerate(OBSERVATION.camera_names):
        patches = shown[:, 0].unflatten(1, (2, 4))[:, camera].transpose(1, 2).unflatten(2, (2, 2))
        whole = F.pixel_shuffle(patches, 8).add(1).mul(127.5)
        assert (whole.clamp(0, 255) - watched[name][:, 0]).abs().max() <= 0.5001
        assert not torch.equal(whole, whole.round())


def test_the_decoder_runs_when_a_model_plans_and_a_diagnosis_reaches_through_it():
    model = alive(config("PostPredictionHead:inverse", "Decoded"))
    ran = []
    model.substrate.inner.decoder.register_forward_hook(lambda *a: ran.append(1))
    context, noise = window(model.config).context, SeededNoise([1, 2, 3, 4])
    plain = model.plan(context, noise=noise)
    assert len(ran) == 2, "the present and the future"
    assert plain.future.substrates == {"video": "Decoded"}
    zeroed = model.plan(context, noise=noise, through=lambda name, values, sigma: torch.zeros_like(values))
    assert not torch.allclose(plain.actions, zeroed.actions, atol=1e-4)


def test_no_gradient_flows_through_the_decoder():
    values = torch.randn(1, 1, 8, 48, requires_grad=True)
    assert not fitted().expose(values).requires_grad


def test_what_has_no_decoder_is_refused_inside():
    with pytest.raises(ConfigError):
        decode(Decoded.Config, {"inner": {"type": "FrozenFeatures"}})
