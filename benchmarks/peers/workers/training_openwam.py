"""One optimiser step of openwam's trainer at the matched size, on its own random latents; run in an environment of its own.

The batch is made once, and given its text as numbers, so that neither data nor a text encoder is timed. Nothing is logged or saved.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from open_wam.training import TrainingRuntime
from policy_openwam import config_of
from wire import Built, serve


def build(case: str, size: dict[str, Any]) -> Built:
    torch.set_num_threads(size["threads"])
    torch.manual_seed(0)
    runtime = TrainingRuntime.from_config(config_of(
        case, size, {"max_grad_norm": size["clip"], "learning_rate": size["learning_rate"]}, log_every_n_steps=10**9))
    batch = next(iter(runtime.train_loader))
    shape = tuple(batch.video_latents.shape)
    assert shape == (size["batch"], 48, 1 + size["future_frames"], 8, 16) and batch.actions.shape[1] == size["horizon"], shape
    batch = replace(batch, text_context=torch.randn(size["batch"], size["text_tokens"], size["text_width"]))

    def step() -> None:
        runtime._train_micro_step(batch)

    return step, {"parameters": sum(p.numel() for p in runtime.model.parameters() if p.requires_grad), "tokens": tokens_of(step)}


def tokens_of(step: Any) -> int:
    """Tokens of a window that attend in a step, over both experts."""
    attend, lengths = torch.nn.functional.scaled_dot_product_attention, set()

    def heard(query: torch.Tensor, *others: Any, **more: Any) -> torch.Tensor:
        lengths.add(query.shape[-2])
        return attend(query, *others, **more)

    torch.nn.functional.scaled_dot_product_attention = heard
    step()
    torch.nn.functional.scaled_dot_product_attention = attend
    return sum(lengths)


if __name__ == "__main__":
    serve(build)
