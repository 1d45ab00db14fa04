"""A policy named by its content, so that what was learnt of one is not used for another."""

from __future__ import annotations

import hashlib
import json

import safetensors.torch

from foreact.contract.config import encode
from foreact.contract.specs import ActionSpec, ObservationSpec
from foreact.model import WorldActionModel

__all__ = ["content_of", "weights_of"]


def content_of(config: WorldActionModel.Config, observation: ObservationSpec, action: ActionSpec, weights: bytes) -> str:
    """SHA-256 of the configs and of the bytes that `weights_of` gives, as 64 hex digits."""
    parts = json.dumps([encode(part) for part in (config, observation, action)], sort_keys=True)
    return hashlib.sha256(parts.encode() + weights).hexdigest()


def weights_of(model: WorldActionModel) -> bytes:
    """Every weight and buffer, as one safetensors file."""
    return safetensors.torch.save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()})
