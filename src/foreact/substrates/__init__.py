"""Axis 1: where the future lives; with the encoders that a substrate can have."""

from foreact.nets.latent_action import LatentActionModel
from foreact.nets.moving_target import MovingTarget
from foreact.nets.pretrained_vision import PretrainedVision
from foreact.nets.self_distilled import SelfDistilled
from foreact.nets.text_matched import TextMatched
from foreact.nets.video_autoencoder import CosmosAutoencoder, WanAutoencoder
from foreact.nets.vision_language import VisionLanguage
from foreact.substrates.autoencoder_latents import AutoencoderLatents
from foreact.substrates.clip_latents import ClipLatents
from foreact.substrates.contact_map import ContactMap
from foreact.substrates.decoded import Decoded
from foreact.substrates.depth import Depth
from foreact.substrates.discrete_tokens import DiscreteTokens
from foreact.substrates.effector_heat_map import EffectorHeatMap
from foreact.substrates.frozen_features import FrozenFeatures
from foreact.substrates.latent_actions import LatentActions
from foreact.substrates.mel_latents import MelLatents
from foreact.substrates.motion_vectors import MotionVectors
from foreact.substrates.optical_flow import OpticalFlow
from foreact.substrates.pixel_latents import PixelLatents
from foreact.substrates.point_flow import PointFlow
from foreact.substrates.point_maps import PointMaps
from foreact.substrates.point_tracks import PointTracks
from foreact.substrates.polyline import Polyline
from foreact.substrates.pose_stream import PoseStream
from foreact.substrates.reach_value import ReachValue
from foreact.substrates.semantic_masks import SemanticMasks
from foreact.substrates.vision_language_tokens import VisionLanguageTokens

__all__ = ["AutoencoderLatents", "ClipLatents", "ContactMap", "CosmosAutoencoder", "Decoded", "Depth", "DiscreteTokens", "EffectorHeatMap",
           "FrozenFeatures", "LatentActionModel", "LatentActions", "MelLatents", "MotionVectors", "MovingTarget", "OpticalFlow",
           "PixelLatents", "PointFlow", "PointMaps", "PointTracks", "Polyline", "PoseStream", "PretrainedVision", "ReachValue",
           "SelfDistilled", "SemanticMasks", "TextMatched", "VisionLanguage", "VisionLanguageTokens", "WanAutoencoder"]
