"""AIM: video, a spatial value map and actions denoised together; the action meets the future through the map alone.

(Affordance, Diffusion, Joint generation, Chunked)

    who sees whom:  video <- frame, video    map <- frame, video, map    state <- frame, map, state    action <- frame, map, state, action
"""

from __future__ import annotations

from foreact.backbones.diffusion import DiffusionTransformer
from foreact.couplings.joint import JointGeneration
from foreact.model import Part, WorldActionModel
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.chunked import Chunked
from foreact.substrates.effector_heat_map import EffectorHeatMap
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="Action through a spatial value map",
    paper="AIM: Intent-Aware Unified world action Modeling with Spatial Value Maps",
    arxiv="2604.11135",
    year=2026,
    philosophy="What the future looks like is not what a hand needs: a map of where to interact stands between video and action.",
    substrate="Affordance",
    backbone="Diffusion",
    coupling="Joint generation",
    regime="Chunked",
    census="AIM",
    deviations=(
        "The value map says where the end effector will be, at each future time and in each calibrated camera, drawn from proprioception; "
        "AIM's maps mark the regions in which interaction will take place.",
        "In the cameras here one of two is calibrated, so the map has one view and says nothing of the distance along it.",
        "Nothing is pretrained: patches, words and the one diffusion transformer are learnt from the dataset at hand; AIM starts from a "
        "video generator.",
        "Learning is from demonstrations alone, with no stage of reinforcement after it.",
        "One noise level is drawn for all streams.",
        "At size tiny every stream predicts the clean sample, and video is the change from the present.",
        "The published size is not known here; size paper is a transformer of about 1.6 B parameters.",
    ),
    bibtex="@article{fan2026aim,\n"
           "  title   = {{AIM}: Intent-Aware Unified world action Modeling with Spatial Value Maps},\n"
           "  author  = {Fan, L. and Xu, Z. and Cao, C. and Zhang, W. and Yuan, M. and Chen, J.},\n"
           "  journal = {arXiv:2604.11135},\n"
           "  year    = {2026}\n}",
)

THROUGH_THE_MAP = {"video": ("frame", "video"), "map": ("frame", "video", "map"), "state": ("frame", "map", "state"),
                   "action": ("frame", "map", "state", "action")}
"""Neither state nor frame carries video round the map."""


def tiny() -> Run:
    return presets.tiny("aim", WorldActionModel.Config(
        substrate=presets.SMALL_LATENTS,
        beside=(Part(name="map", substrate=EffectorHeatMap.Config()),),
        backbone=presets.SMALL_DIT,
        coupling=JointGeneration.Config(horizon=16, future_offsets=(8, 16), video_target="sample", video_space="changes",
                                        sees=THROUGH_THE_MAP),
        regime=Chunked.Config(replan=8),
        text=presets.SMALL_WORDS))


def paper() -> Run:
    return presets.paper("aim", WorldActionModel.Config(
        substrate=presets.LARGE_LATENTS,
        beside=(Part(name="map", substrate=EffectorHeatMap.Config(grid=(16, 16), detail=4)),),
        backbone=DiffusionTransformer.Config(width=1792, depth=28, heads=14, head_dim=128),
        coupling=JointGeneration.Config(horizon=32, future_offsets=(4, 8, 12, 16, 20, 24, 28, 32), sees=THROUGH_THE_MAP,
                                        density="logit-normal", steps=10),
        regime=Chunked.Config(replan=32),
        text=presets.LARGE_WORDS))


RECIPE = Recipe(name="aim", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=1_580_192_020)
