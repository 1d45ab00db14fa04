"""Axis 3: how action enters and leaves."""

from foreact.couplings.autoregression import JointAutoregression
from foreact.couplings.imagination import Denoised, OnePass
from foreact.couplings.joint import JointGeneration
from foreact.couplings.post_head import PostPredictionHead

__all__ = ["Denoised", "JointAutoregression", "JointGeneration", "OnePass", "PostPredictionHead"]
