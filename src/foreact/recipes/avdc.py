"""AVDC: a video of the task done, dense correspondences in it, and the rigid motion that explains them; no action label anywhere.

(Pixel (decoded), Diffusion, Post-prediction head, Open-loop)

    p(s_{t+1:t+H} | o_t, l) by diffusion,    T* = argmin_T sum_i w_i rho(I_k(project(T x_i)) - I_0(u_i)),    a from T*
"""

from __future__ import annotations

from dataclasses import replace

from foreact.backbones.diffusion import DiffusionTransformer
from foreact.couplings.imagination import Denoised
from foreact.couplings.post_head import PostPredictionHead
from foreact.model import WorldActionModel
from foreact.nets.rigid_motion import RigidMotion
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.open_loop import OpenLoop
from foreact.substrates.decoded import Decoded
from foreact.training.run import Run, Stage

__all__ = ["RECIPE"]

CARD = Card(
    title="Actions from video by dense correspondence",
    paper="Learning to Act from Actionless Videos through Dense Correspondences",
    arxiv="2310.08576",
    year=2023,
    philosophy="A video says how things move in space, and that is enough to act: no action label is ever read.",
    substrate="Pixel (decoded)",
    backbone="Diffusion",
    coupling="Post-prediction head",
    regime="Open-loop",
    census="AVDC",
    deviations=(
        "The motion followed is the hand's, from its known place, as AVDC does where the robot is seen; AVDC otherwise follows the "
        "object and grasps or pushes it by a heuristic.",
        "Depth is the hand's own, from proprioception and the camera's calibration; AVDC reads a depth picture.",
        "Correspondences are found by matching the hand's pixels under one rigid motion, with a prior on the robot's reach; AVDC takes "
        "the flow of GMFlow from frame to frame and fits the motion to it.",
        "The video is denoised in the latents of a patch autoencoder by a transformer; AVDC denoises pixels with a U-Net.",
        "The plan is not made anew when the hand comes to rest, as the paper's replanning variant does.",
        "Instructions are hashed words with a learnt table in place of CLIP.",
        "The hand never turns, so the rigid motion is a translation, and the gripper stays closed, AVDC's rule for pushing.",
    ),
    bibtex="@article{ko2023avdc,\n"
           "  title   = {Learning to Act from Actionless Videos through Dense Correspondences},\n"
           "  author  = {Ko, Po-Chen and Mao, Jiayuan and Du, Yilun and Sun, Shao-Hua and Tenenbaum, Joshua B.},\n"
           "  journal = {arXiv:2310.08576},\n"
           "  year    = {2023}\n}",
)


def tiny() -> Run:
    run = presets.tiny("avdc", WorldActionModel.Config(
        substrate=Decoded.Config(inner=replace(presets.SMALL_LATENTS, width=128, depth=1)),
        backbone=DiffusionTransformer.Config(width=160, depth=4, heads=4, head_dim=40),
        coupling=PostPredictionHead.Config(
            horizon=96, future_offsets=(12, 24, 36, 48, 60, 78, 96), learns_on="true", head=RigidMotion.Config(),
            imagination=Denoised.Config(target="sample", space="changes", steps=5)),
        regime=OpenLoop.Config(),
        text=presets.SMALL_WORDS, action_scaling="none"), cameras=("scene",))
    return _label_free(run)


def paper() -> Run:
    """A video model of about 200 M parameters at 128 px, as AVDC's for Meta-World; eight frames."""
    return _label_free(presets.paper("avdc", WorldActionModel.Config(
        substrate=Decoded.Config(inner=replace(presets.LARGE_LATENTS, width=512, depth=4)),
        backbone=DiffusionTransformer.Config(width=768, depth=16, heads=12, head_dim=64),
        coupling=PostPredictionHead.Config(
            horizon=96, future_offsets=(12, 24, 36, 48, 60, 72, 84, 96), learns_on="true", head=RigidMotion.Config(),
            imagination=Denoised.Config(steps=100)),
        regime=OpenLoop.Config(),
        text=presets.LARGE_WORDS, action_scaling="none"), image_size=(128, 128), batch_size=16))


def _label_free(run: Run) -> Run:
    """All of the budget goes to the video: there is no action to learn."""
    steps = sum(stage.steps or 0 for stage in run.training.stages)
    return replace(run, training=replace(run.training, stages=(Stage(name="video", train=("video",), steps=steps),)))


RECIPE = Recipe(name="avdc", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=210_932_224)
