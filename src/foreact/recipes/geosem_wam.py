"""GeoSem-WAM: geometry and semantics of the future are predicted beside its pictures in training, and nothing is when acting.

(Feature (encoder-only), Diffusion, Post-prediction head, Chunked)

Training denoises the future's pictures, its depth and its masks together with the action, each with a noise level of its own:

    L = L_rgb + L_geometry + L_semantics + L_action        acting: q(a_{t:t+H-1} | h_theta(s_t), state, l)

The action sees the keys and values of the present frame alone, in every layer, so what reaches it is a representation that three
kinds of future have shaped. Acting needs pictures only, and imagines nothing. `model.beside=[]` leaves the pictures' future alone.
"""

from __future__ import annotations

from foreact.backbones.diffusion import DiffusionTransformer
from foreact.couplings.joint import JointGeneration
from foreact.model import Part, WorldActionModel
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.chunked import Chunked
from foreact.substrates.depth import Depth
from foreact.substrates.semantic_masks import SemanticMasks
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="Geometry and semantics beside the future's pictures, in training only",
    paper="GeoSem-WAM: Geometry- and Semantic-Aware World Action Models",
    arxiv="",
    year=2026,
    philosophy="What predicting the future is good for is the representation that it leaves; geometry and semantics leave a better one.",
    substrate="Feature (encoder-only)",
    backbone="Diffusion",
    coupling="Post-prediction head",
    regime="Chunked",
    census="GeoSem-WAM",
    deviations=(
        "Depth and masks come from the simulator; the source's abstract does not say whence, and a real robot would take them from models.",
        "The branches are streams of tokens in the same transformer, on a grid of half the resolution at size tiny; the source's text was "
        "not at hand, only its abstract.",
        "Nothing is pretrained.",
        "At size tiny the pictures are predicted as their change from the present, as clean samples.",
    ),
    bibtex="@article{ma2026geosem,\n"
           "  author = {Ma and others},\n"
           "  title  = {{GeoSem-WAM}: Geometry- and Semantic-Aware World Action Models},\n"
           "  year   = {2026}\n}",
)
_ALONE = {"action": ("frame", "state", "action"), "state": ("frame", "state")}


def tiny() -> Run:
    """Two CPU cores, 64 px, minutes."""
    return presets.tiny("geosem-wam", WorldActionModel.Config(
        substrate=presets.SMALL_LATENTS, backbone=presets.SMALL_DIT,
        beside=(Part(name="geometry", substrate=Depth.Config(grid=(2, 2), detail=8)),
                Part(name="semantics", substrate=SemanticMasks.Config(grid=(2, 2), detail=8))),
        coupling=JointGeneration.Config(horizon=16, future_offsets=(8, 16), video_target="sample", video_space="changes", sees=_ALONE,
                                        levels="independent", future_at_test="absent"),
        regime=Chunked.Config(replan=8), text=presets.SMALL_WORDS))


def paper() -> Run:
    """The scale of a five-billion video transformer; the source's own is not stated in its abstract."""
    return presets.paper("geosem-wam", WorldActionModel.Config(
        substrate=presets.LARGE_LATENTS, backbone=DiffusionTransformer.Config(width=3072, depth=30, heads=24, head_dim=128),
        beside=(Part(name="geometry", substrate=Depth.Config(grid=(16, 16), detail=8)),
                Part(name="semantics", substrate=SemanticMasks.Config(grid=(16, 16), detail=8, classes=(1, 2, 3, 4)))),
        coupling=JointGeneration.Config(horizon=32, future_offsets=(8, 16, 24, 32), sees=_ALONE, levels="independent",
                                        future_at_test="absent", density="logit-normal", steps=10),
        regime=Chunked.Config(replan=32), text=presets.LARGE_WORDS))


RECIPE = Recipe(name="geosem-wam", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=4_431_313_732)
