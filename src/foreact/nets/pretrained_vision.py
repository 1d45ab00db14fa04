"""Vision transformers that others have trained, read through `transformers` (extra "pretrained").

The architecture is declared in the config, so that a model can be counted and a checkpoint loaded without a download;
`fit` is the moment at which the published weights come in. Images are resized without cropping, because what a robot
handles may be at the edge, and normalised as the weights were trained; class and register tokens are dropped. Weights that come with
a processor of another normalisation (DINOv3's for satellites, say) are refused.

V-JEPA 2 is a video model over tubelets of two frames. As a teacher of single frames it is shown each frame twice, which is how V-JEPA 2-AC
encodes a robot's frames (arXiv 2506.09985): one frame of tokens for one of the image, and nothing of motion. Its predictor is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contract.errors import MisfitError, MissingExtraError, StorageError
from foreact.nets.vision import Captioned, VisionEncoder

__all__ = ["DINOV2_LARGE", "DINOV2_SMALL", "DINOV3_BASE", "DINOV3_LARGE", "DINOV3_SMALL", "SIGLIP2_BASE", "VJEPA2_GIANT",
           "VJEPA2_GIANT_384", "VJEPA2_HUGE", "VJEPA2_LARGE", "PretrainedVision"]

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_TUBELET = 2
_FIXED = ("siglip", "vjepa2")
"""Families that take images of one size only: a table of positions, or a grid that the config of the weights states."""
_PROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json")


class PretrainedVision(VisionEncoder):
    """DINOv2 (arXiv 2304.07193), with registers (2309.16588), DINOv3 (2508.10104), V-JEPA 2 (2506.09985), or the vision tower of SigLIP
    and SigLIP 2 (2502.14786)."""

    @dataclass(frozen=True, kw_only=True)
    class Config(VisionEncoder.Config):
        """`name`: on the Hugging Face hub, or a folder. `pixels`: side of the square to which images are resized.

        width, depth, heads, patch, registers, feed_forward (None: four times the width) and trained_pixels (side of the images that
        the weights' positions are for) must be those of the weights.
        """

        name: str = "facebook/dinov2-small"
        family: Literal["dinov2", "dinov2-registers", "dinov3", "siglip", "vjepa2"] = "dinov2"
        pixels: int = 224
        width: int = 384
        depth: int = 12
        heads: int = 6
        patch: int = 14
        registers: int = 0
        trained_pixels: int = 518
        feed_forward: int | None = None

        @property
        def channels(self) -> int:
            return self.width

        def grid(self, height: int, width: int) -> tuple[int, int]:
            if self.pixels % self.patch or (self.family in _FIXED and self.pixels != self.trained_pixels):
                raise MisfitError("the encoder cannot take images of this size", where="model.substrate.encoder.pixels", found=self.pixels,
                                  accepted=self.trained_pixels if self.family in _FIXED else f"a multiple of {self.patch}")
            return self.pixels // self.patch, self.pixels // self.patch

    def __init__(self, config: Config, height: int, width: int) -> None:
        super().__init__()
        self.config, self._tokens = config, config.grid(height, width)[0] ** 2
        architecture, model = _classes(config)
        self.model: nn.Module = _seeing(model(architecture)).eval().requires_grad_(False)
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
        x = (x - self.pixel_mean) / self.pixel_std
        if self.config.family == "vjepa2":
            return self.model(pixel_values_videos=x[:, None].expand(-1, _TUBELET, -1, -1, -1)).last_hidden_state
        return self.model(pixel_values=x).last_hidden_state[:, -self._tokens:]

    def fit(self, batches: Iterable[Captioned], *, steps: int, seed: int) -> None:
        """Load the published weights; raises `MisfitError` where they are of another architecture than declared."""
        architecture, model = _classes(self.config)
        try:
            found = model.from_pretrained(self.config.name, dtype=torch.float32)
        except OSError as error:
            raise StorageError("the pretrained encoder cannot be had", where="model.substrate.encoder.name", found=self.config.name,
                               accepted="a name on the Hugging Face hub, or a folder that holds the model",
                               next_step=str(error).splitlines()[0]) from error
        self._refuse_other_pixels()
        wanted, other = self.model.state_dict(), _seeing(found).state_dict()
        differing = [name for name in sorted(wanted.keys() | other.keys())
                     if name not in wanted or name not in other or wanted[name].shape != other[name].shape]
        if differing or type(architecture).model_type not in (found.config.model_type, f"{found.config.model_type}_vision_model"):
            raise MisfitError("the weights are of another architecture than the config declares", where="model.substrate.encoder",
                              found=f"{found.config.model_type}, width {found.config.hidden_size}, depth {found.config.num_hidden_layers}, "
                                    f"heads {found.config.num_attention_heads}, patch {found.config.patch_size}, "
                                    f"trained at {getattr(found.config, _PIXELS[self.config.family])} px", accepted=repr(self.config))
        self.model.load_state_dict(other)

    def _refuse_other_pixels(self) -> None:
        """Raise `MisfitError` where the weights come with a processor that normalises otherwise."""
        from transformers.utils import cached_file

        ours = [self.pixel_mean.flatten().tolist(), self.pixel_std.flatten().tolist()]
        for name in _PROCESSORS:
            file = cached_file(self.config.name, name, _raise_exceptions_for_missing_entries=False)
            said = {} if file is None else json.loads(Path(file).read_text())
            theirs = [said.get("image_mean", ours[0]), said.get("image_std", ours[1])]
            if any(abs(a - b) > 1e-3 for own, other in zip(ours, theirs, strict=True) for a, b in zip(own, other, strict=True)):
                raise MisfitError("the weights were trained on pixels of another normalisation", where="model.substrate.encoder.name",
                                  found=f"{self.config.name}: mean {theirs[0]}, deviation {theirs[1]}",
                                  accepted=f"mean {ours[0]}, deviation {ours[1]}", next_step="choose weights for photographs")


_PIXELS = {"dinov2": "image_size", "dinov2-registers": "image_size", "dinov3": "image_size", "siglip": "image_size", "vjepa2": "crop_size"}


def _seeing(model: nn.Module) -> nn.Module:
    """The part of a model that sees; only V-JEPA 2 has another, its predictor."""
    return model.encoder if type(model).__name__ == "VJEPA2Model" else model


def _classes(config: PretrainedVision.Config) -> tuple[Any, Any]:
    """The architecture as `transformers` spells it, and the class that takes it."""
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "pretrained", "a pretrained vision encoder") from error
    sizes = {"hidden_size": config.width, "num_hidden_layers": config.depth, "num_attention_heads": config.heads,
             "patch_size": config.patch, "image_size": config.trained_pixels}
    wide = config.feed_forward or 4 * config.width
    match config.family:
        case "dinov2":
            return transformers.Dinov2Config(**sizes), transformers.Dinov2Model
        case "dinov2-registers":
            return (transformers.Dinov2WithRegistersConfig(**sizes, num_register_tokens=config.registers),
                    transformers.Dinov2WithRegistersModel)
        case "dinov3":
            return (transformers.DINOv3ViTConfig(**sizes, intermediate_size=wide, num_register_tokens=config.registers),
                    transformers.DINOv3ViTModel)
        case "vjepa2":
            sizes["crop_size"] = sizes.pop("image_size")
            return transformers.VJEPA2Config(**sizes, mlp_ratio=wide / config.width, tubelet_size=_TUBELET), transformers.VJEPA2Model
        case "siglip":
            return transformers.SiglipVisionConfig(**sizes, intermediate_size=wide), transformers.SiglipVisionModel


DINOV2_SMALL = PretrainedVision.Config()
DINOV2_LARGE = PretrainedVision.Config(name="facebook/dinov2-large", width=1024, depth=24, heads=16)
SIGLIP2_BASE = PretrainedVision.Config(name="google/siglip2-base-patch16-224", family="siglip", width=768, heads=12, patch=16,
                                       trained_pixels=224)
DINOV3_SMALL = PretrainedVision.Config(name="facebook/dinov3-vits16-pretrain-lvd1689m", family="dinov3", patch=16, registers=4,
                                       trained_pixels=224)
DINOV3_BASE = PretrainedVision.Config(name="facebook/dinov3-vitb16-pretrain-lvd1689m", family="dinov3", width=768, heads=12, patch=16,
                                      registers=4, trained_pixels=224)
DINOV3_LARGE = PretrainedVision.Config(name="facebook/dinov3-vitl16-pretrain-lvd1689m", family="dinov3", width=1024, depth=24, heads=16,
                                       patch=16, registers=4, trained_pixels=224)
VJEPA2_LARGE = PretrainedVision.Config(name="facebook/vjepa2-vitl-fpc64-256", family="vjepa2", width=1024, depth=24, heads=16, patch=16,
                                       pixels=256, trained_pixels=256)
VJEPA2_HUGE = PretrainedVision.Config(name="facebook/vjepa2-vith-fpc64-256", family="vjepa2", width=1280, depth=32, heads=16, patch=16,
                                      pixels=256, trained_pixels=256)
VJEPA2_GIANT = PretrainedVision.Config(name="facebook/vjepa2-vitg-fpc64-256", family="vjepa2", width=1408, depth=40, heads=22, patch=16,
                                       feed_forward=6144, pixels=256, trained_pixels=256)
VJEPA2_GIANT_384 = PretrainedVision.Config(name="facebook/vjepa2-vitg-fpc64-384", family="vjepa2", width=1408, depth=40, heads=22, patch=16,
                                           feed_forward=6144, pixels=384, trained_pixels=384)
