"""What a vision-language model makes of an image: hidden states of its language trunk at the image's tokens, frozen.

PaliGemma (arXiv 2407.07726) and PaliGemma 2 (2412.03555) through `transformers` (extra "pretrained"): the vision tower and the
projector give the tokens, which then pass the first `layer` layers of the trunk, seeing each other and no text, because what a
frame is must not depend on what is asked. The trunk's later layers, its last norm and its table of words are not kept.

The architecture is declared in the config; `fit` is the moment at which the published weights come in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contract.errors import MisfitError, MissingExtraError, StorageError
from foreact.nets.vision import Captioned, VisionEncoder

__all__ = ["VisionLanguage"]


class VisionLanguage(VisionEncoder):
    """The defaults are those of PaliGemma at 224 pixels."""

    @dataclass(frozen=True, kw_only=True)
    class Config(VisionEncoder.Config):
        """name: on the Hugging Face hub, or a folder; None for none, as where a checkpoint brings the weights.

        pixels: side of the square to which images are resized, without cropping. The sizes of the tower begin with `tower`; the
        others are the trunk's.
        """

        name: str | None = "google/paligemma-3b-pt-224"
        trunk: Literal["gemma", "gemma2"] = "gemma"
        layer: int = 9
        pixels: int = 224
        patch: int = 14
        tower_width: int = 1152
        tower_depth: int = 27
        tower_heads: int = 16
        tower_feed_forward: int = 4304
        width: int = 2048
        heads: int = 8
        key_value_heads: int = 1
        head_dim: int = 256
        feed_forward: int = 16384

        @property
        def channels(self) -> int:
            return self.width

        def grid(self, height: int, width: int) -> tuple[int, int]:
            if self.pixels % self.patch:
                raise MisfitError("the encoder cannot take images of this size", where="model.substrate.encoder.pixels",
                                  found=self.pixels, accepted=f"a multiple of {self.patch}")
            return self.pixels // self.patch, self.pixels // self.patch

    def __init__(self, config: Config, height: int, width: int) -> None:
        super().__init__()
        self.config, self._tokens = config, config.grid(height, width)[0] ** 2
        made, architecture = _classes(config)
        self.model: nn.Module = made(architecture)
        self.model.language_model.set_input_embeddings(None)
        self.model.language_model.norm = nn.Identity()
        self.model.eval().requires_grad_(False)

    def forward(self, images: UInt8[Tensor, "image 3 height width"]) -> Float[Tensor, "image tokens channels"]:
        x, side = images.float() / 255, self.config.pixels
        if x.shape[-2:] != (side, side):
            x = F.interpolate(x, size=(side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        tokens = self.model.get_image_features(2 * x - 1).pooler_output
        place = torch.arange(1, self._tokens + 1, device=x.device)[None]  # the published positions count from 1
        open_ = torch.zeros(len(x), 1, self._tokens, self._tokens, dtype=tokens.dtype, device=x.device)
        return self.model.language_model(inputs_embeds=tokens, attention_mask=open_, position_ids=place, use_cache=False).last_hidden_state

    def fit(self, batches: Iterable[Captioned], *, steps: int, seed: int) -> None:
        """Load the published weights; raises `MisfitError` where they are of another architecture than declared."""
        if self.config.name is None:
            return
        made, _ = _classes(self.config)
        try:
            found = made.from_pretrained(self.config.name, dtype=torch.float32).state_dict()
        except OSError as error:
            raise StorageError("the pretrained encoder cannot be had", where="model.substrate.encoder.name", found=self.config.name,
                               accepted="a name on the Hugging Face hub, or a folder that holds the model",
                               next_step=str(error).splitlines()[0]) from error
        wanted = self.model.state_dict()
        differing = [name for name, value in wanted.items() if name not in found or found[name].shape != value.shape]
        if differing:
            raise MisfitError("the weights are of another architecture than the config declares", where="model.substrate.encoder",
                              found=f"{differing[0]}: {tuple(found[differing[0]].shape) if differing[0] in found else 'absent'}",
                              accepted=f"{tuple(wanted[differing[0]].shape)}, from {self.config!r}")
        self.model.load_state_dict({name: found[name] for name in wanted})


def _classes(config: VisionLanguage.Config) -> tuple[Any, Any]:
    """The class and the architecture as `transformers` spells it, cut off after the layer that is read."""
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "pretrained", "a vision-language model") from error
    trunk = {"model_type": config.trunk, "hidden_size": config.width, "num_hidden_layers": config.layer, "vocab_size": 8,
             "num_attention_heads": config.heads, "num_key_value_heads": config.key_value_heads, "head_dim": config.head_dim,
             "intermediate_size": config.feed_forward}
    tower = {"model_type": "siglip_vision_model", "hidden_size": config.tower_width, "num_hidden_layers": config.tower_depth,
             "num_attention_heads": config.tower_heads, "intermediate_size": config.tower_feed_forward, "patch_size": config.patch,
             "image_size": config.pixels, "projection_dim": config.width, "vision_use_head": False}
    return transformers.PaliGemmaModel, transformers.PaliGemmaConfig(text_config=trunk, vision_config=tower, projection_dim=config.width)
