"""Vision transformers that others have trained, read through `transformers` (extra "pretrained").

The architecture is declared in the config, so that a model can be counted and a checkpoint loaded without a download;
`fit` is the moment at which the published weights come in. Images are resized without cropping, because what a robot
handles may be at the edge, and normalised as the weights were trained; class and register tokens are dropped.
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
from foreact.nets.vision import VisionEncoder

__all__ = ["DINOV2_LARGE", "DINOV2_SMALL", "SIGLIP2_BASE", "PretrainedVision"]

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class PretrainedVision(VisionEncoder):
    """DINOv2 (arXiv 2304.07193), with registers (2309.16588), or the vision tower of SigLIP and SigLIP 2 (2502.14786)."""

    @dataclass(frozen=True, kw_only=True)
    class Config(VisionEncoder.Config):
        """`name`: on the Hugging Face hub, or a folder. `pixels`: side of the square to which images are resized.

        width, depth, heads, patch, registers and trained_pixels (side of the images that the position table is for) must be
        those of the weights.
        """

        name: str = "facebook/dinov2-small"
        family: Literal["dinov2", "dinov2-registers", "siglip"] = "dinov2"
        pixels: int = 224
        width: int = 384
        depth: int = 12
        heads: int = 6
        patch: int = 14
        registers: int = 0
        trained_pixels: int = 518

        @property
        def channels(self) -> int:
            return self.width

        def grid(self, height: int, width: int) -> tuple[int, int]:
            if self.pixels % self.patch or (self.family == "siglip" and self.pixels != self.trained_pixels):
                raise MisfitError("the encoder cannot take images of this size", where="model.substrate.encoder.pixels", found=self.pixels,
                                  accepted=self.trained_pixels if self.family == "siglip" else f"a multiple of {self.patch}")
            return self.pixels // self.patch, self.pixels // self.patch

    def __init__(self, config: Config, height: int, width: int) -> None:
        super().__init__()
        self.config, self._tokens = config, config.grid(height, width)[0] ** 2
        architecture, model = _classes(config)
        self.model: nn.Module = model(architecture).eval().requires_grad_(False)
        mean, std = _HALF if config.family == "siglip" else _IMAGENET
        self.register_buffer("pixel_mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std)[:, None, None], persistent=False)

    def train(self, mode: bool = True) -> PretrainedVision:
        """Stays in evaluation mode: nothing in it is trained."""
        return super().train(False)

    def forward(self, images: UInt8[Tensor, "image 3 height width"]) -> Float[Tensor, "image tokens channels"]:
        x, side = images.float() / 255, self.config.pixels
        if x.shape[-2:] != (side, side):
            x = F.interpolate(x, size=(side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        return self.model(pixel_values=(x - self.pixel_mean) / self.pixel_std).last_hidden_state[:, -self._tokens:]

    def fit(self, batches: Iterable[UInt8[Tensor, "image 3 height width"]], *, steps: int, seed: int) -> None:
        """Load the published weights; raises `MisfitError` where they are of another architecture than declared."""
        architecture, model = _classes(self.config)
        try:
            found = model.from_pretrained(self.config.name, dtype=torch.float32)
        except OSError as error:
            raise StorageError("the pretrained encoder cannot be had", where="model.substrate.encoder.name", found=self.config.name,
                               accepted="a name on the Hugging Face hub, or a folder that holds the model",
                               next_step=str(error).splitlines()[0]) from error
        wanted, other = self.model.state_dict(), found.state_dict()
        differing = [name for name in sorted(wanted.keys() | other.keys())
                     if name not in wanted or name not in other or wanted[name].shape != other[name].shape]
        if differing or type(architecture).model_type not in (found.config.model_type, f"{found.config.model_type}_vision_model"):
            raise MisfitError("the weights are of another architecture than the config declares", where="model.substrate.encoder",
                              found=f"{found.config.model_type}, width {found.config.hidden_size}, depth {found.config.num_hidden_layers}, "
                                    f"heads {found.config.num_attention_heads}, patch {found.config.patch_size}, "
                                    f"trained at {found.config.image_size} px", accepted=repr(self.config))
        self.model.load_state_dict(other)


def _classes(config: PretrainedVision.Config) -> tuple[Any, Any]:
    """The architecture as `transformers` spells it, and the class that takes it."""
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "pretrained", "a pretrained vision encoder") from error
    sizes = {"hidden_size": config.width, "num_hidden_layers": config.depth, "num_attention_heads": config.heads,
             "patch_size": config.patch, "image_size": config.trained_pixels}
    match config.family:
        case "dinov2":
            return transformers.Dinov2Config(**sizes), transformers.Dinov2Model
        case "dinov2-registers":
            return (transformers.Dinov2WithRegistersConfig(**sizes, num_register_tokens=config.registers),
                    transformers.Dinov2WithRegistersModel)
        case "siglip":
            return transformers.SiglipVisionConfig(**sizes, intermediate_size=4 * config.width), transformers.SiglipVisionModel


DINOV2_SMALL = PretrainedVision.Config()
DINOV2_LARGE = PretrainedVision.Config(name="facebook/dinov2-large", width=1024, depth=24, heads=16)
SIGLIP2_BASE = PretrainedVision.Config(name="google/siglip2-base-patch16-224", family="siglip", width=768, heads=12, patch=16,
                                       trained_pixels=224)
