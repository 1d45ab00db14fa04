"""PointAction: future frames and their point maps denoised together; the action is read from the points.

(Geometric, Diffusion, Post-prediction head, Chunked)

    p(frames, points | o_t, l) by one diffusion,    q_psi(a_{t:t+H-1} | points, state): no pixel and no word reaches psi
"""

from __future__ import annotations

from foreact.backbones.diffusion import DiffusionTransformer
from foreact.couplings.imagination import Denoised
from foreact.couplings.post_head import PostPredictionHead
from foreact.model import Part, WorldActionModel
from foreact.nets.action_expert import ActionExpert
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.chunked import Chunked
from foreact.substrates.point_maps import PointMaps
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="Points as the interface of action",
    paper="PointAction: 3D Points as Universal Action Representations for Robot Control",
    arxiv="2606.03943",
    year=2026,
    philosophy="Pixels leave metric motion open: predict with every frame where its surfaces are in space, and act on that alone.",
    substrate="Geometric",
    backbone="Diffusion",
    coupling="Post-prediction head",
    regime="Chunked",
    census="PointAction",
    deviations=(
        "Points are made from a simulator's depth and the camera's calibration, in training only; acting needs neither, and the points of "
        "the present are not given.",
        "Only cameras that stand still have a point map, because the place of one that rides on the hand is not told; at size tiny that "
        "is one view of two.",
        "Frames and points are streams of one transformer that see each other; PointAction lays their latents side by side in one picture.",
        "Points are predicted as metres in patches of mean points; PointAction encodes the map as a picture by the video autoencoder.",
        "Everything is learnt from the dataset at hand; PointAction adapts a foundation video model, and fits the decoder apart from it.",
        "At size tiny the decoder learns from predicted points, whose gradient does not reach the predictor.",
        "Instructions are hashed words with a learnt table.",
        "After 450 steps on two Meta-World tasks with 40 demonstrations each, size tiny solved 7 of 20 development seeds (18 to 57 %); "
        "chance solves none of 40.",
        "At size tiny both parts are predicted as clean samples, the frames as changes from the present.",
        "The published size is not known here; size paper is a predictor of about 2 B parameters.",
    ),
    bibtex="@article{tong2026pointaction,\n"
           "  title   = {{PointAction}: 3D Points as Universal Action Representations for Robot Control},\n"
           "  author  = {Tong, Mutian and Jiang, Han and Feng, Qiao and Liu, Lingjie and Gu, Jiatao},\n"
           "  journal = {arXiv:2606.03943},\n"
           "  year    = {2026}\n}",
)


def tiny() -> Run:
    return presets.tiny("pointaction", WorldActionModel.Config(
        substrate=presets.SMALL_LATENTS,
        beside=(Part(name="points", substrate=PointMaps.Config()),),
        backbone=DiffusionTransformer.Config(width=160, depth=3, heads=4, head_dim=40),
        coupling=PostPredictionHead.Config(
            horizon=16, future_offsets=(8, 16), learns_on="predicted", shown=("points",),
            head=ActionExpert.Config(depth=3, sees_present=False, sees_text=False),
            imagination=Denoised.Config(target="sample", space="changes", steps=2)),
        regime=Chunked.Config(replan=8),
        text=presets.SMALL_WORDS))


def paper() -> Run:
    return presets.paper("pointaction", WorldActionModel.Config(
        substrate=presets.LARGE_LATENTS,
        beside=(Part(name="points", substrate=PointMaps.Config(grid=(16, 16), detail=4)),),
        backbone=DiffusionTransformer.Config(width=2048, depth=28, heads=16, head_dim=128),
        coupling=PostPredictionHead.Config(
            horizon=16, future_offsets=(4, 8, 12, 16), learns_on="true", shown=("points",),
            head=ActionExpert.Config(width=512, depth=12, heads=8, sees_present=False, sees_text=False, steps=10),
            imagination=Denoised.Config(steps=25)),
        regime=Chunked.Config(replan=16),
        text=presets.LARGE_WORDS))


RECIPE = Recipe(name="pointaction", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=2_042_704_960)
