"""Frozen features: the measures tell a collapse, whitening, pooling; too few frames are refused."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError, TrainingError
from foreact.nets.augmentation import cropped, recoloured
from foreact.nets.self_distilled import SelfDistilled, _balanced
from foreact.nets.text_matched import TextMatched
from foreact.nets.vision import Captioned
from foreact.substrates import FrozenFeatures
from tiny_members import OBSERVATION, SUBSTRATES

CONFIG = SUBSTRATES["FrozenFeatures"]


def noise(count, seed):
    g = torch.Generator().manual_seed(seed)
    return {c.name: torch.randint(0, 256, (count, 3, c.height, c.width), generator=g, dtype=torch.uint8) for c in OBSERVATION.cameras}


def scene(images):
    return Scene(images={name: image[:, None] for name, image in images.items()})


def test_a_collapsed_encoder_is_seen_in_the_measures():
    torch.manual_seed(0)
    sound, dead = CONFIG.build(OBSERVATION), CONFIG.build(OBSERVATION)
    for parameter in dead.encoder.trunk.stem.parameters():
        parameter.data.zero_()  # it no longer looks at the image
    for substrate in (sound, dead):
        substrate.encoder.fit = lambda images, steps, seed: None
    good, bad = (s.fit((scene(noise(16, i)) for i in range(6)), steps=5, seed=0) for s in (sound, dead))
    assert set(good) == set(bad) == {"variation", "effective_rank", "retrieval"}
    assert good["variation"] > 0.01 > bad["variation"]
    assert good["effective_rank"] > 2
    assert good["retrieval"] > 0.5 > bad["retrieval"]


def test_whitening_takes_the_place_away_and_decorrelates_channels():
    torch.manual_seed(0)
    substrate = replace(CONFIG, floor=0.01).build(OBSERVATION)
    substrate.encoder.fit = lambda images, steps, seed: None
    seen = [noise(16, i) for i in range(6)]
    substrate.fit(map(scene, seen), steps=5, seed=0)
    values = torch.cat([substrate.encode(scene(batch))[:, 0] for batch in seen[:5]])
    assert torch.allclose(values.mean(dim=0), torch.zeros(8, 16), atol=1e-3)
    covariance = torch.cov(values.flatten(0, 1).T, correction=0)
    # a layer norm ends the encoder, so one direction never varies and is left at zero
    assert torch.allclose(covariance[:15, :15], torch.eye(15), atol=3e-2)


def test_tokens_are_pooled_to_the_declared_grid():
    torch.manual_seed(0)
    fine = replace(CONFIG, encoder=replace(CONFIG.encoder, patch=4), grid=(4, 4)).build(OBSERVATION).eval()
    coarse = replace(CONFIG, encoder=replace(CONFIG.encoder, patch=4), grid=(2, 2)).build(OBSERVATION).eval()
    coarse.encoder.load_state_dict(fine.encoder.state_dict())
    images = scene(noise(2, 0))
    values = fine.encode(images).unflatten(2, (2, 2, 2, 2, 2))  # camera, row, row within, column, column within
    assert torch.allclose(values.mean(dim=(4, 6)).flatten(2, 4), coarse.encode(images), atol=1e-5)


def test_a_grid_that_does_not_divide_is_refused():
    with pytest.raises(MisfitError, match="2 x 2 tokens to 3 x 3"):
        replace(CONFIG, grid=(3, 3)).form(OBSERVATION)


def test_too_few_frames_are_refused():
    with pytest.raises(TrainingError, match="4 and one more to measure on"):
        CONFIG.build(OBSERVATION).fit((scene(noise(4, i)) for i in range(4)), steps=4, seed=0)


def test_self_distillation_moves_the_teacher_and_leaves_nothing_behind():
    torch.manual_seed(0)
    encoder = SelfDistilled.Config(width=16, depth=1, heads=2, patch=8, prototypes=16).build(16, 16)
    before = {n: v.clone() for n, v in encoder.state_dict().items()}
    encoder.fit((Captioned(noise(8, i)["front"]) for i in range(3)), steps=3, seed=0)
    after = encoder.state_dict()
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[n], after[n]) for n in before if n != "trunk.hidden" and not n.endswith("bias"))


def bars(count, seed):
    """Pictures of noise with a bright bar, across or upright; the instruction says which."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 100, (count, 3, 16, 16), generator=generator, dtype=torch.uint8)
    upright = torch.rand(count, generator=generator) < 0.5
    for image, standing, at in zip(images, upright, torch.randint(2, 14, (count,), generator=generator), strict=True):
        image[(..., slice(at, at + 2)) if standing else (slice(None), slice(at, at + 2))] = 230
    return Captioned(images, tuple("make it stand" if standing else "lay it down" for standing in upright)), upright


