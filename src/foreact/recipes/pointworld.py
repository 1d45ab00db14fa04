"""PointWorld: what would every point do if the robot did this? Candidate chunks are searched by the flow that they would cause.

(Geometric, Hybrid, Cond. rollout, Open / Chunked)

    a* = argmax_a -|s_hat(c, a) - s*(c)|^2          s_hat: 3D flow of tracked points, in one deterministic pass; the search is MPPI
"""

from __future__ import annotations

from foreact.backbones.mixture import ExpertSize, MixtureOfTransformers
from foreact.couplings.conditioned_rollout import ConditionedRollout
from foreact.model import WorldActionModel
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.chunked import Chunked
from foreact.selection.planners import PathIntegral
from foreact.substrates.point_flow import PointFlow
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="PointWorld: action-conditioned 3D point flow under MPPI",
    paper="PointWorld: Scaling 3D World Models for In-The-Wild Robotic Manipulation",
    arxiv="2601.03782",
    year=2026,
    philosophy="Ask what every point would do if the robot did this, and search the actions by the answer.",
    substrate="Geometric",
    backbone="Hybrid",
    coupling="Cond. rollout",
    regime="Open / Chunked",
    census="PointWorld",
    deviations=(
        "Tracked points come from the simulator and only in training; PointWorld lifts them from depth pictures at run time, so here the "
        "present is seen in image latents and where the points are is predicted with their flow.",
        "The action enters as a chunk of commands in an expert of its own, not as the flow of the robot's points.",
        "A mixture of transformers with query tokens, not a point transformer.",
        "The goal of the search is learnt, the flow that demonstrations show under this instruction; PointWorld is given tasks as targets "
        "for points.",
        "MPPI starts from a cloned proposal and bends it at a few knots; PointWorld's sampler knows no demonstrations.",
        "It replans in chunks; PointWorld's experiments do not replan while they execute.",
    ),
    bibtex="@article{huang2026pointworld,\n"
           "  title   = {{PointWorld}: Scaling {3D} World Models for In-The-Wild Robotic Manipulation},\n"
           "  author  = {Huang, Wenlong and Chao, Yu-Wei and Mousavian, Arsalan and Liu, Ming-Yu and Fox, Dieter and Mo, Kaichun and "
           "Fei-Fei, Li},\n"
           "  journal = {arXiv:2601.03782},\n"
           "  year    = {2026}\n}",
)


def tiny() -> Run:
    """Two processor cores, 64 px; 24 candidates in each of two iterations."""
    return presets.tiny("pointworld", WorldActionModel.Config(
        substrate=PointFlow.Config(), view=presets.SMALL_LATENTS,
        backbone=MixtureOfTransformers.Config(depth=3, heads=4, head_dim=48, experts=(
            ExpertSize(name="video", width=160), ExpertSize(name="action", width=128))),
        coupling=ConditionedRollout.Config(horizon=16, future_offsets=(8, 16), planner=PathIntegral.Config(candidates=24, knots=4)),
        regime=Chunked.Config(replan=8), text=presets.SMALL_WORDS))


def paper() -> Run:
    """A trunk of the size that PointWorld scales to, about a billion; eleven frames of a chunk and hundreds of candidates."""
    return presets.paper("pointworld", WorldActionModel.Config(
        substrate=PointFlow.Config(points=256), view=presets.LARGE_LATENTS,
        backbone=MixtureOfTransformers.Config(depth=24, heads=16, head_dim=96, experts=(
            ExpertSize(name="video", width=1280), ExpertSize(name="action", width=768))),
        coupling=ConditionedRollout.Config(horizon=40, future_offsets=(4, 8, 12, 16, 20, 24, 28, 32, 36, 40),
                                           planner=PathIntegral.Config(candidates=256, iterations=3, knots=8)),
        regime=Chunked.Config(replan=20), text=presets.LARGE_WORDS))


RECIPE = Recipe(name="pointworld", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=1_152_299_550)
