"""CLAW: latent actions learnt from action-free video, a policy over them, and a decoder to the robot's own from a few labels.

(Feature (teacher), Diffusion, Post-prediction head, Chunked)

    z_k = q(o_t, o_{t+o_k}) from video alone,    p(z_{1:K} | o_t, l) by diffusion on all of it,    a = g(z_{1:K}, state) from few labels
"""

from __future__ import annotations

from foreact.backbones.diffusion import DiffusionTransformer
from foreact.couplings.imagination import Denoised
from foreact.couplings.post_head import PostPredictionHead
from foreact.model import WorldActionModel
from foreact.nets.direct_decoder import DirectDecoder
from foreact.nets.latent_action import LatentActionModel
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.chunked import Chunked
from foreact.substrates.latent_actions import LatentActions
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="Latent actions from video, grounded by a few labels",
    paper="CLAW: Learning Continuous Latent Action World Models via Adversarial Latent Regularization",
    arxiv="2606.04130",
    year=2026,
    philosophy="What happened between two frames is an action, whoever did it; a robot needs few labels to learn how to do the same.",
    substrate="Feature (teacher)",
    backbone="Diffusion",
    coupling="Post-prediction head",
    regime="Chunked",
    census="CLAW",
    deviations=(
        "The forward model gives the mean of the next frame's latents in one pass; CLAW's world model is a video diffusion model.",
        "The adversary rebuilds the next frame from the latent action, and the inverse model is trained to leave it nothing but the mean "
        "frame; the exact losses of the source are not known here.",
        "Latent actions are inferred from the present to each offset of the chunk; CLAW infers them between consecutive frames.",
        "Inverse and forward model begin at the principal components of the change and see pairs of frames in either order of time, so "
        "that a latent action is needed where demonstrations always go one way; the source tells of neither.",
        "Inverse and forward model are learnt before the policy and then frozen, so that all of the policy's training sees one space.",
        "Planning to a goal with the world model is left out: the recipe is the source's imitation from observation.",
        "Three quarters of the training episodes have no action labels; the decoder learns from the rest, and reads latent actions and "
        "state alone.",
        "Everything is learnt from the dataset at hand, videos of the same robot and tasks; instructions are hashed words with a learnt "
        "table.",
        "After 1000 steps on two Meta-World tasks with 40 demonstrations each, a quarter of them labelled, size tiny solved 10 of 20 "
        "development seeds (30 to 70 %); chance solves none of 40.",
        "At size tiny latent actions are predicted as clean samples.",
        "The published size is not known here; size paper is a policy of about 0.5 B parameters.",
    ),
    bibtex="@article{ayalew2026claw,\n"
           "  title   = {{CLAW}: Learning Continuous Latent Action World Models via Adversarial Latent Regularization},\n"
           "  author  = {Ayalew, Tewodros and Jeung, Matthew and Wheeler, Samuel and Zhang, Xiao and de la Cruz Arce, Andre and "
           "Stocking, Kaylene and Maire, Michael and Walter, Matthew R.},\n"
           "  journal = {arXiv:2606.04130},\n"
           "  year    = {2026}\n}",
)

_UNLABELLED = 0.75


def tiny() -> Run:
    return presets.tiny("claw", WorldActionModel.Config(
        substrate=LatentActions.Config(inner=presets.SMALL_LATENTS),
        view=presets.SMALL_LATENTS,
        backbone=DiffusionTransformer.Config(width=160, depth=4, heads=4, head_dim=40),
        coupling=PostPredictionHead.Config(
            horizon=16, future_offsets=(8, 16), learns_on="true",
            head=DirectDecoder.Config(noise=0.3),
            imagination=Denoised.Config(target="sample", steps=4)),
        regime=Chunked.Config(replan=8),
        text=presets.SMALL_WORDS), action_free=_UNLABELLED)


def paper() -> Run:
    return presets.paper("claw", WorldActionModel.Config(
        substrate=LatentActions.Config(inner=presets.LARGE_LATENTS,
                                       model=LatentActionModel.Config(channels=32, width=1024, depth=12, heads=16, kept=32, hidden=1024)),
        view=presets.LARGE_LATENTS,
        backbone=DiffusionTransformer.Config(width=1024, depth=24, heads=16, head_dim=64),
        coupling=PostPredictionHead.Config(
            horizon=16, future_offsets=(4, 8, 12, 16), learns_on="true",
            head=DirectDecoder.Config(hidden=(1024, 1024, 1024)),
            imagination=Denoised.Config(steps=10)),
        regime=Chunked.Config(replan=16),
        text=presets.LARGE_WORDS), action_free=_UNLABELLED)


RECIPE = Recipe(name="claw", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=1_211_485_088)
