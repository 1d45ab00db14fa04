"""Axis 3: how action enters and leaves; with the heads that a post-prediction coupling can have."""

from foreact.couplings.autoregression import JointAutoregression
from foreact.couplings.conditioned_rollout import ConditionedRollout
from foreact.couplings.future_tokens import FutureTokens
from foreact.couplings.imagination import Denoised, OnePass
from foreact.couplings.joint import JointGeneration
from foreact.couplings.latent_frames import LatentFrames
from foreact.couplings.post_head import PostPredictionHead
from foreact.couplings.streamed_chunks import StreamedChunks
from foreact.nets.action_expert import ActionExpert
from foreact.nets.direct_decoder import DirectDecoder
from foreact.nets.inverse_dynamics import InverseDynamics
from foreact.nets.rigid_motion import RigidMotion

__all__ = ["ActionExpert", "ConditionedRollout", "Denoised", "DirectDecoder", "FutureTokens", "InverseDynamics", "JointAutoregression",
           "JointGeneration", "LatentFrames", "OnePass", "PostPredictionHead", "RigidMotion", "StreamedChunks"]
