"""VPP: one step of a video model, its hidden states pooled to a few tokens, and a diffusion policy on them, at every control step.

(Feature (tap), Diffusion, Post-prediction head, Single-step)

    F = f_theta(x_1, sigma = 1 | o_t, l) after several layers,   Q = pool(F),   a by diffusion from Q and l
"""

from __future__ import annotations

from foreact.backbones.diffusion import DiffusionTransformer
from foreact.couplings.imagination import Denoised
from foreact.couplings.post_head import PostPredictionHead
from foreact.model import WorldActionModel
from foreact.nets.action_expert import ActionExpert
from foreact.nets.resampler import Resampler
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.single_step import SingleStep
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="Video prediction policy",
    paper="Video Prediction Policy: A Generalist Robot Policy with Predictive Visual Representations",
    arxiv="2412.14803",
    year=2024,
    philosophy="What a video model thinks in its first denoising step already holds the future, and it costs one forward pass.",
    substrate="Feature (tap)",
    backbone="Diffusion",
    coupling="Post-prediction head",
    regime="Single-step",
    census="VPP",
    deviations=(
        "The video model is a transformer learnt from the dataset at hand; VPP fine-tunes Stable Video Diffusion (1.5 B) on the way.",
        "States of several layers are pooled together by one resampler; VPP's Video Former up-samples and joins U-Net layers and attends "
        "in space, then in time.",
        "The policy denoises by flow matching with the clean chunk as target, in place of a diffusion transformer under EDM.",
        "The policy is told the robot's state.",
        "At size tiny the video model goes on learning while the policy learns from its states, detached; VPP freezes it by then.",
        "Instructions are hashed words with a learnt table in place of CLIP.",
        "At size tiny the video is the clean change from the present.",
    ),
    bibtex="@article{hu2024vpp,\n"
           "  title   = {Video Prediction Policy: A Generalist Robot Policy with Predictive Visual Representations},\n"
           "  author  = {Hu, Yucheng and Guo, Yanjiang and Wang, Pengchao and Chen, Xiaoyu and Wang, Yen-Jen and Zhang, Jianke and "
           "Sreenath, Koushil and Lu, Chaochao and Chen, Jianyu},\n"
           "  journal = {arXiv:2412.14803},\n"
           "  year    = {2024}\n}",
)


def tiny() -> Run:
    return presets.tiny("vpp", WorldActionModel.Config(
        substrate=presets.SMALL_LATENTS,
        backbone=presets.SMALL_DIT,
        coupling=PostPredictionHead.Config(
            horizon=16, future_offsets=(8, 16), reads="taps", tapped=(0.5, 0.75, 1.0),
            head=ActionExpert.Config(sees_present=False, resampler=Resampler.Config(tokens=16)),
            imagination=Denoised.Config(target="sample", space="changes", steps=4, stop_after=1)),
        regime=SingleStep.Config(),
        text=presets.SMALL_WORDS), video_steps=100, joint_steps=900)


def paper() -> Run:
    """A predictor of about 1.5 B parameters, the size of Stable Video Diffusion."""
    return presets.paper("vpp", WorldActionModel.Config(
        substrate=presets.LARGE_LATENTS,
        backbone=DiffusionTransformer.Config(width=1664, depth=28, heads=13, head_dim=128),
        coupling=PostPredictionHead.Config(
            horizon=12, future_offsets=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), reads="taps", tapped=(0.25, 0.5, 0.75, 1.0),
            head=ActionExpert.Config(width=512, depth=12, heads=8, steps_per_token=1, steps=10, sees_present=False,
                                     resampler=Resampler.Config(tokens=224, width=512, depth=6, heads=8, expansion=4)),
            imagination=Denoised.Config(steps=30, stop_after=1)),
        regime=SingleStep.Config(),
        text=presets.LARGE_WORDS))


RECIPE = Recipe(name="vpp", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=1_481_423_364)
