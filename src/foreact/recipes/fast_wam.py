"""Fast-WAM: a video model learns beside the policy, and the policy acts without imagining anything.

(Feature (encoder-only), Diffusion, Post-prediction head, Chunked)

Training denoises future and action together. The action sees the keys and values of the present frame alone, in every
layer, so that what it reads was shaped by predicting the future; acting leaves the future out (survey, section 4.2):

    L = L_v + L_a        acting: q(a_{t:t+H-1} | h_theta(s_t), state, l), with h_theta the states that also predict s_{t+1:t+H}
"""

from __future__ import annotations

from foreact.backbones.diffusion import DiffusionTransformer
from foreact.couplings.joint import JointGeneration
from foreact.model import WorldActionModel
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.chunked import Chunked
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="Fast-WAM: video co-training, no imagination when acting",
    paper="Fast-WAM: Do World Action Models Need Test-time Future Imagination?",
    arxiv="2603.16666",
    year=2026,
    philosophy="What predicting the future teaches is in the representation of the present, so the future itself need not be made.",
    substrate="Feature (encoder-only)",
    backbone="Diffusion",
    coupling="Post-prediction head",
    regime="Chunked",
    census="Fast-WAM",
    deviations=(
        "Nothing is pretrained: Fast-WAM starts from a published video model and its autoencoder.",
        "Video and action share every weight but their ways in and out; their keys never meet, for the action sees the present alone.",
        "It is trained by the joint coupling with the future masked, because both losses come from one denoising pass.",
        "At size tiny the video is predicted as its change from the present, as a clean sample.",
    ),
    bibtex="@article{yuan2026fastwam,\n"
           "  title   = {{Fast-WAM}: Do World Action Models Need Test-time Future Imagination?},\n"
           "  author  = {Yuan, T. and Dong, Z. and Liu, Y. and Zhao, H.},\n"
           "  journal = {arXiv:2603.16666},\n"
           "  year    = {2026}\n}",
)
_ALONE = {"action": ("frame", "state", "action"), "state": ("frame", "state")}


def tiny() -> Run:
    """Two CPU cores, 64 px, minutes."""
    return presets.tiny("fast-wam", WorldActionModel.Config(
        substrate=presets.SMALL_LATENTS, backbone=presets.SMALL_DIT,
        coupling=JointGeneration.Config(horizon=16, future_offsets=(8, 16), video_target="sample", video_space="changes", sees=_ALONE,
                                        levels="independent", future_at_test="absent"),
        regime=Chunked.Config(replan=8), text=presets.SMALL_WORDS))


def paper() -> Run:
    """The scale of a five-billion video transformer: 30 blocks of width 3072."""
    return presets.paper("fast-wam", WorldActionModel.Config(
        substrate=presets.LARGE_LATENTS, backbone=DiffusionTransformer.Config(width=3072, depth=30, heads=24, head_dim=128),
        coupling=JointGeneration.Config(horizon=32, future_offsets=(8, 16, 24, 32), sees=_ALONE, levels="independent",
                                        future_at_test="absent", density="logit-normal", steps=10),
        regime=Chunked.Config(replan=32), text=presets.LARGE_WORDS))


RECIPE = Recipe(name="fast-wam", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=4_429_341_188)
