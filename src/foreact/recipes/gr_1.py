"""GR-1: image and action tokens in one causal stream, one action for every look.

(Pixel (latent), Autoregressive, Joint generation, Single-step)
"""

from __future__ import annotations

from foreact.backbones.causal import CausalTransformer
from foreact.couplings.autoregression import JointAutoregression
from foreact.model import WorldActionModel
from foreact.nets.resampler import Resampler
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.single_step import SingleStep
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="GR-1: a causal stream of image and action tokens",
    paper="Unleashing Large-Scale Video Generative Pre-training for Visual Robot Manipulation",
    arxiv="2312.13139",
    year=2023,
    philosophy="A trunk that foresees the next frame foresees the next action: both are the next tokens of one short history.",
    substrate="Pixel (latent)",
    backbone="Autoregressive",
    coupling="Joint generation",
    regime="Single-step",
    census="GR-1",
    deviations=(
        "Nothing is pretrained: GR-1 learns to predict video from 800,000 clips of Ego4D first, and reads frozen MAE and CLIP features.",
        "Image tokens are latents of a patch autoencoder, resampled to a few for all cameras; GR-1 resamples MAE patches and keeps a "
        "CLS token.",
        "One query for each latent of the future frame, decoded by the autoencoder, in place of a few [OBS] queries with a mask-token "
        "decoder of pixels.",
        "The predicted frame is fed back, resampled, and the action query reads it, so the action depends on what is foreseen; "
        "in GR-1 the two queries share the trunk.",
        "Both queries are asked at the present alone; GR-1 asks them at every time of its history.",
        "The action loss is a mean square; GR-1 has a smooth L1 for the arm and a cross-entropy for the gripper.",
        "At size tiny the frame is predicted as its change from the present, and the history is 4 looks, not 10.",
    ),
    bibtex="@article{wu2023unleashing,\n"
           "  title   = {Unleashing Large-Scale Video Generative Pre-training for Visual Robot Manipulation},\n"
           "  author  = {Wu, Hongtao and Jing, Ya and Cheang, Chilam and Chen, Guangzeng and Xu, Jiafeng and Li, Xinghang and "
           "Liu, Minghuan and Li, Hang and Kong, Tao},\n"
           "  journal = {arXiv:2312.13139},\n"
           "  year    = {2023}\n}",
)


def tiny() -> Run:
    """Two processor cores, 64 px: the future a tenth of a second ahead at 80 Hz, as GR-1's at 30 Hz."""
    return presets.tiny("gr-1", WorldActionModel.Config(
        substrate=presets.SMALL_LATENTS,
        backbone=CausalTransformer.Config(width=160, depth=4, heads=4),
        coupling=JointAutoregression.Config(horizon=1, future_offsets=(8,), history=4, video_space="changes", learns_on="predicted",
                                            resampler=Resampler.Config(tokens=6)),
        regime=SingleStep.Config(), text=presets.SMALL_WORDS))


def paper() -> Run:
    """12 layers of width 384 over 10 looks, the frame 3 steps ahead: 40 M in trunk and heads, where GR-1 trains 46 M of its 195 M."""
    return presets.paper("gr-1", WorldActionModel.Config(
        substrate=presets.LARGE_LATENTS,
        backbone=CausalTransformer.Config(width=384, depth=12, heads=12),
        coupling=JointAutoregression.Config(horizon=1, future_offsets=(3,), history=10, learns_on="predicted",
                                           resampler=Resampler.Config(tokens=20, width=384, depth=3, heads=6, expansion=4)),
        regime=SingleStep.Config(), text=presets.LARGE_WORDS), image_size=(224, 224))


RECIPE = Recipe(name="gr-1", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=226_852_484)
