"""Every registered member of the four axes at its smallest size, and models made of them.

A new member is tested by adding its smallest config here; the suites fail while one is missing.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from foreact.backbones import (
    AlignedDenoiser,
    CausalTransformer,
    CosmosVideo,
    DiffusionTransformer,
    JointEmbeddingPredictor,
    LanguageTrunk,
    MixtureOfTransformers,
    PretrainedLanguageTrunk,
    WanMixture,
    WanVideo,
)
from foreact.backbones.mixture import ExpertSize
from foreact.contract.axes import Encoded
from foreact.contract.context import Context, Window, fake_context, fake_window
from foreact.contract.specs import ActionSpec, Calibration, CameraSpec, ObservationSpec, StateSpec
from foreact.couplings import (
    ActionExpert,
    ConditionedRollout,
    Denoised,
    DirectDecoder,
    FutureTokens,
    InverseDynamics,
    JointAutoregression,
    JointGeneration,
    LatentFrames,
    PostPredictionHead,
    StreamedChunks,
)
from foreact.model import WorldActionModel
from foreact.nets.resampler import Resampler
from foreact.nets.text import HashedWords
from foreact.nets.token_diffusion import TokenDiffusion
from foreact.nets.video_autoencoder import WanAutoencoder
from foreact.nets.vision_language import VisionLanguage
from foreact.regimes import Adaptive, Asynchronous, Chunked, Ensembled, Interactive, OpenLoop, SingleStep
from foreact.selection import BestFirstTree, CrossEntropy, PathIntegral
from foreact.substrates import (
    AutoencoderLatents,
    ClipLatents,
    ContactMap,
    Decoded,
    Depth,
    DiscreteTokens,
    EffectorHeatMap,
    FrozenFeatures,
    LatentActionModel,
    LatentActions,
    MelLatents,
    MotionVectors,
    OpticalFlow,
    PixelLatents,
    PointFlow,
    PointMaps,
    PointTracks,
    Polyline,
    PoseStream,
    ReachValue,
    SelfDistilled,
    SemanticMasks,
    VisionLanguageTokens,
)

LOOK = Calibration(position=(0.0, -2.0, 0.5), forward=(0.0, 1.0, 0.0), up=(0.0, 0.0, 1.0), fovy=60.0)
OBSERVATION = ObservationSpec(cameras=(CameraSpec(name="front", height=16, width=16, calibration=LOOK),
                                       CameraSpec(name="hand", height=16, width=16)), rate_hz=10.0,
                              state=StateSpec(names=("x", "y", "z"), units=("m",) * 3))
ACTION = ActionSpec(names=("dx", "dy"), low=(-1.0, -1.0), high=(1.0, 1.0), rate_hz=10.0, reference="delta", frame="end-effector")

SUBSTRATES = {
    "VisionLanguageTokens": VisionLanguageTokens.Config(grid=(2, 2), encoder=VisionLanguage.Config(
        name=None, layer=2, pixels=16, patch=8, tower_width=12, tower_depth=1, tower_heads=2, tower_feed_forward=16, width=16, heads=2,
        key_value_heads=1, head_dim=8, feed_forward=24)),
    "AutoencoderLatents": AutoencoderLatents.Config(
        autoencoder=WanAutoencoder.Config(channels=4, width=4, multiples=(1, 1, 1, 1), blocks=1), statistics="measured"),
    "ClipLatents": ClipLatents.Config(frames=AutoencoderLatents.Config(
        autoencoder=WanAutoencoder.Config(channels=4, width=4, multiples=(1, 1, 1, 1), blocks=1), statistics="measured")),
    "PixelLatents": PixelLatents.Config(channels=4, patch=8, width=8, depth=1),
    "Decoded": Decoded.Config(inner=PixelLatents.Config(channels=4, patch=8, width=8, depth=1)),
    "FrozenFeatures": FrozenFeatures.Config(encoder=SelfDistilled.Config(width=16, depth=1, heads=2, patch=8, prototypes=16), grid=(2, 2)),
    "DiscreteTokens": DiscreteTokens.Config(codes=12, patch=8, components=6, width=16, depth=1),
    "OpticalFlow": OpticalFlow.Config(grid=(2, 2), detail=2),
    "EffectorHeatMap": EffectorHeatMap.Config(grid=(2, 2), detail=4, radius=0.2, hand=("x", "y", "z")),
    "SemanticMasks": SemanticMasks.Config(grid=(2, 2), detail=4),
    "ContactMap": ContactMap.Config(grid=(2, 2), detail=4, reach=1, firm=1.0),
    "MelLatents": MelLatents.Config(channels=6),
    "ReachValue": ReachValue.Config(grid=(2, 2), detail=4, length=1.0, hand=("x", "y", "z")),
    "PointFlow": PointFlow.Config(points=8),
    "Depth": Depth.Config(grid=(2, 2), detail=2),
    "PointMaps": PointMaps.Config(grid=(2, 2), detail=2),
    "LatentActions": LatentActions.Config(
        inner=PixelLatents.Config(channels=4, patch=8, width=8, depth=1),
        model=LatentActionModel.Config(channels=3, width=16, depth=1, heads=2, kept=4, hidden=16)),
    "PointTracks": PointTracks.Config(points=8),
    "MotionVectors": MotionVectors.Config(grid=(2, 2)),
    "Polyline": Polyline.Config(hand=("x", "y", "z")),
    "PoseStream": PoseStream.Config(),
}
BACKBONES = {
    "AlignedDenoiser": AlignedDenoiser.Config(width=24, depth=2, heads=2, head_dim=8, expansion=2, aligned_after=1),
    "MixtureOfTransformers": MixtureOfTransformers.Config(depth=2, heads=2, head_dim=8, experts=(
        ExpertSize(name="video", width=24, expansion=2), ExpertSize(name="action", width=16, expansion=2))),
    "DiffusionTransformer": DiffusionTransformer.Config(width=24, depth=2, heads=2, head_dim=8, expansion=2),
    "JointEmbeddingPredictor": JointEmbeddingPredictor.Config(width=16, depth=2, heads=2, expansion=2),
    "LanguageTrunk": LanguageTrunk.Config(width=16, depth=2, heads=2, feed_forward=24),
    "PretrainedLanguageTrunk": PretrainedLanguageTrunk.Config(width=16, depth=2, heads=2, key_value_heads=1, head_dim=12, feed_forward=24,
                                                              axes=(2, 2, 2), attention="prefix"),
    "WanVideo": WanVideo.Config(heads=2, head_dim=12, depth=2, text_width=12, words=8, feed_forward=32, frequencies=16),
    "WanMixture": WanMixture.Config(
        video=WanVideo.Config(heads=2, head_dim=12, depth=2, text_width=12, words=8, feed_forward=32, frequencies=16),
        action=ExpertSize(name="action", width=16, expansion=2, alternate=True)),
    "CosmosVideo": CosmosVideo.Config(heads=2, head_dim=12, depth=2, text_width=12, words=8, expansion=2, modulation=4, largest=(8, 8, 8)),
    "CausalTransformer": CausalTransformer.Config(width=16, depth=2, heads=2, expansion=2),
}
_HEAD = ActionExpert.Config(width=16, depth=2, heads=2, expansion=2, steps_per_token=2, steps=3)
_FEW = Resampler.Config(tokens=3, width=12, depth=1, heads=2)
_DRAWN = TokenDiffusion.Config(width=16, depth=1, draws=2, steps=3)
COUPLINGS = {
    "FutureTokens": FutureTokens.Config(horizon=8, future_offsets=(4, 8), steps=3),
    "LatentFrames": LatentFrames.Config(horizon=8, future_offsets=(4, 8), steps=3, candidates=3),
    "JointGeneration": JointGeneration.Config(horizon=8, future_offsets=(4, 8), steps=3),
    "JointGeneration:valued": JointGeneration.Config(horizon=8, future_offsets=(4, 8), steps=3, value_target="sample"),
    "PostPredictionHead": PostPredictionHead.Config(horizon=8, future_offsets=(4, 8), head=_HEAD),
    "PostPredictionHead:denoised": PostPredictionHead.Config(horizon=8, future_offsets=(4, 8), head=_HEAD, learns_on="true",
                                                             imagination=Denoised.Config(steps=3)),
    "PostPredictionHead:tapped": PostPredictionHead.Config(horizon=8, future_offsets=(4, 8), head=_HEAD, reads="taps",
                                                           imagination=Denoised.Config(steps=3, stop_after=1)),
    "PostPredictionHead:bridged": PostPredictionHead.Config(horizon=8, future_offsets=(4, 8), reads="taps", tapped=(0.5, 1.0),
                                                            head=replace(_HEAD, bridged=True, sees_present=False),
                                                            imagination=Denoised.Config(steps=3, stop_after=1)),
    "JointAutoregression": JointAutoregression.Config(horizon=8, future_offsets=(4, 8), history=3, history_stride=3, resampler=_FEW,
                                                      action_detokenizer=_DRAWN),
    "JointAutoregression:drawn": JointAutoregression.Config(horizon=8, future_offsets=(4, 8), history=2, history_stride=3, past_actions=2,
                                                            resampler=_FEW, action_detokenizer=_DRAWN, video_detokenizer=_DRAWN),
    "JointAutoregression:regressed": JointAutoregression.Config(horizon=8, future_offsets=(4, 8), history=1, resampler=_FEW,
                                                                learns_on="predicted"),
    "PostPredictionHead:pooled": PostPredictionHead.Config(
        horizon=8, future_offsets=(4, 8), reads="taps",
        head=replace(_HEAD, sees_present=False, resampler=Resampler.Config(tokens=3, width=8, depth=1, heads=2)),
        imagination=Denoised.Config(steps=3, stop_after=1)),
    "PostPredictionHead:inverse": PostPredictionHead.Config(
        horizon=8, future_offsets=(3, 8), learns_on="true", imagination=Denoised.Config(steps=3),
        head=InverseDynamics.Config(width=16, hidden=24, channels=4)),
    "PostPredictionHead:direct": PostPredictionHead.Config(
        horizon=8, future_offsets=(4, 8), learns_on="true", imagination=Denoised.Config(steps=3), head=DirectDecoder.Config(hidden=(24,))),
    "StreamedChunks": StreamedChunks.Config(horizon=8, future_offsets=(4, 8), history=3, history_stride=3, past_actions=6, steps=3,
                                            action_steps=3),
    "ConditionedRollout": ConditionedRollout.Config(horizon=8, future_offsets=(4, 8), steps_per_token=2,
                                                    planner=PathIntegral.Config(candidates=6)),
    "ConditionedRollout:step-wise": ConditionedRollout.Config(horizon=8, future_offsets=(4, 8), steps_per_token=2, mode="step-wise",
                                                              planner=BestFirstTree.Config(candidates=3, expansions=2)),
    "ConditionedRollout:denoised": ConditionedRollout.Config(horizon=8, future_offsets=(4, 8), steps_per_token=2, prediction="denoised",
                                                             planner=CrossEntropy.Config(candidates=6, elites=3, iterations=2)),
}
"""A class may come in several variants, told apart by what follows the colon."""
REGIMES = {"Chunked": Chunked.Config(replan=3), "OpenLoop": OpenLoop.Config(), "SingleStep": SingleStep.Config(),
           "Interactive": Interactive.Config(replan=3), "Asynchronous": Asynchronous.Config(replan=3, compensation="drop"),
           "Asynchronous:inpainting": Asynchronous.Config(replan=3, compensation="inpaint"),
           "Ensembled": Ensembled.Config(replan=3), "Adaptive": Adaptive.Config(replan=3, soon=1)}
FITTING = {"FutureTokens": "AlignedDenoiser", "LatentFrames": "DiffusionTransformer",
           "JointGeneration": "MixtureOfTransformers", "JointGeneration:valued": "MixtureOfTransformers",
           "PostPredictionHead": "JointEmbeddingPredictor", "PostPredictionHead:denoised": "DiffusionTransformer",
           "PostPredictionHead:tapped": "DiffusionTransformer", "PostPredictionHead:bridged": "DiffusionTransformer",
           "JointAutoregression": "CausalTransformer", "JointAutoregression:drawn": "CausalTransformer",
           "JointAutoregression:regressed": "CausalTransformer", "PostPredictionHead:inverse": "DiffusionTransformer",
           "PostPredictionHead:direct": "DiffusionTransformer",
           "StreamedChunks": "MixtureOfTransformers", "PostPredictionHead:pooled": "DiffusionTransformer",
           "ConditionedRollout": "MixtureOfTransformers", "ConditionedRollout:step-wise": "JointEmbeddingPredictor",
           "ConditionedRollout:denoised": "DiffusionTransformer"}
CHANCELESS = {"JointAutoregression:regressed"}
"""Couplings that draw nothing, in training or in acting."""
IN_VIEW = {"PostPredictionHead:inverse"}
"""Couplings that set the future beside the present, and so want it in the present's space."""


