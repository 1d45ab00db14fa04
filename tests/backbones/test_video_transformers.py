"""Wan's and Cosmos' video transformers as backbones: parity with the real classes, layouts as videos, adapters, loading."""

from dataclasses import replace

import pytest
import torch
from diffusers import CosmosTransformer3DModel, WanTransformer3DModel

from foreact.backbones.cosmos import COSMOS_PREDICT2_2B
from foreact.backbones.wan import WAN_2_1_1B, WAN_2_2_5B, WAN_2_2_A14B
from foreact.contract.axes import Dimensions, SubstrateForm, Tap
from foreact.contract.errors import ConfigError, MisfitError, StorageError
from foreact.contract.layout import Layout, Sight, Stream
from foreact.couplings import Denoised, JointGeneration, PostPredictionHead
from foreact.nets.latent_video import LatentVideo
from foreact.nets.low_rank import LowRank
from tiny_members import ACTION, BACKBONES, OBSERVATION, config, losses, window

FORM = SubstrateForm(grid=(2, 4, 2), channels=3)  # two cameras of 4 x 2 tokens: a video of 4 x 4
DIMENSIONS = Dimensions(view=FORM, forms={"video": FORM}, state=3, action=2, text=6)
WAN, COSMOS = (replace(BACKBONES[name], words=0) for name in ("WanVideo", "CosmosVideo"))
EVERY = {"Wan, own time": WAN, "Wan, beside": replace(WAN, frame="beside"), "Cosmos": COSMOS}


def layout(target="velocity"):
    return Denoised.Config(target=target).layout(DIMENSIONS, (4, 8))


def built(config, layout, seed=0, text_channels=6):
    torch.manual_seed(seed)
    backbone = config.build(layout, text_channels).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return backbone


def arguments(seed=0):
    g = torch.Generator().manual_seed(seed)
    x = {"frame": torch.randn(2, 16, 3, generator=g), "video": torch.randn(2, 32, 6, generator=g)}
    return x, {"text": torch.randn(2, 5, 6, generator=g), "text_mask": torch.tensor([[True] * 5, [True] * 2 + [False] * 3])}


def as_video(values):
    """By hand: (batch, time, camera, row, column, channel) to cameras side by side."""
    return torch.stack([v.unflatten(1, (-1, 2, 4, 2))[..., :3] for v in values]).squeeze(0).permute(0, 5, 1, 3, 2, 4).flatten(4, 5)


def library(name, backbone, x, sigma, text, text_mask):
    """The real class called as its own pipeline calls it, on a video and times put together here."""
    video = torch.cat([as_video([x["frame"]]), as_video([x["video"]])], dim=2)
    words = backbone.text_in(text) * text_mask[..., None]
    first = torch.zeros(2, 1, 3, 4, 4)
    first[:, :, 0] = 1
    if name == "Cosmos":
        time = (sigma[:, None] * torch.tensor([0.0, 1.0, 1.0])).view(2, 1, 3, 1, 1)
        video = torch.cat([video, first, torch.zeros(2, 1, 3, 4, 4)], dim=1)
        return backbone.net(video, timestep=time, encoder_hidden_states=words, fps=16).sample
    if name == "Wan, beside":
        given = torch.cat([video[:, :, :1], torch.zeros(2, 3, 2, 4, 4)], dim=2)
        video = torch.cat([video, first.expand(-1, 4, -1, -1, -1), given], dim=1)
        return backbone.net(video, timestep=1000 * sigma, encoder_hidden_states=words).sample
    time = 1000 * sigma[:, None] * torch.tensor([0.0] * 4 + [1.0] * 8)  # three frames of 2 x 2 patches
    return backbone.net(video, timestep=time, encoder_hidden_states=words).sample


@pytest.mark.parametrize("name", EVERY)
def test_it_gives_what_the_library_gives(name):
    backbone = built(EVERY[name], layout())
    assert type(backbone.net) in (WanTransformer3DModel, CosmosTransformer3DModel)
    x, words = arguments()
    sigma = torch.tensor([0.3, 0.9])
    with torch.no_grad():
        found = backbone(x, layout(), sigma={"video": sigma}, **words)["video"]
        true = library(name, backbone, x, sigma, **words)
    # the same network on the same numbers: only the averaging of equal levels over a patch can round, float32
    assert torch.allclose(as_video([found]), true[:, :, 1:], atol=1e-5)
    assert true.std() > 0.1


