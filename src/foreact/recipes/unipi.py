"""UniPi: a text-conditioned video of the whole task, rendered, then inverse dynamics between its frames.

(Pixel (decoded), Diffusion, Post-prediction head, Open-loop)

    p(s_{t+1:t+H} | o_t, l) by diffusion,    a = q_psi(s_{t+o_k}, s_{t+o_{k+1}}) between consecutive rendered frames
"""

from __future__ import annotations

from dataclasses import replace

from foreact.backbones.diffusion import DiffusionTransformer
from foreact.couplings.imagination import Denoised
from foreact.couplings.post_head import PostPredictionHead
from foreact.model import WorldActionModel
from foreact.nets.inverse_dynamics import InverseDynamics
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.open_loop import OpenLoop
from foreact.substrates.decoded import Decoded
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="A video plan, then inverse dynamics",
    paper="Learning Universal Policies via Text-Guided Video Generation",
    arxiv="2302.00111",
    year=2023,
    philosophy="A video of the task done is the policy: render the whole plan from an instruction, then read off what must have moved.",
    substrate="Pixel (decoded)",
    backbone="Diffusion",
    coupling="Post-prediction head",
    regime="Open-loop",
    census="UniPi",
    deviations=(
        "The video is denoised in the latents of a patch autoencoder and decoded; UniPi denoises pixels with a video U-Net of 1.7 B "
        "parameters and two super-resolution models after it.",
        "A diffusion transformer that sees the present beside every frame stands in place of the U-Net and its tiling of the first frame.",
        "Instructions are hashed words with a learnt table in place of T5-XXL, and there is no classifier-free guidance.",
        "Inverse dynamics gives all the actions between two key frames, from a transformer over patches; UniPi's is convolutional and "
        "gives one action for a pair of frames, after temporal super-resolution.",
        "The inverse dynamics is told the robot's state, for the first pair alone.",
        "At size tiny the inverse dynamics learns between generated frames, which are blurred at this budget; UniPi's learns between real "
        "ones.",
        "At size tiny the video is the clean change from the present, of one camera.",
    ),
    bibtex="@article{du2023unipi,\n"
           "  title   = {Learning Universal Policies via Text-Guided Video Generation},\n"
           "  author  = {Du, Yilun and Yang, Mengjiao and Dai, Bo and Dai, Hanjun and Nachum, Ofir and Tenenbaum, Joshua B. and "
           "Schuurmans, Dale and Abbeel, Pieter},\n"
           "  journal = {arXiv:2302.00111},\n"
           "  year    = {2023}\n}",
)


def tiny() -> Run:
    return presets.tiny("unipi", WorldActionModel.Config(
        substrate=Decoded.Config(inner=replace(presets.SMALL_LATENTS, width=128, depth=1)),
        backbone=DiffusionTransformer.Config(width=160, depth=4, heads=4, head_dim=40),
        coupling=PostPredictionHead.Config(
            horizon=96, future_offsets=(24, 48, 72, 96), learns_on="predicted", head=InverseDynamics.Config(),
            imagination=Denoised.Config(target="sample", space="changes", steps=5)),
        regime=OpenLoop.Config(),
        text=presets.SMALL_WORDS), cameras=("scene",))


def paper() -> Run:
    """A planner of about 1.7 B parameters, as UniPi's first stage."""
    return presets.paper("unipi", WorldActionModel.Config(
        substrate=Decoded.Config(inner=presets.LARGE_LATENTS),
        backbone=DiffusionTransformer.Config(width=1792, depth=28, heads=14, head_dim=128),
        coupling=PostPredictionHead.Config(
            horizon=96, future_offsets=(6, 12, 18, 24, 30, 36, 42, 48, 54, 60, 66, 72, 78, 84, 90, 96), learns_on="true",
            head=InverseDynamics.Config(width=768, depth=4, hidden=1024, channels=32), imagination=Denoised.Config(steps=25)),
        regime=OpenLoop.Config(),
        text=presets.LARGE_WORDS), image_size=(192, 320))


RECIPE = Recipe(name="unipi", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=1_627_612_984)
