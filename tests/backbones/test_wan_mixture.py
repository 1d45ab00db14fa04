"""Wan's transformer as an expert: alone the library's own result; with another beside it one clock and one head space."""

from dataclasses import replace

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch import nn

from foreact.backbones.wan import WAN_2_1_1B
from foreact.backbones.wan_mixture import WanMixture
from foreact.contract.axes import Dimensions, SeededNoise, SubstrateForm, Tap
from foreact.contract.errors import MisfitError, StorageError
from foreact.contract.layout import Sight
from foreact.couplings import Denoised, JointGeneration
from foreact.flow.rotary import angles, turn, wan
from foreact.nets.low_rank import LowRank
from foreact.nets.streams import Rotations
from foreact.nets.wan_expert import beside
from tiny_members import BACKBONES, alive, config, losses, window

FORM = SubstrateForm(grid=(2, 4, 2), channels=3)  # two cameras of 4 x 2 tokens: a video of 4 x 4, of 2 x 2 patches
DIMENSIONS = Dimensions(view=FORM, forms={"video": FORM}, state=3, action=2, text=6)
TINY = BACKBONES["WanMixture"]
FRAMES = {frame: replace(TINY, video=replace(TINY.video, frame=frame)) for frame in ("own-time", "beside", "added")}
OPEN = {"frame": ("frame", "video")}


def video_layout(target="velocity"):
    """Only what the transformer itself carries; the given frame sees the others, as in the class itself."""
    layout = Denoised.Config(target=target).layout(DIMENSIONS, (4, 8))
    return replace(layout, sees=dict.fromkeys(layout.names, tuple(Sight(name) for name in layout.names)))


def joint_layout(**settings):
    return JointGeneration.Config(horizon=8, future_offsets=(4, 8), sees=OPEN, video_target="velocity", **settings).layout(DIMENSIONS)


def built(config, layout, seed=0, text_channels=6):
    torch.manual_seed(seed)
    backbone = config.build(layout, text_channels).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return backbone