@pytest.mark.parametrize("name", EVERY)
def test_taps_are_what_hooks_in_the_library_see(name):
    backbone = built(EVERY[name], layout())
    x, words = arguments()
    sigma, seen = torch.tensor([0.3, 0.9]), {}
    blocks = backbone.net.transformer_blocks if name == "Cosmos" else backbone.net.blocks
    handles = [block.register_forward_hook(lambda m, a, out, i=i: seen.update({i + 1: out})) for i, block in enumerate(blocks)]
    with torch.no_grad():
        library(name, backbone, x, sigma, **words)
    for handle in handles:
        handle.remove()
    tap = Tap(("frame", "video"), (1, 2))
    with torch.no_grad():
        backbone(x, layout(), sigma={"video": sigma}, tap=tap, **words)
    assert set(tap.states) == {(n, i) for n in ("frame", "video") for i in (1, 2)}
    width = EVERY[name].hidden("video")
    for layer in (1, 2):
        states = seen[layer].unflatten(1, (3, 2, 2))
        # token (camera 1, row 3, column 0) of the second future frame lies in column 2, so in patch (1, 1)
        assert torch.allclose(tap.states["video", layer][:, 16 + 8 + 6], states[:, 2, 1, 1], atol=1e-5)
        assert torch.allclose(tap.states["frame", layer][:, 1], states[:, 0, 0, 0], atol=1e-5)
        assert tap.states["video", layer].shape == (2, 32, width)


@pytest.mark.parametrize("name", EVERY)
def test_samples_and_noise_follow_from_the_velocity(name):
    backbone = built(EVERY[name], layout())
    x, words = arguments()
    sigma = torch.tensor([0.3, 0.9])
    with torch.no_grad():
        v, sample, noise = (backbone(x, layout(t), sigma={"video": sigma}, **words)["video"] for t in ("velocity", "sample", "noise"))
    assert torch.allclose(noise - sample, v, atol=1e-5)  # v = x_1 - x_0
    mixed = (1 - sigma[:, None, None]) * sample + sigma[:, None, None] * noise
    assert torch.allclose(mixed, x["video"][..., :3], atol=1e-5)


def test_each_frame_can_have_its_own_level_where_the_weights_know_it():
    levels = torch.tensor([[0.2] * 16 + [0.8] * 16] * 2)
    x, words = arguments()
    for chosen in (WAN, COSMOS):
        backbone = built(chosen, layout())
        with torch.no_grad():
            each, same = (backbone(x, layout(), sigma={"video": s}, **words)["video"] for s in (levels, torch.full((2,), 0.2)))
        assert not torch.allclose(each, same, atol=1e-3)
    with pytest.raises(MisfitError, match="one noise level"):
        built(replace(WAN, frame="beside"), layout())(x, layout(), sigma={"video": levels}, **words)


def test_joining_and_splitting_are_inverse():
    video = LatentVideo(layout(), 2)
    x, _ = arguments()
    parts = video.split(video.join(x))
    assert torch.equal(parts["frame"], x["frame"])
    assert torch.equal(parts["video"], x["video"][..., :3])
    assert torch.equal(video.join(x), torch.cat([as_video([x["frame"]]), as_video([x["video"]])], dim=2))


def test_layouts_that_are_no_video_are_refused():
    for coupling, word in ((JointGeneration.Config(), "'action' has 1 x 1 tokens of 2 channels"),
                           (PostPredictionHead.Config(), "noise None")):
        with pytest.raises(MisfitError, match=word):
            WAN.build(coupling.layout(DIMENSIONS), 6)
    frame, future = layout().streams
    blind = Layout(streams=(frame, future), sees={"frame": (Sight("frame"),), "video": (Sight("video"), Sight("frame", "causal"))})
    action = Stream(name="action", channels=3, expert="action", positions=((0.1, 0.0, 0.0),), noise="future", target="velocity")
    every = tuple(Sight(n) for n in ("frame", "video", "action"))
    with pytest.raises(MisfitError, match="sees \\['video'\\]"):
        WAN.build(blind, 6)
    with pytest.raises(MisfitError, match="'action' has 1 x 1 tokens"):
        COSMOS.build(Layout(streams=(frame, future, action), sees={"frame": every, "video": every, "action": every}), 6)
    with pytest.raises(MisfitError, match="do not divide into patches"):
        replace(WAN, patch=3).build(layout(), 6)
    with pytest.raises(MisfitError, match="latents of 3 channels; the weights take 16"):
        replace(WAN, channels=16).build(layout(), 6)


