"""Cosmos Policy: a video model becomes a policy, a world model and a value function by what is written into its frames.

(Pixel (latent), Diffusion, Joint generation, Chunked)

    present image | proprioception, action chunk, future proprioception, future image, value

One diffusion over the whole sequence; half of the samples are the policy's, a quarter the world model's, a quarter the
value's. Acting takes the best of several plans by the value of the future that each imagines.
"""

from __future__ import annotations

from foreact.backbones.diffusion import DiffusionTransformer
from foreact.couplings.latent_frames import LatentFrames
from foreact.model import WorldActionModel
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.chunked import Chunked
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="Cosmos Policy: action, proprioception and value as latent frames",
    paper="Cosmos Policy: Fine-Tuning Video Models for Visuomotor Control and Planning",
    arxiv="2601.16163",
    year=2026,
    philosophy="A video model needs no new parts to act: what is not a picture is written into frames and denoised with them.",
    substrate="Pixel (latent)",
    backbone="Diffusion",
    coupling="Joint generation",
    regime="Chunked",
    census="CosmosPolicy",
    deviations=(
        "Nothing is pretrained; Cosmos Policy fine-tunes Cosmos-Predict2-2B.",
        "The value is only as good as the failures in the data: the default demonstrations all succeed, so their returns differ by the "
        "time to success alone, and a plan that fails looks like none of them; Cosmos Policy learns it from rollouts that also fail.",
        "All kinds of samples come from the same demonstrations, and the return is that of the present, not of the imagined state.",
        "The present image is seen but sees only itself, so that it is computed once for all steps.",
        "Each camera's picture is a part of one frame; Cosmos Policy gives each camera a latent frame.",
        "At size tiny a written frame has 8 tokens, the future image is predicted as its change from the present, as a clean sample, "
        "and 3 plans compete.",
    ),
    bibtex="@article{kim2026cosmospolicy,\n"
           "  title   = {Cosmos Policy: Fine-Tuning Video Models for Visuomotor Control and Planning},\n"
           "  author  = {Kim, Moo Jin and Gao, Yihuai and Lin, Tsung-Yi and Lin, Yen-Chen and Ge, Yunhao and Lam, Grace and Liang, Percy "
           "and Song, Shuran and Liu, Ming-Yu and Finn, Chelsea and others},\n"
           "  journal = {arXiv:2601.16163},\n"
           "  year    = {2026}\n}",
)


def tiny() -> Run:
    """Two CPU cores, 64 px, minutes."""
    return presets.tiny("cosmos-policy", WorldActionModel.Config(
        substrate=presets.SMALL_LATENTS, backbone=presets.SMALL_DIT,
        coupling=LatentFrames.Config(horizon=16, future_offsets=(16,), written_tokens=8, video_space="changes", candidates=3),
        regime=Chunked.Config(replan=8), text=presets.SMALL_WORDS))


def paper() -> Run:
    """The shape of Cosmos-Predict2-2B: 28 blocks of width 2048."""
    return presets.paper("cosmos-policy", WorldActionModel.Config(
        substrate=presets.LARGE_LATENTS, backbone=DiffusionTransformer.Config(width=2048, depth=28, heads=16, head_dim=128),
        coupling=LatentFrames.Config(horizon=16, future_offsets=(16,), target="velocity", density="logit-normal", steps=5, candidates=8),
        regime=Chunked.Config(replan=16), text=presets.LARGE_WORDS), image_size=(224, 224))


RECIPE = Recipe(name="cosmos-policy", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=1_989_386_240)
