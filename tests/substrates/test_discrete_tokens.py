"""Discrete tokens: the words are the centres of what they stand for, and the nearest one is taken."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError, TrainingError
from foreact.substrates import DiscreteTokens
from foreact.substrates.discrete_tokens import _k_means
from tiny_members import OBSERVATION, SUBSTRATES

CONFIG = replace(SUBSTRATES["DiscreteTokens"], width=32)


def scene(count, seed):
    """Each patch of 8 x 8 is of one of three greys."""
    g = torch.Generator().manual_seed(seed)
    greys = torch.tensor([20, 120, 220], dtype=torch.uint8)
    return Scene(images={c.name: greys[torch.randint(0, 3, (count, 1, 1, 2, 2), generator=g)].repeat_interleave(8, 3)
                         .repeat_interleave(8, 4).expand(-1, -1, 3, -1, -1).contiguous() for c in OBSERVATION.cameras})


def scenes(count=100):
    return (scene(16, seed) for seed in range(count))


def test_k_means_finds_clusters_and_moves_what_is_unused():
    torch.manual_seed(0)
    centres = 10 * torch.eye(4)
    rows = centres.repeat_interleave(50, dim=0) + 0.1 * torch.randn(200, 4)
    words = _k_means(rows, 6)
    assert torch.cdist(centres, words).min(dim=1).values.max() < 0.2
    near = torch.cdist(rows, words).argmin(dim=1)
    assert len(near.unique()) == 6
    for word in near.unique():
        assert torch.allclose(words[word], rows[near == word].mean(dim=0), atol=0.1)


def test_three_kinds_of_patch_are_told_apart_and_drawn_again():
    torch.manual_seed(0)
    substrate = replace(CONFIG, codes=12).build(OBSERVATION).eval()
    measured = substrate.fit(scenes(), steps=30, seed=0)
    assert measured["psnr_words_db"] > 30
    assert measured["psnr_db"] > 25
    assert 2.5 < measured["perplexity"] <= 12
    seen = scene(8, seed=500)
    pictures = substrate.decode(substrate.encode(seen), {n: x[:, 0] for n, x in seen.images.items()})
    for name, picture in pictures.items():
        assert (picture.float() - seen.images[name].float()).abs().mean() < 15


def test_the_word_is_the_nearest_one():
    substrate = CONFIG.build(OBSERVATION)
    substrate.fit(scenes(), steps=0, seed=0)
    seen = scene(8, seed=501)
    codes = (substrate._patches(seen) - substrate.mean) @ substrate.basis
    nearest = torch.cdist(codes.flatten(0, 2), substrate.words).min(dim=1).values
    taken = (codes.flatten(0, 2) - substrate.encode(seen).flatten(0, 2) @ substrate.words).norm(dim=1)
    assert torch.allclose(nearest, taken, atol=1e-3)


def test_too_few_batches_and_odd_codebooks_are_refused():
    with pytest.raises(TrainingError, match="33"):
        CONFIG.build(OBSERVATION).fit(scenes(20), steps=0, seed=0)
    with pytest.raises(MisfitError, match="codes = 1"):
        replace(CONFIG, codes=1).form(OBSERVATION)
    assert DiscreteTokens.Config().form(replace(OBSERVATION, cameras=tuple(replace(c, height=32, width=32)
                                                                           for c in OBSERVATION.cameras))).discrete