@pytest.mark.parametrize("name", EVERY)
def test_adapters_change_nothing_at_the_start_and_are_all_that_learns(name):
    torch.manual_seed(0)
    plain = EVERY[name].build(layout(), 12).eval()
    torch.manual_seed(0)
    adapted = replace(EVERY[name], adapter=LowRank(rank=2)).build(layout(), 12).eval()
    x, words = arguments()
    words["text"] = words["text"].repeat(1, 1, 2)
    sigma = {"video": torch.tensor([0.3, 0.9])}
    before = adapted(x, layout(), sigma=sigma, **words)["video"]
    assert torch.equal(before, plain(x, layout(), sigma=sigma, **words)["video"])
    learnt = {n for n, p in adapted.named_parameters() if p.requires_grad and n.startswith("net.")}
    assert learnt
    assert all("lora_" in n for n in learnt)
    held = {n: p.clone() for n, p in adapted.named_parameters()}
    optimiser = torch.optim.Adam([p for p in adapted.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):  # B is zero at the start, so A has no gradient in the first step
        optimiser.zero_grad()
        adapted(x, layout(), sigma=sigma, **words)["video"].square().mean().backward()
        optimiser.step()
    moved = {n for n, p in adapted.named_parameters() if not torch.equal(p, held[n])}
    assert moved == {n for n, p in adapted.named_parameters() if p.requires_grad}
    with pytest.raises(ConfigError, match="no adapter can be put there"):
        replace(EVERY[name], adapter=LowRank(targets=("nowhere",))).build(layout(), 6)


@pytest.mark.parametrize("name", EVERY)
def test_published_weights_come_in_from_a_folder(name, tmp_path):
    config = EVERY[name]
    if name == "Cosmos":
        torch.manual_seed(3)
        true = CosmosTransformer3DModel(in_channels=4, out_channels=3, num_attention_heads=2, attention_head_dim=12, num_layers=2,
                                        mlp_ratio=2, text_embed_dim=12, adaln_lora_dim=4, max_size=(8, 8, 8), patch_size=(1, 2, 2),
                                        rope_scale=(1.0, 3.0, 3.0), concat_padding_mask=True, extra_pos_embed_type=None)
    else:
        true = built(config, layout(), seed=3).net
    true.save_pretrained(tmp_path / "transformer")
    found = replace(config, weights=str(tmp_path)).build(layout(), 6)
    assert all(torch.equal(a, b) for a, b in zip(found.net.state_dict().values(), true.state_dict().values(), strict=True))
    assert found.net.training
    with pytest.raises(MisfitError, match=r"num_layers = 2(.|\n)*num_layers = 3"):
        replace(config, weights=str(tmp_path), depth=3).build(layout(), 6)
    with pytest.raises(StorageError, match="cannot be had"):
        replace(config, weights=str(tmp_path), subfolder="nowhere").build(layout(), 6)


@pytest.mark.parametrize(("config", "channels", "billions"), [
    (WAN_2_1_1B, 16, 1.42), (WAN_2_2_5B, 48, 5.0), (WAN_2_2_A14B, 16, 14.29), (COSMOS_PREDICT2_2B, 16, 1.96)])
def test_published_sizes_on_the_meta_device(config, channels, billions):
    form = SubstrateForm(grid=(1, 8, 8), channels=channels)
    with torch.device("meta"):
        backbone = config.build(Denoised.Config().layout(replace(DIMENSIONS, view=form, forms={"video": form}), (4,)), config.text_width)
    assert sum(p.numel() for p in backbone.parameters()) / 1e9 == pytest.approx(billions, rel=0.01)


def test_a_policy_learns_through_it():
    """A whole model: the video transformer denoises, the head reads its hidden states."""
    c = replace(config("PostPredictionHead:tapped"), backbone=BACKBONES["WanVideo"])
    model = c.build(OBSERVATION, ACTION)
    found = losses(model, window(c))
    assert set(found) == {"video", "action"}
    sum(found.values()).backward()
    assert all(p.grad is not None for n, p in model.backbone.named_parameters() if p.requires_grad)
