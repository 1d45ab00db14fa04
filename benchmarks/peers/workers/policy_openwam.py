"""openwam's dual-expert policy at the matched size, by its rollout runner, with its cache; run in an environment of its own.

It is given the latents of the present and the tokens of the instruction, so neither its video autoencoder nor its text encoder runs.
No guidance: one evaluation a step. It keeps a startup frame's worth of action tokens that no result depends on; its cache leaves them out.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from open_wam.models.policy_variants import PolicyInferContext
from open_wam.pipelines import VariantRolloutRunner, build_variant_pipeline_from_config
from open_wam.sdk.config import load_experiment_config
from wire import Built, serve

PROGRAMS = {"joint": ("fastwam_joint", "joint"), "video then action": ("fastwam", "video_then_action")}


def config_of(case: str, size: dict[str, Any], training: dict[str, Any] | None = None, **more: Any) -> Any:
    """An experiment of theirs on random latents, 2 x 2 latents of 48 channels a token."""
    preset, program = PROGRAMS[case]
    high, wide = 128, 256  # pixels: 16 to a latent, two latents to a token, 4 x 8 tokens
    hidden, horizon = size["hidden"], size["horizon"]
    settings = {
        "name": "matched",
        "data": {
            "dataset_name": "random", "dataset_type": "synthetic_latent", "camera_names": ["camera"], "latent_camera_names": ["camera"],
            "canonical_height": high, "canonical_width": wide, "num_frames": 1 + size["future_frames"], "num_workers": 0,
            "view_layout": [{"source_name": "camera", "canonical_name": "camera", "top": 0, "left": 0, "height": high, "width": wide}],
            "train_batch_size": size["batch"], "val_batch_size": 1,
            "action_schema": {"action_dim": size["action"], "action_horizon": horizon, "state_dim": size["state"], "state_horizon": 1}},
        "backbone": {
            "implementation": "shared_transformer", "hidden_size": hidden, "num_layers": size["layers"], "num_heads": size["heads"],
            "attention_head_dim": hidden // size["heads"], "ffn_dim": size["feed_forward"], "text_dim": size["text_width"],
            "max_text_tokens": size["text_tokens"]},
        "policy_variant": {
            "name": "dual_expert", "hidden_size": hidden, "attach_site": "post_visual_core", "preset": preset, "program": program,
            "action_expert_init_mode": "random", "num_action_layers": size["layers"], "action_hidden_size": hidden,
            "action_ffn_dim": size["feed_forward"]},
        "action_decoder": {"name": "dual_expert_decoder", "hidden_size": hidden, "action_dim": size["action"], "action_horizon": horizon},
        "training": {"enabled_objectives": ["action", "latent"], "chunk_size": size["future_frames"], "num_steps": size["train_steps"],
                     **(training or {})},
        "inference": {
            "video_num_inference_steps": size["steps"], "action_num_inference_steps": size["steps"], "use_cache": True,
            "guidance_scale": 1.0, "frame_chunk_size": size["future_frames"]},
        "trainer": {"accelerator": "cpu", "devices": 1, "precision": "32-true", "loop_policy": "steps", "batch_adapter": "latents",
                    "runtime": "composable", **more}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "matched.yaml"
        path.write_text(yaml.safe_dump(settings))
        return load_experiment_config(str(path))


def build(case: str, size: dict[str, Any]) -> Built:
    torch.set_num_threads(size["threads"])
    torch.manual_seed(0)
    pipeline = build_variant_pipeline_from_config(config_of(case, size)).eval()
    runner = VariantRolloutRunner(pipeline)
    latents, state = torch.randn(1, 48, 1, 8, 16), torch.randn(1, 1, size["state"])
    text = torch.randn(1, size["text_tokens"], size["text_width"])

    @torch.inference_mode()
    def call() -> Any:
        session = runner.reset(task_text=("move",), text_context=text)
        return runner.infer_step(session=session, context=PolicyInferContext(state=state), video_latents=latents)

    found = call().infer_output
    shape = tuple(found.decoder_output.action_pred.shape)
    frames = tuple(found.policy_output.generated_video.latents.shape)
    assert shape == (1, size["horizon"], size["action"]) and frames == (1, 48, size["future_frames"], 8, 16), (shape, frames)
    parts = (pipeline.visual_tower.core, pipeline.policy_variant)
    known = {id(p): p.numel() for part in parts for p in part.parameters()}
    return call, {"parameters": sum(known.values()), "torch": torch.__version__}


if __name__ == "__main__":
    serve(build)