def arguments(layout, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = {s.name: torch.randn(2, s.length, s.channels + s.condition, generator=g) for s in layout.streams}
    return x, {"text": torch.randn(2, 5, 6, generator=g), "text_mask": torch.tensor([[True] * 5, [True] * 2 + [False] * 3])}


def as_video(values):
    """By hand: (batch, time, camera, row, column, channel) to cameras side by side."""
    return values.unflatten(1, (-1, 2, 4, 2))[..., :3].permute(0, 5, 1, 3, 2, 4).flatten(4, 5)


def library(frame, backbone, x, sigma, text, text_mask):
    """`WanTransformer3DModel.forward` on a video, times and words put together here."""
    expert = backbone.stack.experts["video"]
    assert type(expert.net) is WanTransformer3DModel
    words = nn.functional.pad(expert.text_in(text) * text_mask[..., None], (0, 0, 0, 3))
    video = torch.cat([as_video(x["frame"]), as_video(x["video"])], dim=2)
    if frame == "own-time":
        time = 1000 * sigma[:, None] * torch.tensor([0.0] * 4 + [1.0] * 8)  # three frames of 2 x 2 patches
    else:
        given = torch.zeros(2, 1, 3, 4, 4)
        given[:, :, 0] = 1
        video, time = beside(video, given), 1000 * sigma
    return expert.net(video, timestep=time, encoder_hidden_states=words).sample


@pytest.mark.parametrize("frame", FRAMES)
def test_with_no_other_expert_it_gives_what_the_library_gives(frame):
    layout = video_layout()
    backbone = built(FRAMES[frame], layout)
    assert set(backbone.stack.experts) == {"video"}
    x, words = arguments(layout)
    sigma = torch.tensor([0.3, 0.9])
    tap, seen = Tap(("frame", "video"), (1, 2)), {}
    for index, block in enumerate(backbone.stack.experts["video"].net.blocks):
        block.register_forward_hook(lambda m, a, out, i=index: seen.update({i + 1: out}))
    with torch.no_grad():
        found = backbone(x, layout, sigma={"video": sigma}, tap=tap, **words)["video"]
        assert not seen  # the blocks were taken apart
        true = library(frame, backbone, x, sigma, **words)
    # the same products, attention in other shapes and sines of angles rounded to float32: measured below 2e-6
    assert torch.allclose(as_video(found), true[:, :, 1:], atol=1e-5)
    assert true.std() > 0.1
    for layer in (1, 2):  # token (camera 1, row 3, column 0) of the second future frame lies in column 2, so in patch (1, 1)
        assert torch.allclose(tap.states["video", layer][:, 16 + 8 + 6], seen[layer].unflatten(1, (3, 2, 2))[:, 2, 1, 1], atol=1e-5)
        assert tap.states["video", layer].shape == (2, 32, FRAMES[frame].hidden("video"))


def test_the_expert_beside_it_changes_nothing_that_does_not_see_it():
    """MV-WAM: the video is not contaminated by the action; so Wan's result is still the library's with an action beside it."""
    layout = joint_layout()
    for frame, chosen in FRAMES.items():
        backbone = built(chosen, layout)
        x, words = arguments(layout)
        sigma = torch.tensor([0.3, 0.9])
        with torch.no_grad():
            found = backbone(x, layout, sigma={"video": sigma, "action": sigma}, **words)
            true = library(frame, backbone, x, sigma, **words)
        assert torch.allclose(as_video(found["video"]), true[:, :, 1:], atol=1e-5)
        assert found["action"].shape == (2, 8, 2)


def test_positions_turn_as_wans_own_and_actions_by_quarters():
    """The library's rotary embedding knows whole frames only; between them the angle grows evenly."""
    layout = joint_layout()
    expert = built(TINY, layout).stack.experts["video"]
    rotations, head = Rotations(wan(12)), 12
    whole = [(float(t), float(r), float(c)) for t in range(3) for r in range(2) for c in range(2)]
    assert [*expert.places(layout["frame"]), *expert.places(layout["video"])] == whole
    x = torch.randn(2, 2, len(whole), head, generator=torch.Generator().manual_seed(0))
    cos, sin = expert.net.rope(torch.zeros(1, 3, 3, 4, 4))
    a, b = x.transpose(1, 2).unflatten(-1, (-1, 2)).unbind(-1)
    wanted = torch.stack([a * cos[..., 0::2] - b * sin[..., 1::2], a * sin[..., 1::2] + b * cos[..., 0::2]], dim=-1).flatten(-2)
    found = turn(x, rotations(tuple(whole), x.device), adjacent=True)
    assert torch.allclose(found, wanted.transpose(1, 2), atol=1e-6)
    times = [position[0] for position in layout["action"].positions]
    assert times == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    steps = angles(layout["action"].positions, wan(12))
    assert torch.allclose(steps[3], angles(((1.0, 0.0, 0.0),), wan(12))[0])
    assert torch.allclose(4 * steps[0], steps[3])


@pytest.mark.parametrize("frame", FRAMES)
def test_samples_and_noise_follow_from_the_velocity(frame):
    x, words = arguments(video_layout())
    backbone, sigma = built(FRAMES[frame], video_layout()), torch.tensor([0.3, 0.9])
    with torch.no_grad():
        v, sample, noise = (backbone(x, video_layout(t), sigma={"video": sigma}, **words)["video"] for t in ("velocity", "sample", "noise"))
    assert torch.allclose(noise - sample, v, atol=1e-5)  # v = x_1 - x_0
    assert torch.allclose((1 - sigma[:, None, None]) * sample + sigma[:, None, None] * noise, x["video"][..., :3], atol=1e-5)


def test_each_frame_can_have_its_own_level_where_the_weights_know_it():
    levels = torch.tensor([[0.2] * 16 + [0.8] * 16] * 2)
    x, words = arguments(video_layout())
    backbone = built(FRAMES["own-time"], video_layout())
    with torch.no_grad():
        each, same, alike = (backbone(x, video_layout(), sigma={"video": s}, **words)["video"]
                             for s in (levels, torch.full((2,), 0.2), torch.full((2, 32), 0.2)))
    assert not torch.allclose(each, same, atol=1e-3)
    assert torch.allclose(alike, same, atol=1e-5)
    with pytest.raises(MisfitError, match="one noise level"):
        built(FRAMES["beside"], video_layout())(x, video_layout(), sigma={"video": levels}, **words)


def test_adapters_change_nothing_at_the_start_and_are_all_that_learns_in_it():
    layout = joint_layout()
    plain, adapted = TINY, replace(TINY, video=replace(TINY.video, adapter=LowRank(rank=2)))
    x, words = arguments(layout)
    found = []
    for chosen in (plain, adapted):
        torch.manual_seed(0)
        found.append(chosen.build(layout, 6).eval()(x, layout, sigma={"video": torch.tensor([0.3, 0.9])}, **words)["video"])
    assert torch.equal(*found)
    learnt = {n for n, p in adapted.build(layout, 6).named_parameters() if p.requires_grad}
    assert all("lora_" in n for n in learnt if ".video.net." in n)
    assert any("lora_" in n for n in learnt)
    assert any(n.startswith("stack.experts.action.") for n in learnt)


def test_text_to_video_weights_take_a_mask_and_given_latents_that_mean_nothing_at_the_start(tmp_path):
    layout = joint_layout()
    true = built(FRAMES["own-time"], layout, seed=3).stack.experts["video"].net
    true.save_pretrained(tmp_path / "transformer")
    backbone = replace(TINY, video=replace(TINY.video, frame="added", weights=str(tmp_path))).build(layout, 6).eval()
    x, words = arguments(layout)
    sigma = torch.tensor([0.3, 0.9])
    text = nn.functional.pad(backbone.stack.experts["video"].text_in(words["text"]) * words["text_mask"][..., None], (0, 0, 0, 3))
    video = torch.cat([as_video(x["frame"]), as_video(x["video"])], dim=2)
    found = backbone(x, layout, sigma={"video": sigma, "action": sigma}, **words)["video"]
    with torch.no_grad():
        wanted = true(video, timestep=1000 * sigma, encoder_hidden_states=text).sample
    assert torch.allclose(as_video(found), wanted[:, :, 1:], atol=1e-5)
    found.square().mean().backward()
    reads = backbone.stack.experts["video"].net.patch_embedding.weight
    assert (reads[:, 3:] == 0).all()
    assert (reads.grad[:, 3:].flatten(2).abs().amax(dim=(0, 2)) > 0).all()  # and can be learnt to be read


@pytest.mark.parametrize("frame", ["own-time", "beside"])
def test_published_weights_come_in_from_a_folder(frame, tmp_path):
    chosen, layout = FRAMES[frame], joint_layout()
    true = built(chosen, layout, seed=3).stack.experts["video"].net
    true.save_pretrained(tmp_path / "transformer")

    def with_weights(**settings):
        return replace(chosen, video=replace(chosen.video, weights=str(tmp_path), **settings))

    found = with_weights().build(layout, 6).stack.experts["video"].net
    assert all(torch.equal(a, b) for a, b in zip(found.state_dict().values(), true.state_dict().values(), strict=True))
    assert found.training
    with pytest.raises(MisfitError, match=r"model.backbone.video.weights(.|\n)*num_layers = 2(.|\n)*num_layers = 3"):
        with_weights(depth=3).build(layout, 6)
    with pytest.raises(StorageError, match="cannot be had"):
        with_weights(subfolder="nowhere").build(layout, 6)


def test_layouts_that_it_cannot_carry_are_refused():
    with pytest.raises(MisfitError, match="latents of 3 channels; the weights take 16"):
        replace(TINY, video=WAN_2_1_1B).build(joint_layout(), 6)
    shut = JointGeneration.Config(horizon=8, future_offsets=(4, 8)).layout(DIMENSIONS)
    with pytest.raises(MisfitError, match=r"'frame' of the coupling, which does not see(.|\n)*sees="):
        FRAMES["beside"].build(shut, 6)
    layout = joint_layout()
    causal = replace(layout, sees={**layout.sees, "action": (Sight("video", "causal"), Sight("action"))})
    with pytest.raises(MisfitError, match=r"'action' of the coupling sees 'video' by the token \(causal\)"):
        TINY.build(causal, 6)
    with pytest.raises(MisfitError, match="do not divide into patches"):
        replace(TINY, video=replace(TINY.video, patch=3)).build(layout, 6)
    lost = replace(layout, streams=tuple(replace(s, expert="actoin") if s.name == "state" else s for s in layout.streams))
    with pytest.raises(MisfitError, match="did you mean 'action'"):
        TINY.build(lost, 6)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_policy_learns_through_it_and_the_action_reads_the_video_in_every_layer(frame):
    c = config("JointGeneration")
    c = replace(c, backbone=FRAMES[frame], coupling=replace(c.coupling, sees=OPEN))
    model = alive(c)
    found = losses(model, window(c))
    assert set(found) == {"video", "action"}
    found["action"].backward()
    net = model.backbone.stack.experts["video"].net
    reached = [block.attn1.to_k.weight.grad for block in net.blocks]
    assert all(g is not None and g.abs().max() > 0 for g in reached)
    assert net.proj_out.weight.grad is None
    losses(model, window(c))["video"].backward()
    assert all(p.grad is not None for p in model.backbone.parameters() if p.requires_grad)


def test_the_shared_cache_agrees_with_running_everything():
    """By default the given frame sees itself alone and is run once; opened to the future it is run with it in every step."""
    c = replace(config("JointGeneration"), backbone=FRAMES["own-time"])
    for sees in ({}, OPEN):
        own = replace(c, coupling=replace(c.coupling, sees=sees))
        model = alive(own)
        encoded = model.encode_window(window(own))
        with torch.no_grad():
            one, other = (model.coupling.propose(model.backbone, encoded, noise=SeededNoise(range(4)), cached=cached)
                          for cached in (True, False))
        assert torch.allclose(one.actions, other.actions, atol=1e-4)
        assert torch.allclose(one.future["video"], other.future["video"], atol=1e-4)


def test_the_published_video_expert_on_the_meta_device():
    form = SubstrateForm(grid=(1, 8, 8), channels=16)
    layout = JointGeneration.Config(future_offsets=(4, 8)).layout(replace(DIMENSIONS, view=form, forms={"video": form}))
    with torch.device("meta"):
        backbone = WanMixture.Config().build(layout, 4096, 768)
    by_expert = {name: sum(p.numel() for p in expert.parameters()) / 1e9 for name, expert in backbone.stack.experts.items()}
    assert by_expert["video"] == pytest.approx(1.42, rel=0.01)
    assert by_expert["action"] == pytest.approx(0.43, rel=0.05)
