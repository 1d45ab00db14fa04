"""One optimiser step of foreact's trainer at the matched size, on random latents: the windows are encoded before, as training stores them.

No moving average of the weights, since openwam keeps none. Every instruction has as many words as the text has tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from policy_foreact import model_of
from wire import Built, serve

from foreact.contract.context import fake_window
from foreact.training.feed import Part
from foreact.training.learner import Learner
from foreact.training.parallel import Team
from foreact.training.settings import Optimiser, Stage, Training

TRAINED = ("video", "action")


def build(case: str, size: dict[str, Any]) -> Built:
    torch.set_num_threads(size["threads"])
    name = case.removesuffix(" with as many tokens")
    size = size if name == case else {**size, **size["longer"]}
    model = model_of(name, size)
    optimiser = Optimiser(learning_rate=size["learning_rate"], betas=(0.9, 0.999), weight_decay=0.0, clip=size["clip"])
    training = Training(stages=(Stage(name="joint", train=TRAINED, steps=1),), batch_size=size["batch"], average=None, optimiser=optimiser)
    learner = Learner(model, training, torch.device("cpu"), Team(0, 1))
    window = fake_window(model.observation, model.action, horizon=size["horizon"], batch=size["batch"],
                         future_offsets=model.config.coupling.future_offsets)
    form, frames = model.substrate.form, 1 + size["future_frames"]
    latents = torch.randn(size["batch"], frames, form.tokens, form.channels)
    words = " ".join(f"w{i}" for i in range(size["text_tokens"]))
    window = replace(window, encoded={"view": latents[:, :1], "video": latents[:, 1:]}, future_images={},
                     context=replace(window.context, images={}, instruction=(words,) * size["batch"]))
    part = Part(0, window)

    def step() -> None:
        learner.step([part], step=0, train=frozenset(TRAINED), factor=1.0)

    return step, {"parameters": sum(p.numel() for _, p in model.parameters_to_train()),
                  "tokens": frames * form.tokens + 1 + size["horizon"]}


if __name__ == "__main__":
    serve(build)
