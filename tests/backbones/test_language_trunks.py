"""Language trunks: parity with the real classes on `inputs_embeds`, masks by hand, adapters, loading."""

from dataclasses import replace

import pytest
import torch
import transformers

from foreact.backbones.pretrained_language import GEMMA_2B, QWEN3_VL_2B
from foreact.contract.axes import Dimensions, SubstrateForm, Tap
from foreact.contract.errors import MisfitError, StorageError
from foreact.contract.layout import Layout, Sight, Stream
from foreact.couplings import OnePass
from foreact.nets.low_rank import LowRank
from foreact.nets.sequence import whole_mask
from tiny_members import ACTION, BACKBONES, OBSERVATION, alive, config, losses, window

FORM = SubstrateForm(grid=(1, 2, 2), channels=3)
DIMENSIONS = Dimensions(view=FORM, forms={"video": FORM}, state=3, action=2, text=6)
LAYOUT = OnePass.Config().layout(DIMENSIONS, (4, 8))
QWEN = replace(BACKBONES["PretrainedLanguageTrunk"], attention="causal")
EVERY = {"qwen3-vl": QWEN, "gemma": replace(QWEN, model="gemma"), "gemma2": replace(QWEN, model="gemma2")}
CLASSES = {"qwen3-vl": transformers.Qwen3VLTextModel, "gemma": transformers.GemmaModel, "gemma2": transformers.Gemma2Model}
WORDS = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])


def built(config, seed=0):
    torch.manual_seed(seed)
    backbone = config.build(LAYOUT, 6).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return backbone


def arguments(seed=0):
    g = torch.Generator().manual_seed(seed)
    return {"frame": torch.randn(2, 4, 3, generator=g)}, {"text": torch.randn(2, 5, 6, generator=g), "text_mask": WORDS}


def sequence(backbone, x, words):
    queries = backbone.streams.queries["video"].expand(2, -1, -1)
    return torch.cat([backbone.text_in(words["text"]), backbone.streams.embed["frame"](x["frame"]), queries], dim=1)


def by_hand(name):
    """Positions as the library takes them: words count up on all axes, then two frames behind the present, each of 2 x 2 tokens."""
    if name != "qwen3-vl":
        return None
    time = torch.tensor([*range(5), *[5] * 4, *[6] * 4, *[7] * 4])
    row = torch.tensor([*range(5), *[5, 5, 6, 6] * 3])
    column = torch.tensor([*range(5), *[5, 6, 5, 6] * 3])
    return torch.stack([time, row, column])[:, None].expand(-1, 2, -1)


@pytest.mark.parametrize("name", EVERY)
def test_causal_it_gives_what_the_library_gives(name):
    """The library with its own causal mask over the same embedded tokens, padded words marked as it marks padding."""
    backbone = built(EVERY[name])
    assert type(backbone.net) is CLASSES[name]
    x, words = arguments()
    with torch.no_grad():
        found = backbone(x, LAYOUT, sigma={}, **words)["video"]
        real = torch.cat([WORDS, torch.ones(2, 12, dtype=torch.bool)], dim=1).long()
        true = backbone.net(inputs_embeds=sequence(backbone, x, words), attention_mask=real, position_ids=by_hand(name), use_cache=False)
        true = backbone.streams.unembed["video"](true.last_hidden_state[:, -8:])
    assert torch.allclose(found, true, atol=1e-5)  # the same kernels under two spellings of one mask: float32 rounding
    assert true.std() > 0.1


