"""FLARE: future tokens inside the action denoiser, aligned with a frozen teacher's embedding of the future.

(Feature (teacher), Joint-embedding, Post-prediction head, Chunked)

    L = L_action + lambda (1 - cos( g(h_l), sg[E(o_{t+H})] )),    lambda = 0.2

h_l are the states of learnt tokens after a middle layer, E the teacher; the action's tokens look at them in every layer.
"""

from __future__ import annotations

from foreact.backbones.aligned_denoiser import AlignedDenoiser
from foreact.couplings.future_tokens import FutureTokens
from foreact.model import WorldActionModel
from foreact.nets.pretrained_vision import DINOV2_LARGE
from foreact.nets.self_distilled import SelfDistilled
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.chunked import Chunked
from foreact.substrates.frozen_features import FrozenFeatures
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="FLARE: future tokens aligned with a frozen teacher",
    paper="FLARE: Robot Learning with Implicit World Modeling",
    arxiv="2505.15659",
    year=2025,
    philosophy="Predict what the future means inside the policy itself: a few tokens of the denoiser learn the future's embedding.",
    substrate="Feature (teacher)",
    backbone="Joint-embedding",
    coupling="Post-prediction head",
    regime="Chunked",
    census="FLARE",
    deviations=(
        "The future tokens see the present and not the noised action, so they are computed once per plan; FLARE's share all attention "
        "with the action's.",
        "At size tiny the teacher is learnt from the dataset's own frames by self-distillation, at size paper it is DINOv2; FLARE "
        "trains an action-aware teacher.",
        "The present is seen through the teacher too and enters as tokens; FLARE's denoiser attends to a vision-language model.",
        "There is one future token for each of the teacher's tokens; FLARE compresses to 32.",
        "The projection is one linear layer after the noise level's modulation.",
        "The action's clean sample is predicted; FLARE predicts the velocity.",
    ),
    bibtex="@article{zheng2025flare,\n"
           "  title   = {{FLARE}: Robot Learning with Implicit World Modeling},\n"
           "  author  = {Zheng, Ruijie and Wang, Jing and Reed, Scott and Bjorck, Johan and Fang, Yu and Hu, Fengyuan and others},\n"
           "  journal = {arXiv:2505.15659},\n"
           "  year    = {2025}\n}",
)


def tiny() -> Run:
    """Two CPU cores, 64 px, minutes; nothing to download."""
    return presets.tiny("flare", WorldActionModel.Config(
        substrate=FrozenFeatures.Config(encoder=SelfDistilled.Config(width=128, depth=4), grid=(4, 4)),
        backbone=AlignedDenoiser.Config(width=192, depth=4, heads=4, head_dim=48, aligned_after=2),
        coupling=FutureTokens.Config(horizon=16, future_offsets=(16,)),
        regime=Chunked.Config(replan=8), text=presets.SMALL_WORDS), video_steps=50)


def paper() -> Run:
    """The shape of the source's denoiser as far as it is known: 16 blocks of width 1536 and chunks of 16, over DINOv2 (large)."""
    return presets.paper("flare", WorldActionModel.Config(
        substrate=FrozenFeatures.Config(encoder=DINOV2_LARGE, grid=(16, 16)),
        backbone=AlignedDenoiser.Config(width=1536, depth=16, heads=24, head_dim=64, aligned_after=6),
        coupling=FutureTokens.Config(horizon=16, future_offsets=(16,)),
        regime=Chunked.Config(replan=16), text=presets.LARGE_WORDS), image_size=(224, 224))


RECIPE = Recipe(name="flare", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=942_722_564)