def takes(coupling: str, substrate: str) -> bool:
    """Whether a coupling can predict futures in a substrate: not every one can predict codes."""
    return type(COUPLINGS[coupling]).owner.discrete or not SUBSTRATES[substrate].form(OBSERVATION).discrete


def classes(members: dict[str, object]) -> set[str]:
    """The classes that members are of."""
    return {name.partition(":")[0] for name in members}


def config(coupling: str, substrate: str = "PixelLatents", regime: str = "Chunked") -> WorldActionModel.Config:
    """A whole model around a coupling, with a backbone that fits it, and with a history as the regime gives one."""
    chosen = SUBSTRATES[substrate]
    made, period = COUPLINGS[coupling], REGIMES[regime].period()
    if made.history > 1:
        between = made.past_actions == (made.history - 1) * made.history_stride  # all actions between the frames of the history
        kept, stride = (made.history, period) if period else (1, made.history_stride)
        past = (kept - 1) * stride if between else made.past_actions
        made = replace(made, history=kept, history_stride=stride, past_actions=past)
    return WorldActionModel.Config(
        substrate=chosen, view=None if type(chosen).owner.per_frame else SUBSTRATES["PixelLatents"], backbone=BACKBONES[FITTING[coupling]],
        coupling=made, regime=REGIMES[regime], text=HashedWords.Config(width=8, buckets=32, words=8))