@pytest.mark.parametrize("name", EVERY)
def test_as_a_prefix_it_gives_what_the_library_gives_under_that_mask(name):
    backbone = built(replace(EVERY[name], attention="prefix"))
    x, words = arguments()
    may = torch.zeros(2, 1, 17, 17, dtype=torch.bool)
    may[:, :, :, :5] = WORDS[:, None, None]  # everything sees the real words
    may[:, :, 5:9, 5:9] = may[:, :, 9:, 5:] = True  # the frame sees itself, queries see frame and queries
    with torch.no_grad():
        found = backbone(x, LAYOUT, sigma={}, **words)["video"]
        true = backbone.net(inputs_embeds=sequence(backbone, x, words), position_ids=by_hand(name), use_cache=False,
                            attention_mask=torch.zeros(may.shape).masked_fill(~may, torch.finfo(torch.float32).min))
        true = backbone.streams.unembed["video"](true.last_hidden_state[:, -8:])
    assert torch.allclose(found, true, atol=1e-5)
    assert torch.equal(may, whole_mask(LAYOUT, WORDS, causal=False))


@pytest.mark.parametrize("name", EVERY)
def test_taps_are_the_hidden_states_of_the_library(name):
    backbone = built(EVERY[name])
    x, words = arguments()
    tap, seen = Tap(("frame", "video"), (1, 2)), []
    handles = [layer.register_forward_hook(lambda m, a, out: seen.append(out)) for layer in backbone.net.layers]
    with torch.no_grad():
        backbone(x, LAYOUT, sigma={}, tap=tap, **words)
    for handle in handles:
        handle.remove()
    for layer in (1, 2):
        assert torch.equal(tap.states["frame", layer], seen[layer - 1][:, 5:9])
        assert torch.equal(tap.states["video", layer], seen[layer - 1][:, 9:])


def test_the_mask_of_a_causal_sequence_is_a_triangle_within_the_layout():
    every = torch.ones(1, 2, dtype=torch.bool)
    assert torch.equal(whole_mask(LAYOUT, every, causal=True)[0, 0], torch.ones(14, 14, dtype=torch.bool).tril())
    a, b = (Stream(name=n, channels=1, expert="video", positions=((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))) for n in "ab")
    strange = Layout(streams=(a, b), sees={"a": (Sight("b"), Sight("a", "past")), "b": (Sight("a", "causal"),)})
    assert whole_mask(strange, every, causal=True)[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0],  # a: itself before; b comes later in the sequence
        [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0]]


@pytest.mark.parametrize("attention", ["prefix", "causal"])
def test_our_trunk_lets_nothing_later_in_where_it_is_causal(attention):
    backbone = built(replace(BACKBONES["LanguageTrunk"], attention=attention))
    x, words = arguments()
    changed = words | {"text": words["text"].index_fill(1, torch.tensor(4), 3.0)}  # a word that is real in the first text only
    with torch.no_grad():
        before, after = (backbone(x, LAYOUT, sigma={}, **w)["video"] for w in (words, changed))
        assert torch.equal(before[1], after[1])
        assert not torch.allclose(before[0], after[0], atol=1e-3)
        backbone.streams.queries["video"][-1] += 1
        last = backbone(x, LAYOUT, sigma={}, **words)["video"]
    assert torch.allclose(before[:, :-1], last[:, :-1], atol=1e-5) == (attention == "causal")


