"""The core of LeRobot's FastWAM at the matched size: `infer_action` with its cache of the present, and `infer_joint`.

The frozen video autoencoder is replaced by random latents, and the text encoder by given tokens, so that the transformers are timed and
not what stands before them. The package's modules above the core are not run: they bring in every other policy. The check of
`infer_joint` against `infer_action` at every call is switched off, and nothing is decoded to pixels.
"""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from typing import Any

import torch
from wire import Built, serve


def _core() -> Any:
    """The package's modules on the way to the core, without what their own files import."""
    root = importlib.util.find_spec("lerobot").submodule_search_locations[0]
    for name in ("policies", "policies.fastwam"):
        module = types.ModuleType(f"lerobot.{name}")
        module.__path__ = [f"{root}/{name.replace('.', '/')}"]
        sys.modules[module.__name__] = module
    return importlib.import_module("lerobot.policies.fastwam.wan")


class Latents(torch.nn.Module):
    """In place of the autoencoder: the latents of one image, and no pixels back."""

    temporal_downsample_factor, upsampling_factor, z_dim = 4, 16, 48

    def __init__(self) -> None:
        super().__init__()
        self.present = torch.randn(1, self.z_dim, 1, 8, 16)

    def encode(self, videos: Any, **_: Any) -> torch.Tensor:
        return self.present


def build(case: str, size: dict[str, Any]) -> Built:
    torch.set_num_threads(size["threads"])
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    core, heads = _core(), size["heads"]
    shape = {"hidden_dim": size["hidden"], "ffn_dim": size["feed_forward"], "freq_dim": 256, "text_dim": size["text_width"],
             "num_heads": heads, "attn_head_dim": size["hidden"] // heads, "num_layers": size["layers"], "eps": 1e-6}
    video = core.WanVideoDiT(patch_size=[1, 2, 2], in_dim=48, out_dim=48, seperated_timestep=True, fuse_vae_embedding_in_latents=True,
                             video_attention_mask_mode="first_frame_causal", **shape)
    action = core.ActionDiT(action_dim=size["action"], **shape)
    model = core.FastWAM(
        video_expert=video, action_expert=action, vae=Latents(), text_encoder=None, tokenizer=None, text_dim=size["text_width"],
        mot=core.MoT(mixtures={"video": video, "action": action}, mot_checkpoint_mixed_attn=False), proprio_dim=size["state"],
        device="cpu", torch_dtype=torch.float32).eval()
    imagined: list[tuple[int, ...]] = []
    model._decode_latents = lambda latents, **_: imagined.append(tuple(latents.shape))
    given = {"prompt": None, "input_image": torch.rand(3, 128, 256), "action_horizon": size["horizon"], "seed": 0,
             "proprio": torch.randn(1, size["state"]), "context": torch.randn(1, size["text_tokens"], size["text_width"]),
             "context_mask": torch.ones(1, size["text_tokens"], dtype=torch.bool), "num_inference_steps": size["steps"]}

    @torch.no_grad()
    def call() -> Any:
        if case == "action-only":
            return model.infer_action(**given)
        return model.infer_joint(num_video_frames=1 + 4 * size["future_frames"], test_action_with_infer_action=False, **given)

    found = tuple(call()["action"].shape)
    assert found == (size["horizon"], size["action"]), found
    assert case == "action-only" or imagined[0] == (1, 48, 1 + size["future_frames"], 8, 16), imagined
    return call, {"parameters": sum(p.numel() for p in model.parameters()), "torch": torch.__version__}


if __name__ == "__main__":
    serve(build)
