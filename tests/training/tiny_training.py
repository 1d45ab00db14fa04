"""The real model at the smallest size, random windows held in memory, and a run of a few steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.backbones.mixture import ExpertSize, MixtureOfTransformers
from foreact.contract.config import encode
from foreact.contract.context import Window, fake_window
from foreact.contract.specs import ActionSpec, CameraSpec, ObservationSpec, StateSpec
from foreact.couplings.joint import JointGeneration
from foreact.data.lerobot.conventions import Specs, standard_features
from foreact.data.lerobot.writer import DatasetWriter
from foreact.model import WorldActionModel
from foreact.nets.text import HashedWords
from foreact.regimes.chunked import Chunked
from foreact.substrates.pixel_latents import PixelLatents
from foreact.training.checkpoint_folder import Checkpoint
from foreact.training.fit import TrainResult, fit, open_folder
from foreact.training.parallel import Team
from foreact.training.run import Average, Checkpoints, Optimiser, Run, Schedule, Stage, SubstrateFit, Training, Validation
from foreact.training.specs import specs_text

OBSERVATION = ObservationSpec(cameras=(CameraSpec(name="front", height=16, width=16),), rate_hz=10.0,
                              state=StateSpec(names=("x", "y"), units=("m", "m")))
ACTION = ActionSpec(names=("dx", "dy"), low=(-1.0, -1.0), high=(1.0, 1.0), rate_hz=10.0, reference="delta",
                    frame="end-effector")
MODEL = WorldActionModel.Config(
    substrate=PixelLatents.Config(channels=4, patch=8, width=8, depth=1),
    backbone=MixtureOfTransformers.Config(depth=1, heads=2, head_dim=16,
                                          experts=(ExpertSize(name="video", width=16), ExpertSize(name="action", width=16))),
    coupling=JointGeneration.Config(horizon=4, future_offsets=(2, 4)),
    regime=Chunked.Config(replan=2), text=HashedWords.Config(width=8, buckets=16, words=4))
TRAINING = Training(
    stages=(Stage(name="video", train=("video",), steps=4),
            Stage(name="joint", train=("video", "action"), steps=6, learning_rate=0.5)),
    batch_size=8, micro_batches=2, optimiser=Optimiser(learning_rate=1e-2), schedule=Schedule(warmup_steps=2),
    average=Average(decay=0.9), checkpoints=Checkpoints(every_steps=None, every_seconds=None),
    validation=Validation(every_steps=3), threads=1, log_every=1, seed=3)
RUN = Run(recipe="tiny", size="tiny", model=MODEL, training=TRAINING)
FITTED = replace(RUN, training=replace(TRAINING, substrate=SubstrateFit(steps=3, batch_size=4)))


class MemoryWindows:
    """Random windows; `poison` gives NaN actions from that batch on."""

    def __init__(self, count: int = 40, *, poison: int | None = None) -> None:
        self._all = fake_window(OBSERVATION, ACTION, horizon=4, future_offsets=(2, 4), batch=count, seed=1)
        self._count, self._poison, self._asked = count, poison, 0

    def __len__(self) -> int:
        return self._count

    def batch(self, indices: np.ndarray) -> Window:
        rows, w = torch.as_tensor(indices), self._all
        actions = w.actions[rows]
        if self._poison is not None and self._asked >= self._poison:
            actions = actions * float("nan")
        self._asked += 1
        context = replace(w.context, images={n: x[rows] for n, x in w.context.images.items()}, state=w.context.state[rows],
                          instruction=tuple(w.context.instruction[i] for i in indices))
        return replace(w, context=context, actions=actions, action_is_pad=w.action_is_pad[rows], value=w.value[rows],
                       future_state=w.future_state[rows],
                       future_is_pad=w.future_is_pad[rows], future_images={n: x[rows] for n, x in w.future_images.items()})


def tiny_model(run: Run = RUN) -> WorldActionModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return run.model.build(OBSERVATION, ACTION)


def tiny_train(folder: Path, run: Run = RUN, *, resume: bool = False, windows: MemoryWindows | None = None,
               **more: Any) -> TrainResult:
    """What `train` does once the data is ready."""
    config, team = encode(run), more.pop("team", Team(0, 1))
    start: Checkpoint | None = open_folder(folder, config, resume=resume, team=team)
    source = windows or MemoryWindows()
    return fit(tiny_model(run), run.training, source, held_out=[MemoryWindows().batch(np.arange(2))], folder=folder, config=config,
               start=start, texts=lambda place: {"specs.json": specs_text(OBSERVATION, ACTION)}, team=team, **more)


def write_dataset(path: Path) -> Path:
    """Six short episodes whose actions do not have mean 0 and deviation 1."""
    generator = np.random.default_rng(0)
    features = standard_features(OBSERVATION, ACTION, images_as="image")
    with DatasetWriter(path, fps=10, features=features, specs=Specs(observation=OBSERVATION, action=ACTION)) as writer:
        for episode in range(6):
            states, actions = generator.normal(2.0, 3.0, (9, 2)), generator.uniform(0.2, 0.4, (9, 2))
            writer.add_episode({"observation.state": states.astype(np.float32), "action": actions.astype(np.float32)},
                               task=f"task {episode % 2}",
                               images={"front": generator.integers(0, 256, (9, 3, 16, 16), dtype=np.uint8)})
    return path


def losses_of(folder: Path) -> list[tuple[str, int, dict[str, float]]]:
    """What must be equal to the last bit."""
    from foreact.training.metrics import read_metrics

    return [(line["kind"], line["step"], line["losses"]) for line in read_metrics(folder / "metrics.jsonl")]
