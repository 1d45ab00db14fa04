"""Pretrained encoders, proven with the real classes of transformers at a tiny random size, saved to disk and read back."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError, StorageError
from foreact.contract.specs import CameraSpec, ObservationSpec, StateSpec
from foreact.nets import pretrained_vision
from foreact.substrates import FrozenFeatures, PretrainedVision

transformers = pytest.importorskip("transformers")

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 4, "image_size": 24}
DECLARED = PretrainedVision.Config(width=16, depth=2, heads=2, patch=4, pixels=24, trained_pixels=24)
FAMILIES = {
    "dinov2": (transformers.Dinov2Model, transformers.Dinov2Config(**SIZES), replace(DECLARED, family="dinov2"), 1),
    "dinov2-registers": (transformers.Dinov2WithRegistersModel, transformers.Dinov2WithRegistersConfig(**SIZES, num_register_tokens=3),
                         replace(DECLARED, family="dinov2-registers", registers=3), 4),
    "siglip": (transformers.SiglipVisionModel, transformers.SiglipVisionConfig(**SIZES, intermediate_size=64),
               replace(DECLARED, family="siglip"), 0),
    "dinov3": (transformers.DINOv3ViTModel, transformers.DINOv3ViTConfig(**SIZES, intermediate_size=64, num_register_tokens=4),
               replace(DECLARED, family="dinov3", registers=4), 5),
    "vjepa2": (transformers.VJEPA2Model, transformers.VJEPA2Config(
        **{name: size for name, size in SIZES.items() if name != "image_size"}, crop_size=24, mlp_ratio=3.0, pred_hidden_size=24,
        pred_num_hidden_layers=1, pred_num_attention_heads=2), replace(DECLARED, family="vjepa2", feed_forward=48), 0),
}
NORMALISATION = {"siglip": ([0.5] * 3, [0.5] * 3)}
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.fixture(params=sorted(FAMILIES))
def saved(request, tmp_path):
    """(reference model, config of ours that points at its folder, tokens that are not patches, family)."""
    model, architecture, config, extra = FAMILIES[request.param]
    torch.manual_seed(0)
    reference = model(architecture).eval()
    reference.save_pretrained(tmp_path)
    return reference, replace(config, name=str(tmp_path)), extra, request.param


def images(count=3, side=24):
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def shown(reference, pixels):
    """What the real model says of them; a video model is shown each image for one tubelet of two frames."""
    if reference.config.model_type == "vjepa2":
        return reference(pixel_values_videos=torch.stack([pixels, pixels], dim=1), skip_predictor=True).last_hidden_state
    return reference(pixel_values=pixels).last_hidden_state


def test_its_tokens_are_those_of_the_reference(saved):
    reference, config, extra, family = saved
    encoder = config.build(24, 24)
    encoder.fit(iter(()), steps=0, seed=0)
    mean, std = (torch.tensor(v)[:, None, None] for v in NORMALISATION.get(family, IMAGENET))
    with torch.no_grad():
        wanted = shown(reference, (images().float() / 255 - mean) / std)[:, extra:]
        found = encoder(images())
    assert found.shape == (3, 36, 16)
    assert torch.equal(found, wanted)


def test_weights_come_in_when_fitting_and_not_before(saved):
    reference, config, *_ = saved
    encoder, theirs = config.build(24, 24), pretrained_vision._seeing(reference).state_dict().values()
    assert not all(torch.equal(a, b) for a, b in zip(encoder.model.state_dict().values(), theirs, strict=True))
    encoder.fit(iter(()), steps=0, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(encoder.model.state_dict().values(), theirs, strict=True))
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not encoder.train().model.training


def test_the_patch_grid_is_upright(saved):
    """Patches change where the image changes: row by row from the top left, seen in the embeddings before any attention."""
    _, config, *_ = saved
    encoder = config.build(24, 24)
    encoder.fit(iter(()), steps=0, seed=0)
    with torch.no_grad():
        for layer in encoder.model.modules():
            if type(layer).__name__.endswith(("Attention", "SelfAttention")):
                for linear in layer.modules():
                    if isinstance(linear, torch.nn.Linear):
                        linear.weight.zero_()
        plain, marked = images(1), images(1).clone()
        marked[:, :, 4:8, 16:20] = 255 - marked[:, :, 4:8, 16:20]  # row 1, column 4 of 6 x 6
        moved = (encoder(plain) - encoder(marked)).abs().amax(dim=2)[0]
    assert moved.nonzero().flatten().tolist() == [1 * 6 + 4]


def test_in_a_substrate_it_is_whitened_and_pooled_and_travels_with_the_checkpoint(saved):
    _, config, *_ = saved
    observation = ObservationSpec(cameras=(CameraSpec(name="front", height=48, width=48),), rate_hz=10.0,
                                  state=StateSpec(names=("x",), units=("m",)))
    substrate = FrozenFeatures.Config(encoder=config, grid=(3, 3)).build(observation)
    measured = substrate.fit((Scene(images={"front": images(8, 48).roll(i, dims=2)[:, None]}) for i in range(4)), steps=3, seed=0)
    assert measured["effective_rank"] > 2
    values = substrate.encode(Scene(images={"front": images(8, 48)[:, None]}))
    assert values.shape == (8, 1, 9, 16)
    elsewhere = FrozenFeatures.Config(encoder=replace(config, name="a folder that is gone"), grid=(3, 3)).build(observation)
    elsewhere.load_state_dict(substrate.state_dict())
    assert torch.equal(elsewhere.encode(Scene(images={"front": images(8, 48)[:, None]})), values)


def test_resizing_is_smooth():
    """A photograph made smaller keeps its means: no aliasing, no shift."""
    encoder = FAMILIES["siglip"][2].build(24, 24)
    seen = []
    handle = encoder.model.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True)
    stripes = (torch.arange(96) % 2 * 255).to(torch.uint8).expand(1, 3, 96, 96)
    with torch.no_grad():
        encoder(stripes)
    handle.remove()
    assert seen[0].shape == (1, 3, 24, 24)
    assert seen[0].abs().max() < 0.1  # stripes one pixel wide become grey, which is zero after normalisation


def test_other_weights_than_declared_are_refused(saved):
    _, config, *_ = saved
    with pytest.raises(MisfitError, match=r"width 16, depth 2, heads 2, patch 4"):
        replace(config, depth=3).build(24, 24).fit(iter(()), steps=0, seed=0)


def test_weights_that_are_nowhere_are_one_clear_error(tmp_path):
    with pytest.raises(StorageError, match="the pretrained encoder cannot be had"):
        replace(DECLARED, name=str(tmp_path / "nothing")).build(24, 24).fit(iter(()), steps=0, seed=0)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(MisfitError, match="a multiple of 4"):
        replace(DECLARED, pixels=26).grid(24, 24)
    with pytest.raises(MisfitError, match="accepted: 24"):
        replace(DECLARED, family="siglip", pixels=28).grid(24, 24)
    assert np.prod(replace(DECLARED, pixels=48).grid(24, 24)) == 144


@pytest.mark.parametrize(("name", "millions"), [("DINOV2_SMALL", 22), ("DINOV2_LARGE", 304), ("DINOV3_SMALL", 21.6), ("DINOV3_BASE", 85.7),
                                                ("DINOV3_LARGE", 303), ("VJEPA2_LARGE", 304), ("VJEPA2_HUGE", 632), ("VJEPA2_GIANT", 1012)])
def test_the_architectures_are_those_that_were_published(name, millions):
    """Counted without allocating: papers round to 21, 86 and 300 million (DINOv3), 300 and 600 million and a billion (V-JEPA 2)."""
    config = getattr(pretrained_vision, name)
    with torch.device("meta"):
        encoder = config.build(64, 64)
    assert sum(p.numel() for p in encoder.parameters()) == pytest.approx(1e6 * millions, rel=0.01)
    assert config.grid(64, 64) == (config.pixels // config.patch,) * 2


def test_weights_for_other_pixels_are_refused(saved, tmp_path):
    _, config, _, family = saved
    name = "video_preprocessor_config.json" if family == "vjepa2" else "preprocessor_config.json"
    ours = dict(zip(("image_mean", "image_std"), NORMALISATION.get(family, IMAGENET), strict=True))
    (tmp_path / name).write_text(json.dumps(ours))
    config.build(24, 24).fit(iter(()), steps=0, seed=0)
    (tmp_path / name).write_text(json.dumps({"image_mean": [0.43, 0.411, 0.296], "image_std": [0.213, 0.156, 0.143]}))
    with pytest.raises(MisfitError, match="another normalisation"):
        config.build(24, 24).fit(iter(()), steps=0, seed=0)
