"""Cosmos-Predict2's video transformer as a backbone, through `CosmosTransformer3DModel` of `diffusers`.

Its times are sigma, one for each latent frame; the given frame has time 0 and is marked by a further channel, as the
video-to-world weights have it (the published pipeline gives it time 0.0001). A last channel, zero, says that nothing is
padding; it is put in here and not by the class, whose own way needs another package. With F the network and t = sigma the
published denoiser is x_0 = x_t - t F, so F is the velocity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foreact.backbones.latent_video import LatentVideoBackbone, pretrained
from foreact.contract.errors import MissingExtraError

__all__ = ["COSMOS_PREDICT2_2B", "CosmosVideo"]


class CosmosVideo(LatentVideoBackbone):
    """Diffusion over a latent video; attention and text as the real class has them."""

    family = "Diffusion"
    provides = frozenset({"denoise", "taps"})

    @dataclass(frozen=True, kw_only=True)
    class Config(LatentVideoBackbone.Config):
        """`expansion`: of the feed-forward. `modulation`: rank of the noise modulation.

        largest: frames, rows and columns that there can be. scale: of the rotary frequencies in time, rows and columns.
        places: learnt ones beside the rotary ones, as Cosmos 1 has them.
        frames_per_second: of latent frames, which rotary times follow; None for frames as they come.
        """

        heads: int = 16
        depth: int = 28
        text_width: int = 1024
        expansion: float = 4.0
        modulation: int = 256
        largest: tuple[int, int, int] = (128, 240, 240)
        scale: tuple[float, float, float] = (1.0, 3.0, 3.0)
        places: bool = False
        frames_per_second: int | None = 16

    def _made(self, channels: int) -> nn.Module:
        try:
            from diffusers import CosmosTransformer3DModel
        except ImportError as error:
            raise MissingExtraError("diffusers", "pretrained", "the video transformer of Cosmos") from error
        config = self.config
        return pretrained(config, CosmosTransformer3DModel, {
            "in_channels": channels + 1, "out_channels": channels, "num_attention_heads": config.heads,
            "attention_head_dim": config.head_dim, "num_layers": config.depth, "mlp_ratio": config.expansion,
            "text_embed_dim": config.text_width, "adaln_lora_dim": config.modulation, "max_size": config.largest,
            "patch_size": (1, config.patch, config.patch), "rope_scale": config.scale, "concat_padding_mask": True,
            "extra_pos_embed_type": "learnable" if config.places else None,
        }, {"in_channels": channels + 2, "concat_padding_mask": False})

    def _blocks(self) -> nn.ModuleList:
        return self.net.transformer_blocks

    def _velocity(self, video: Float[Tensor, "B C T R K"], sigma: Float[Tensor, "B 1 T R K"], given: Float[Tensor, "B 1 T R K"],
                  text: Float[Tensor, "B words width"]) -> Float[Tensor, "B C T R K"]:
        video = torch.cat([video, given, torch.zeros_like(given)], dim=1)
        return self.net(video, timestep=sigma.mean(dim=(3, 4), keepdim=True), encoder_hidden_states=text,
                        fps=self.config.frames_per_second, return_dict=False)[0]


COSMOS_PREDICT2_2B = CosmosVideo.Config(weights="nvidia/Cosmos-Predict2-2B-Video2World", channels=16)
