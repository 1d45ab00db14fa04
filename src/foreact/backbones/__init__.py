"""Axis 2: what predicts the future."""

from foreact.backbones.diffusion import DiffusionTransformer
from foreact.backbones.joint_embedding import JointEmbeddingPredictor
from foreact.backbones.mixture import MixtureOfTransformers

__all__ = ["DiffusionTransformer", "JointEmbeddingPredictor", "MixtureOfTransformers"]
