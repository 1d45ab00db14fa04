"""Im2Flow2Act: the flow of what is seen, generated from picture and text, and a policy that makes it come true.

(Geometric, Diffusion, Post-prediction head, Chunked)

    p(flow_{t+1:t+H} | o_t, l) by diffusion,    q_psi(a_{t:t+H-1} | flow, o_t, state)
"""

from __future__ import annotations

from foreact.backbones.diffusion import DiffusionTransformer
from foreact.couplings.imagination import Denoised
from foreact.couplings.post_head import PostPredictionHead
from foreact.model import WorldActionModel
from foreact.nets.action_expert import ActionExpert
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.chunked import Chunked
from foreact.substrates.optical_flow import OpticalFlow
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="From picture to flow, from flow to action",
    paper="Flow as the Cross-Domain Manipulation Interface",
    arxiv="2407.15208",
    year=2024,
    philosophy="Motion without appearance is a plan that any embodiment can follow: generate the flow, then act to bring it about.",
    substrate="Geometric",
    backbone="Diffusion",
    coupling="Post-prediction head",
    regime="Chunked",
    census="Im2Flow2Act",
    deviations=(
        "Flow is dense and of everything that moves, the robot among it; Im2Flow2Act detects the object and tracks points on it alone.",
        "The generator is a transformer that sees the present through a patch autoencoder; the paper adapts AnimateDiff over Stable "
        "Diffusion, with the flow as a picture.",
        "Generator and policy learn from the same demonstrations; the paper's generator learns from people and its policy from play "
        "in simulation.",
        "The policy reads the flow from now on; the paper's aligns the flow of the whole task to what has been done of it.",
        "At size tiny the policy learns on generated flow, which at this budget is far from the measured one; the paper's learns on true "
        "flow.",
        "The present is seen as a picture in place of points lifted by depth.",
        "Instructions are hashed words with a learnt table in place of CLIP.",
    ),
    bibtex="@article{xu2024im2flow2act,\n"
           "  title   = {Flow as the Cross-Domain Manipulation Interface},\n"
           "  author  = {Xu, Mengda and Xu, Zhenjia and Xu, Yinghao and Chi, Cheng and Wetzstein, Gordon and Veloso, Manuela and "
           "Song, Shuran},\n"
           "  journal = {arXiv:2407.15208},\n"
           "  year    = {2024}\n}",
)


def tiny() -> Run:
    return presets.tiny("im2flow2act", WorldActionModel.Config(
        substrate=OpticalFlow.Config(grid=(4, 4), detail=4),
        view=presets.SMALL_LATENTS,
        backbone=DiffusionTransformer.Config(width=160, depth=3, heads=4, head_dim=40),
        coupling=PostPredictionHead.Config(
            horizon=16, future_offsets=(8, 16), learns_on="predicted", head=ActionExpert.Config(depth=3),
            imagination=Denoised.Config(target="sample", steps=4)),
        regime=Chunked.Config(replan=8),
        text=presets.SMALL_WORDS))


def paper() -> Run:
    """A generator of about 1.3 B parameters, the size of AnimateDiff over Stable Diffusion; 32 frames of 32 x 32 points."""
    return presets.paper("im2flow2act", WorldActionModel.Config(
        substrate=OpticalFlow.Config(grid=(8, 8), detail=4),
        view=presets.LARGE_LATENTS,
        backbone=DiffusionTransformer.Config(width=1536, depth=28, heads=12, head_dim=128),
        coupling=PostPredictionHead.Config(
            horizon=32, future_offsets=tuple(range(1, 33)), learns_on="true",
            head=ActionExpert.Config(width=512, depth=12, heads=8, steps=10), imagination=Denoised.Config(steps=25)),
        regime=Chunked.Config(replan=16),
        text=presets.LARGE_WORDS))


RECIPE = Recipe(name="im2flow2act", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=1_276_188_976)