def test_an_encoder_that_matches_words_learns_what_they_tell_apart():
    torch.manual_seed(0)
    encoder = TextMatched.Config(width=32, depth=1, heads=2, patch=8, learning_rate=3e-3).build(16, 16)
    before = {n: v.clone() for n, v in encoder.state_dict().items()}
    encoder.fit((bars(32, i)[0] for i in range(60)), steps=60, seed=0)
    assert before.keys() == encoder.state_dict().keys()  # the words are left behind
    (seen, upright), (other, whole) = bars(256, 1000), bars(256, 2000)
    with torch.no_grad():
        known, asked = (encoder.trunk(x.float() / 127.5 - 1)[:, 0] for x in (seen.images, other.images))
    known, asked = (torch.cat([x, torch.ones(len(x), 1)], dim=1) for x in (known, asked))
    weights = torch.linalg.lstsq(known, upright.float()[:, None]).solution
    assert ((asked @ weights > 0.5)[:, 0] == whole).float().mean() > 0.8


@pytest.mark.parametrize("texts", [(), ("only one",) * 4])
def test_an_encoder_that_matches_words_needs_several_instructions(texts):
    encoder = TextMatched.Config(width=16, depth=1, heads=2, patch=8).build(16, 16)
    with pytest.raises(TrainingError, match="needs several"):
        encoder.fit(iter([Captioned(noise(4, 0)["front"], texts)]), steps=2, seed=0)


def test_the_loss_of_matching_is_siglips():
    whole, tokens = torch.randn(3, 4), torch.randn(2, 1, 4)
    z, u = F.normalize(whole, dim=-1), F.normalize(tokens[:, 0], dim=-1)
    sign = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [1.0, -1.0]])
    found = TextMatched._loss(whole, tokens, torch.ones(2, 1, dtype=torch.bool), torch.tensor([0, 1, 0]), torch.tensor([1.5, -2.0]))
    expected = -torch.log(torch.sigmoid(sign * (math.exp(1.5) * z @ u.T - 2.0))).sum() / 3
    torch.testing.assert_close(found, expected)


def test_balanced_shares_use_every_prototype_alike():
    shares = _balanced(torch.cat([torch.full((1, 32, 1), 5.0), torch.randn(1, 32, 7, generator=torch.Generator().manual_seed(0))], dim=2),
                       rounds=20)
    assert torch.allclose(shares.sum(dim=2), torch.ones(1, 32), atol=1e-5)
    assert torch.allclose(shares.sum(dim=1), torch.full((1, 8), 4.0), atol=0.05)


def test_views_keep_their_form_and_differ():
    images = noise(6, 0)["front"]
    torch.manual_seed(0)
    other = recoloured(images)
    assert (other.shape, other.dtype) == (images.shape, torch.uint8)
    assert not torch.equal(other, images)
    assert torch.equal(recoloured(images, strength=0.0), images)
    whole = images.float()
    assert cropped(whole, (0.5, 1.0)).shape == whole.shape


def test_a_crop_shows_a_rectangle_of_the_image():
    """On an image of its own coordinates a crop is linear, within the image, and smaller than it."""
    torch.manual_seed(0)
    row, column = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    seen = cropped(torch.stack([row, column, row * 0]).expand(32, 3, 16, 16), (0.3, 0.6))
    extent = seen[:, 0, -1, 0] - seen[:, 0, 0, 0]
    assert ((extent > 0.8) & (extent < 1.8)).all()
    assert torch.allclose(seen[:, 0].diff(n=2, dim=1)[:, 1:-1], torch.zeros(1), atol=1e-4)
    assert torch.allclose(seen[:, 1, 0], seen[:, 1, -1], atol=1e-4)


def test_the_encoder_is_part_of_the_config():
    from foreact.contract.config import apply_overrides, decode, encode

    changed = apply_overrides(FrozenFeatures.Config(), ["encoder=PretrainedVision", "encoder.pixels=112"])
    assert changed.encoder.channels == 384
    assert decode(FrozenFeatures.Config, encode(changed)) == changed
