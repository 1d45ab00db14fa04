"""Language models that others have trained as backbones, through `transformers`: the text model of Qwen3-VL, and Gemma.

The real class runs unchanged on `inputs_embeds`: the words of the instruction, the given streams as embedded tokens, then
learnt query tokens for what is to be predicted, under the layout's mask (see `LanguageTrunk`, whose words hold here too).
Qwen3-VL turns time, row and column into its positions (M-RoPE); Gemma counts tokens. "gemma" is the trunk of PaliGemma,
"gemma2" that of PaliGemma 2; from a vision-language model the language part alone is taken. The words come from the model's
own text encoder through a linear layer, not from the table of the language model, which is not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from foreact.contract.axes import Backbone, Cache, Tap
from foreact.contract.errors import MisfitError, MissingExtraError, StorageError
from foreact.contract.layout import Layout
from foreact.nets.latent_video import ValueCache
from foreact.nets.low_rank import LowRank, adapt
from foreact.nets.query_streams import QueryStreams, require_noiseless
from foreact.nets.sequence import places, whole_mask

__all__ = ["GEMMA_2B", "QWEN3_VL_2B", "PretrainedLanguageTrunk"]


class PretrainedLanguageTrunk(Backbone):
    """A layout in which nothing is to be predicted leaves it without a single parameter."""

    family = "LLM/VLM"
    provides = frozenset({"deterministic", "taps"})

    @dataclass(frozen=True, kw_only=True)
    class Config(Backbone.Config):
        """The architecture, which must be that of the weights.

        weights: on the Hugging Face hub, or a folder; None for a random start and no download.
        axes: how many rotary frequencies go to time, rows and columns (Qwen3-VL).
        adapter: learn low-rank adapters in place of the weights.
        """

        weights: str | None = None
        model: Literal["qwen3-vl", "gemma", "gemma2"] = "qwen3-vl"
        width: int = 2048
        depth: int = 28
        heads: int = 16
        key_value_heads: int = 8
        head_dim: int = 128
        feed_forward: int = 6144
        axes: tuple[int, int, int] = (24, 20, 20)
        attention: Literal["prefix", "causal"] = "causal"
        adapter: LowRank | None = None

        def hidden(self, expert: str) -> int:
            return self.width

        def layers(self) -> int:
            return self.depth

    def __init__(self, config: Config, layout: Layout, text_channels: int) -> None:
        for stream in layout.streams:
            require_noiseless(stream)
        super().__init__()
        self.config = config
        self.active = any(s.target is not None for s in layout.streams)
        if not self.active:
            return
        self.text_in = nn.Linear(text_channels, config.width)
        self.streams = QueryStreams(layout, config.width)
        self.net = _trunk(config)
        if config.adapter is not None:
            adapt(self.net, config.adapter, ("q_proj", "k_proj", "v_proj", "o_proj"))

    def new_cache(self) -> ValueCache:
        return ValueCache()

    def forward(self, inputs: Mapping[str, Float[Tensor, "batch _ _"]], layout: Layout, *,
                sigma: Mapping[str, Float[Tensor, "batch *token"]], text: Float[Tensor, "batch words width"],
                text_mask: Bool[Tensor, "batch words"], cache: Cache | None = None, tap: Tap | None = None,
                ) -> dict[str, Float[Tensor, "batch _ _"]]:
        """Streams with a target need not be among `inputs`, whose values for them are not read. `sigma` is not read.

        With a cache, streams run before take part again with the values that they had.
        """
        if not self.active:
            return {}
        held = cache.values if isinstance(cache, ValueCache) else {}
        asked = [name for name in layout.names if name in self.streams.asked and (name in inputs or name not in held)]
        held |= inputs
        if not asked and tap is None:
            return {}
        x = self.streams.enter({n: held[n] for n in layout.names if n not in self.streams.queries}, layout, (), text.shape[0])
        tokens = torch.cat([self.text_in(text), *(x[name] for name in layout.names)], dim=1)
        sizes = [text.shape[1], *(layout[name].length for name in layout.names)]

        def by_stream(states: Tensor) -> dict[str, Tensor]:
            return dict(zip(layout.names, states.split(sizes, dim=1)[1:], strict=True))

        mask = whole_mask(layout, text_mask, causal=self.config.attention == "causal")
        bias = torch.zeros(mask.shape, dtype=tokens.dtype, device=tokens.device).masked_fill(~mask, torch.finfo(tokens.dtype).min)
        handles = [] if tap is None else [
            layer.register_forward_hook(lambda m, a, out, i=index + 1: tap.take(i, by_stream(out)))
            for index, layer in enumerate(self.net.layers)]
        try:
            last = self.net(inputs_embeds=tokens, attention_mask=bias, position_ids=self._positions(layout, text), use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        found = by_stream(last.last_hidden_state)
        return {name: self.streams.leave(name, found[name]) for name in asked}

    def _positions(self, layout: Layout, text: Tensor) -> Tensor:
        """(3, batch, tokens) for rotary time, row and column, or (batch, tokens) where the model only counts."""
        place = places(layout, text.shape[1], words="")
        if self.config.model == "qwen3-vl":
            rows = torch.tensor([p for name in ("", *layout.names) for p in place[name]], device=text.device)
            return rows.T[:, None, :].expand(-1, text.shape[0], -1)
        count = sum(len(p) for p in place.values())
        return torch.arange(count, device=text.device).expand(text.shape[0], -1)


def _trunk(config: PretrainedLanguageTrunk.Config) -> nn.Module:
    """The language model without its table of words, random or with its published weights."""
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "pretrained", "a pretrained language trunk") from error
    sizes: dict[str, Any] = {
        "hidden_size": config.width, "num_hidden_layers": config.depth, "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_value_heads, "head_dim": config.head_dim, "intermediate_size": config.feed_forward}
    match config.model:
        case "qwen3-vl":
            rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": list(config.axes), "mrope_interleaved": True}
            made, architecture = transformers.Qwen3VLTextModel, transformers.Qwen3VLTextConfig(rope_parameters=rope, **sizes)
        case "gemma":
            made, architecture = transformers.GemmaModel, transformers.GemmaConfig(**sizes)
        case "gemma2":
            made, architecture = transformers.Gemma2Model, transformers.Gemma2Config(**sizes)
    if config.weights is None or torch.get_default_device().type == "meta":
        architecture.vocab_size, architecture.pad_token_id = 1, None
        net = made(architecture)
    else:
        net = _loaded(config, architecture.model_type, sizes)
    net.set_input_embeddings(None)
    return net


def _loaded(config: PretrainedLanguageTrunk.Config, kind: str, sizes: Mapping[str, Any]) -> nn.Module:
    import transformers

    try:
        found = transformers.AutoConfig.from_pretrained(config.weights).get_text_config()
        differing = {name: getattr(found, name, None) for name, value in sizes.items() if getattr(found, name, None) != value}
        if found.model_type == kind and not differing:
            whole = transformers.AutoModel.from_pretrained(config.weights, dtype=torch.float32)
            return whole.get_decoder().train()
    except OSError as error:
        raise StorageError("the pretrained language model cannot be had", where="model.backbone.weights", found=config.weights,
                           accepted="a name on the Hugging Face hub, or a folder that holds the model",
                           next_step=str(error).splitlines()[0]) from error
    raise MisfitError("the weights are of another architecture than the config declares", where="model.backbone.weights",
                      found=", ".join([found.model_type, *(f"{name} = {value}" for name, value in differing.items())]),
                      accepted=", ".join([kind, *(f"{name} = {sizes[name]}" for name in differing)]))


QWEN3_VL_2B = PretrainedLanguageTrunk.Config(weights="Qwen/Qwen3-VL-2B-Instruct")
GEMMA_2B = PretrainedLanguageTrunk.Config(weights="google/paligemma-3b-pt-224", model="gemma", depth=18, heads=8, key_value_heads=1,
                                          head_dim=256, feed_forward=16384, attention="prefix")
