"""LingBot-VA: imagine a chunk's video, decode its actions, look again, remember (arXiv 2601.21998).

(Pixel (latent), Hybrid, Post-prediction head, Interactive)

    p(s_k, a_k | m_k) = p_theta(s_k | m_k) q_psi(a_k | s_k, m_k),    m_k = (o, a)_{<k}

Video and action experts meet in attention; teacher forcing with clean and noisy streams, a cache of real frames and executed actions.
"""

from __future__ import annotations

from dataclasses import replace

from foreact.backbones.mixture import ExpertSize, MixtureOfTransformers
from foreact.couplings.streamed_chunks import StreamedChunks
from foreact.model import WorldActionModel
from foreact.recipes import presets
from foreact.recipes.recipe import Card, Recipe
from foreact.regimes.interactive import Interactive
from foreact.training.run import Run

__all__ = ["RECIPE"]

CARD = Card(
    title="Autoregressive video and action with a memory",
    paper="Causal World Modeling for Robot Control",
    arxiv="2601.21998",
    year=2026,
    philosophy="Imagine what the next chunk will look like, infer the actions that bring it about, then put what was seen in its place.",
    substrate="Pixel (latent)",
    backbone="Hybrid",
    coupling="Post-prediction head",
    regime="Interactive",
    deviations=(
        "Nothing is pretrained: the autoencoder of patches and both experts are learnt from the dataset at hand; LingBot-VA starts "
        "from Wan2.2 (5B), its autoencoder and its text encoder.",
        "Clean tokens see their own chunk alone and the memory holds few chunks, so that a bounded cache is exact; LingBot-VA's clean "
        "tokens see all that came before.",
        "One frame for each chunk, and proprioception beside it.",
        "The video of a chunk is denoised to the end before its actions; LingBot-VA stops half way, which it trains for.",
        "Planning waits for execution; LingBot-VA plans the next chunk while this one is executed.",
        "At size tiny a chunk's video is the clean change from the frame before it, in place of a velocity.",
    ),
    bibtex="@article{li2026lingbotva,\n"
           "  title   = {Causal World Modeling for Robot Control},\n"
           "  author  = {Li, Lin and Zhang, Qihang and Luo, Yiming and Yang, Shuai and Wang, Ruilin and Han, Fei and Yu, Mingrui and "
           "Gao, Zelin and Xue, Nan and Zhu, Xing and Shen, Yujun and Xu, Yinghao},\n"
           "  journal = {arXiv:2601.21998},\n"
           "  year    = {2026}\n}",
    census="LingBot-VA",
)


def tiny() -> Run:
    """Two processor cores, 64 px, minutes: one chunk of eight steps ahead, the last two observations behind."""
    return presets.tiny("lingbot-va", WorldActionModel.Config(
        substrate=presets.SMALL_LATENTS, backbone=presets.SMALL_MIXTURE,
        coupling=StreamedChunks.Config(horizon=8, future_offsets=(8,), history=2, history_stride=8, past_actions=8, video_space="changes"),
        regime=Interactive.Config(replan=8), text=presets.SMALL_WORDS))


def paper() -> Run:
    """The source's scale: 30 blocks, widths 3072 (Wan2.2, 5B) and 768; two chunks of 16 a window, four observations behind; many GPUs."""
    return presets.paper("lingbot-va", WorldActionModel.Config(
        substrate=replace(presets.LARGE_LATENTS, channels=192),
        backbone=MixtureOfTransformers.Config(depth=30, heads=24, head_dim=128, experts=(
            ExpertSize(name="video", width=3072), ExpertSize(name="action", width=768))),
        coupling=StreamedChunks.Config(
            horizon=32, future_offsets=(16, 32), history=4, history_stride=16, past_actions=48, video_target="velocity",
            action_target="velocity", density="logit-normal", shift=5.0, steps=20, action_steps=50),
        regime=Interactive.Config(replan=16), text=presets.LARGE_WORDS))


RECIPE = Recipe(name="lingbot-va", card=CARD, sizes={"tiny": tiny, "paper": paper}, parameters=4_942_916_228)
