"""Predicted features decoded by an action head, in one plan for the whole episode; in the manner of I-JEPA and V-JEPA 2.

(Feature (teacher), Joint-embedding, Post-prediction head, Open-loop)

    p_theta(s_{t+1:t+H}, a_{t:t+H-1} | c) = p_theta(s_{t+1:t+H} | c) q_psi(a_{t:t+H-1} | s_{t+1:t+H}, c)    (survey, equation 20)

p_theta is a Dirac at a deterministic predictor of frozen features (equation 28), q_psi a flow-matched expert that reads the
predicted features (equation 29, second row). Differs from `joint` on all four axes.
"""

from __future__ import annotations

from foreact.backbones.joint_embedding import JointEmbeddingPredictor
from foreact.couplings.post_head import PostPredictionHead
from foreact.model import WorldActionModel
from foreact.nets.action_expert import ActionExpert
from foreact.nets.pretrained_vision import DINOV2_LARGE, DINOV2_SMALL
from foreact.nets.self_distilled import SelfDistilled
from foreact.nets.text import HashedWords
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.open_loop import OpenLoop
from foreact.substrates.frozen_features import FrozenFeatures
from foreact.training.run import Average, Optimiser, Run, Schedule, Stage, SubstrateFit, Training, WindowSettings

__all__ = ["RECIPE"]

CARD = Card(
    title="Joint-embedding prediction with an action head",
    paper="V-JEPA 2: Self-Supervised Video Models Enable Understanding, Prediction and Planning",
    arxiv="2506.09985",
    year=2025,
    philosophy="Predict what the future means, not how it looks, and let a small expert act on the prediction.",
    substrate="Feature (teacher)",
    backbone="Joint-embedding",
    coupling="Post-prediction head",
    regime="Open-loop",
    deviations=(
        "A plain member of its family, of no row of the census: the paper's predictor with an action head in place of its planning by "
        "search over actions.",
        "One plan per episode, and the predictor is not given actions; V-JEPA 2-AC predicts from them, frame by frame.",
        "The predictor sees the present frame and the instruction; V-JEPA 2 sees a clip and no words when it acts.",
        "The loss is the square of the error in whitened features (equation 28); the paper's is the absolute error.",
        "The head reads the predicted future detached, so the predictor learns from prediction alone (equation 20).",
        "At size tiny the teacher is learnt from the dataset's own frames by self-distillation; at base and paper it is DINOv2. V-JEPA 2 "
        "trains its encoder on a million hours of video.",
        "No language model: instructions are hashed words with a learnt table.",
    ),
    bibtex="@article{assran2025vjepa2,\n"
           "  title   = {{V-JEPA} 2: Self-Supervised Video Models Enable Understanding, Prediction and Planning},\n"
           "  author  = {Assran, Mido and Bardes, Adrien and Fan, David and Garrido, Quentin and Howes, Russell and others},\n"
           "  journal = {arXiv:2506.09985},\n"
           "  year    = {2025}\n}",
)


def tiny() -> Run:
    """Two CPU cores, 64 px, minutes; nothing to download."""
    return Run(
        recipe="jepa", size="tiny",
        model=WorldActionModel.Config(
            substrate=FrozenFeatures.Config(encoder=SelfDistilled.Config(width=128, depth=4), grid=(4, 4)),
            backbone=JointEmbeddingPredictor.Config(width=192, depth=5, heads=4),
            coupling=PostPredictionHead.Config(horizon=96, future_offsets=(48, 96), head=ActionExpert.Config(width=192, depth=5)),
            regime=OpenLoop.Config(),
            text=HashedWords.Config()),
        training=Training(
            stages=(Stage(name="video", train=("video",), steps=100), Stage(name="joint", train=("video", "action"), steps=900)),
            batch_size=64, optimiser=Optimiser(learning_rate=1e-3, betas=(0.9, 0.99), weight_decay=0.05),
            schedule=Schedule(warmup_steps=50), average=Average(decay=0.99), substrate=SubstrateFit(steps=220, batch_size=24),
            precision="bf16"),
        windows=WindowSettings(image_size=(64, 64)))


def base() -> Run:
    """One GPU, 224 px, a day; downloads DINOv2 (small)."""
    return Run(
        recipe="jepa", size="base",
        model=WorldActionModel.Config(
            substrate=FrozenFeatures.Config(encoder=DINOV2_SMALL, grid=(8, 8)),
            backbone=JointEmbeddingPredictor.Config(width=768, depth=9, heads=12),
            coupling=PostPredictionHead.Config(
                horizon=96, future_offsets=(24, 48, 72, 96),
                head=ActionExpert.Config(width=512, depth=8, heads=8, density="logit-normal", steps=10)),
            regime=OpenLoop.Config(),
            text=HashedWords.Config(width=256, words=32)),
        training=Training(
            stages=(Stage(name="video", train=("video",), steps=20_000), Stage(name="joint", train=("video", "action"), steps=60_000)),
            batch_size=128, optimiser=Optimiser(learning_rate=3e-4, weight_decay=0.05), schedule=Schedule(warmup_steps=1000),
            average=Average(decay=0.9995), substrate=SubstrateFit(steps=50, batch_size=64), precision="bf16", compile=True),
        windows=WindowSettings(image_size=(224, 224)))


def paper() -> Run:
    """24 blocks of width 1024 over DINOv2 (large); needs several GPUs."""
    return Run(
        recipe="jepa", size="paper",
        model=WorldActionModel.Config(
            substrate=FrozenFeatures.Config(encoder=DINOV2_LARGE, grid=(16, 16)),
            backbone=JointEmbeddingPredictor.Config(width=1024, depth=24, heads=16),
            coupling=PostPredictionHead.Config(
                horizon=96, future_offsets=(24, 48, 72, 96),
                head=ActionExpert.Config(width=1024, depth=16, heads=16, density="logit-normal", steps=10)),
            regime=OpenLoop.Config(),
            text=HashedWords.Config(width=1024, buckets=32_768, words=64)),
        training=Training(
            stages=(Stage(name="video", train=("video",), steps=20_000), Stage(name="joint", train=("video", "action"), steps=80_000)),
            batch_size=512, optimiser=Optimiser(learning_rate=1e-4, weight_decay=1e-2), schedule=Schedule(warmup_steps=2000),
            average=Average(decay=0.9999), substrate=SubstrateFit(steps=50, batch_size=64), precision="bf16", compile=True),
        windows=WindowSettings(image_size=(224, 224)))


RECIPE = Recipe(name="jepa", card=CARD, sizes={"tiny": tiny, "base": base, "paper": paper}, parameters=1_027_913_744)
