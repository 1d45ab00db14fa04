"""Tokens of a vision-language model, proven with the real class at a tiny random size, saved to disk and read back."""

from dataclasses import replace

import pytest
import torch
import transformers

from foreact.contract.errors import MisfitError, StorageError
from foreact.nets.vision_language import VisionLanguage
from tiny_members import SUBSTRATES

DECLARED = SUBSTRATES["VisionLanguageTokens"].encoder
IMAGE = 7


@pytest.fixture(params=["gemma", "gemma2"])
def saved(request, tmp_path):
    """(reference model of three layers, config of ours that reads after the second and points at its folder)."""
    trunk = {"model_type": request.param, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1,
             "head_dim": 8, "intermediate_size": 24, "vocab_size": 20}
    tower = {"model_type": "siglip_vision_model", "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 16, "patch_size": 8, "image_size": 16, "projection_dim": 16, "vision_use_head": False}
    torch.manual_seed(0)
    reference = transformers.PaliGemmaModel(transformers.PaliGemmaConfig(
        text_config=trunk, vision_config=tower, projection_dim=16, image_token_index=IMAGE)).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    reference.save_pretrained(tmp_path)
    return reference, replace(DECLARED, name=str(tmp_path), trunk=request.param)


def images(count=3, side=16):
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_its_tokens_are_hidden_states_of_the_reference(saved):
    """The library's own forward on four image tokens and nothing else, which its prefix attention shows to each other."""
    reference, config = saved
    encoder = config.build(16, 16)
    encoder.fit(iter(()), steps=0, seed=0)
    with torch.no_grad():
        wanted = reference(input_ids=torch.full((3, 4), IMAGE), pixel_values=images().float() / 127.5 - 1, output_hidden_states=True,
                           token_type_ids=torch.zeros(3, 4, dtype=torch.long), attention_mask=torch.ones(3, 4, dtype=torch.long))
        found = encoder(images())
    assert found.shape == (3, 4, 16)
    assert torch.allclose(found, wanted.hidden_states[config.layer], atol=1e-5)  # two spellings of "sees all": float32 rounding
    assert not torch.allclose(found, wanted.hidden_states[config.layer + 1], atol=1e-2)


def test_what_does_not_fit_is_refused(saved):
    _, config = saved
    with pytest.raises(MisfitError, match="another architecture"):
        replace(config, feed_forward=32).build(16, 16).fit(iter(()), steps=0, seed=0)
    with pytest.raises(MisfitError, match="another architecture"):
        replace(config, layer=4).build(16, 16).fit(iter(()), steps=0, seed=0)
    with pytest.raises(StorageError, match="cannot be had"):
        replace(config, name=config.name + "/nowhere").build(16, 16).fit(iter(()), steps=0, seed=0)


def test_images_are_resized_and_every_pixel_counts():
    encoder = DECLARED.build(32, 32)
    with torch.no_grad():
        before, after = encoder(images(side=32)), encoder(images(side=32).flip(-1))
    assert before.shape == (3, 4, 16)
    assert not torch.allclose(before, after, atol=1e-3)


def test_the_published_size_on_the_meta_device():
    with torch.device("meta"):
        encoder = VisionLanguage.Config(layer=18).build(224, 224)
    # PaliGemma's 2.92 billion without its table of 257,216 words of 2,048 numbers
    assert sum(p.numel() for p in encoder.parameters()) / 1e9 == pytest.approx(2.92 - 0.527, abs=0.01)