@pytest.mark.parametrize("name", EVERY)
def test_adapters_change_nothing_at_the_start_and_are_all_that_learns(name):
    plain, adapted = built(EVERY[name]), replace(EVERY[name], adapter=LowRank(rank=2)).build(LAYOUT, 6).eval()
    missing = adapted.load_state_dict({n.replace("proj.weight", "proj.base_layer.weight") if "_attn" in n else n: p
                                       for n, p in plain.state_dict().items()}, strict=False)
    assert all("lora_" in n for n in missing.missing_keys)
    assert not missing.unexpected_keys
    x, words = arguments()
    assert torch.equal(adapted(x, LAYOUT, sigma={}, **words)["video"], plain(x, LAYOUT, sigma={}, **words)["video"])
    held = {n: p.clone() for n, p in adapted.named_parameters()}
    optimiser = torch.optim.Adam([p for p in adapted.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):
        optimiser.zero_grad()
        adapted(x, LAYOUT, sigma={}, **words)["video"].square().mean().backward()
        optimiser.step()
    moved = {n for n, p in adapted.named_parameters() if n.startswith("net.") and not torch.equal(p, held[n])}
    assert moved == {n for n, p in adapted.named_parameters() if "lora_" in n}
    assert moved


def whole_model(name):
    """A tiny vision-language model of the family, or a language model where it has none here."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 12,
             "intermediate_size": 24, "vocab_size": 20}
    if name == "gemma":
        tower = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "image_size": 8,
                 "patch_size": 4, "model_type": "siglip_vision_model", "projection_dim": 16}
        return transformers.PaliGemmaModel(transformers.PaliGemmaConfig(
            text_config=sizes | {"model_type": "gemma"}, vision_config=tower, projection_dim=16, image_token_index=3))
    if name == "gemma2":
        return transformers.Gemma2Model(transformers.Gemma2Config(**sizes))
    tower = {"hidden_size": 8, "depth": 1, "num_heads": 1, "intermediate_size": 8, "out_hidden_size": 16, "num_position_embeddings": 4,
             "deepstack_visual_indexes": [0], "patch_size": 4}
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [2, 2, 2], "mrope_interleaved": True}
    return transformers.Qwen3VLModel(transformers.Qwen3VLConfig(text_config=sizes | {"rope_parameters": rope}, vision_config=tower))


@pytest.mark.parametrize("name", EVERY)
def test_published_weights_come_in_from_a_folder(name, tmp_path):
    torch.manual_seed(3)
    true = whole_model(name)
    true.save_pretrained(tmp_path)
    found = replace(EVERY[name], weights=str(tmp_path)).build(LAYOUT, 6)
    weights = {n: p for n, p in true.get_decoder().state_dict().items() if not n.startswith("embed_tokens")}
    assert weights.keys() == found.net.state_dict().keys()
    assert all(torch.equal(p, weights[n]) for n, p in found.net.state_dict().items())
    x, words = arguments()
    assert found(x, LAYOUT, sigma={}, **words)["video"].isfinite().all()
    with pytest.raises(MisfitError, match=r"num_hidden_layers = 2(.|\n)*num_hidden_layers = 3"):
        replace(EVERY[name], weights=str(tmp_path), depth=3).build(LAYOUT, 6)
    with pytest.raises(StorageError, match="cannot be had"):
        replace(EVERY[name], weights=str(tmp_path / "nowhere")).build(LAYOUT, 6)


@pytest.mark.parametrize(("chosen", "billions"), [(QWEN3_VL_2B, 1.41), (GEMMA_2B, 1.98)])
def test_published_sizes_on_the_meta_device_without_the_table_of_words(chosen, billions):
    with torch.device("meta"):
        backbone = chosen.build(LAYOUT, 6)
    assert sum(p.numel() for p in backbone.net.parameters()) / 1e9 == pytest.approx(billions, rel=0.01)


def test_it_learns_in_half_precision_too():
    """Under autocast, as recipes train; a mask or a norm in the wrong precision would raise or warn."""
    for name in ("LanguageTrunk", "PretrainedLanguageTrunk"):
        backbone = built(BACKBONES[name])
        x, words = arguments()
        with torch.no_grad():
            whole = backbone(x, LAYOUT, sigma={}, **words)["video"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = backbone(x, LAYOUT, sigma={}, **words)["video"]
        half.square().mean().backward()
        assert half.dtype == torch.float32
        # bfloat16 keeps 8 bits: 0.4 % a step, over two layers and their norms
        assert (half - whole).abs().mean() < 0.05 * whole.abs().mean()
        assert all(p.grad.isfinite().all() for p in backbone.parameters())


@pytest.mark.parametrize("name", ["LanguageTrunk", "PretrainedLanguageTrunk"])
def test_a_policy_learns_through_it(name):
    c = replace(config("PostPredictionHead"), backbone=BACKBONES[name])
    model = alive(c)
    found = losses(model, window(c))
    assert set(found) == {"video", "action"}
    sum(found.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.backbone.parameters())
    assert model.plan(window(c).context).future is not None
    bare = c.without_future().build(OBSERVATION, ACTION)
    assert list(bare.backbone.parameters()) == []
