"""UWM: one net with a noise level for each modality, and so a policy, two dynamics models and a video model.

(Pixel (latent), Hybrid, Joint generation, Chunked)

    L = E || s_theta(s'_{sigma_s}, a_{sigma_a}, sigma_s, sigma_a, o) - (s', a) ||^2,    sigma_s and sigma_a drawn independently

A modality at sigma = 0 is given, at sigma = 1 unknown: policy (s' unknown), forward dynamics (a given), inverse dynamics
(s' given) and video model (a unknown) are corners of the same square. Video without actions trains it too, with sigma_a = 1.
"""

from __future__ import annotations

from foreact.backbones.mixture import ExpertSize, MixtureOfTransformers
from foreact.couplings.joint import JointGeneration
from foreact.model import WorldActionModel
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.chunked import Chunked
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="Unified world models: noise levels of their own for video and action",
    paper="Unified World Models: Coupling Video and Action Diffusion for Pretraining on Large Robotic Datasets",
    arxiv="2504.02792",
    year=2025,
    philosophy="Give each modality its own noise level, and one denoiser is policy, dynamics and video model.",
    substrate="Pixel (latent)",
    backbone="Hybrid",
    coupling="Joint generation",
    regime="Chunked",
    census="UWM",
    deviations=(
        "Acting denoises the future with the action, so that what is imagined is on the path of the action; UWM's policy leaves the "
        "future at pure noise.",
        "Experts that meet in attention in place of one transformer over both modalities with registers.",
        "The present frame and each stream's noise level enter each expert by themselves; UWM modulates all tokens by both levels and "
        "by the encoded present.",
        "The latents are learnt from the dataset at hand; UWM takes those of a published image autoencoder.",
        "A quarter of the episodes is shown without its actions; UWM adds video from other sources.",
        "Clean samples are predicted at size tiny, the video as its change from the present; UWM predicts the noise.",
    ),
    bibtex="@inproceedings{zhu2025uwm,\n"
           "  title     = {Unified World Models: Coupling Video and Action Diffusion for Pretraining on Large Robotic Datasets},\n"
           "  author    = {Zhu, Chuning and Yu, Raymond and Feng, Siyuan and Burchfiel, Benjamin and Shah, Paarth and Gupta, Abhishek},\n"
           "  booktitle = {Robotics: Science and Systems},\n"
           "  note      = {arXiv:2504.02792},\n"
           "  year      = {2025}\n}",
)
_EACH_OTHER = {"video": ("frame", "video", "state", "action")}


def tiny() -> Run:
    """Two CPU cores, 64 px, minutes."""
    return presets.tiny("uwm", WorldActionModel.Config(
        substrate=presets.SMALL_LATENTS, backbone=presets.SMALL_MIXTURE,
        coupling=JointGeneration.Config(horizon=16, future_offsets=(8, 16), video_target="sample", video_space="changes",
                                        sees=_EACH_OTHER, levels="independent"),
        regime=Chunked.Config(replan=8), text=presets.SMALL_WORDS), action_free=0.25)


def paper() -> Run:
    """Some hundred million parameters, 224 px, chunks of 16."""
    return presets.paper("uwm", WorldActionModel.Config(
        substrate=presets.LARGE_LATENTS, backbone=MixtureOfTransformers.Config(depth=12, heads=12, head_dim=64, experts=(
            ExpertSize(name="video", width=768), ExpertSize(name="action", width=768))),
        coupling=JointGeneration.Config(horizon=16, future_offsets=(8, 16), video_target="noise", action_target="noise", sees=_EACH_OTHER,
                                        levels="independent", steps=50),
        regime=Chunked.Config(replan=8), text=presets.LARGE_WORDS), image_size=(224, 224), action_free=0.25)


RECIPE = Recipe(name="uwm", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=434_369_540)