def build(config: WorldActionModel.Config, seed: int = 0) -> WorldActionModel:
    torch.manual_seed(seed)
    return config.build(OBSERVATION, ACTION).eval()


def window(config: WorldActionModel.Config, *, batch: int = 4, seed: int = 0) -> Window:
    coupling = config.coupling
    return fake_window(OBSERVATION, ACTION, horizon=coupling.horizon, future_offsets=coupling.future_offsets, batch=batch, seed=seed,
                       history=coupling.history, past=coupling.past_actions, annotations=config.needs(OBSERVATION), fold=config.fold)


def context(config: WorldActionModel.Config, *, batch: int = 2) -> Context:
    """A random context with all that the model reads."""
    return fake_context(OBSERVATION, batch=batch, history=config.coupling.history, past=config.coupling.past_actions, actions=ACTION.size)


def alive(config: WorldActionModel.Config, seed: int = 0) -> WorldActionModel:
    """A model in which no parameter is zero, so that everything that can matter does: initial zeros hide dead paths and leaks."""
    model = build(config, seed)
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in model.parameters_to_train():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=g))
    return model


def losses(model: WorldActionModel, window: Window, train: tuple[str, ...] = ("video", "action"), seed: int = 0) -> dict[str, torch.Tensor]:
    return model.losses(window, train=frozenset(train), generator=torch.Generator().manual_seed(seed))


def first(encoded: Encoded, count: int) -> Encoded:
    """The first elements of a batch."""
    cut = {n: v[:count] for n, v in vars(encoded).items() if isinstance(v, torch.Tensor)}
    return replace(encoded, future={n: v[:count] for n, v in encoded.future.items()}, **cut)
