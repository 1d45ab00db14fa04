"""A policy on its way to other processes and machines: configs and safetensors bytes, never a pickled module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import safetensors.torch

from foreact.acting.identity import content_of, weights_of
from foreact.contract.config import config_hash, encode
from foreact.contract.specs import ActionSpec, ObservationSpec
from foreact.evaluation.controller import Policy
from foreact.model import WorldActionModel
from foreact.nets.by_columns import lay_by_columns, lies_by_columns

__all__ = ["ControlSource", "ModelSource", "Source", "source_of"]


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A world action model as its configs and the bytes of its weights. `identity` names all of them by content.

    by_columns: how its weights lie, which is no part of what they are, but of the last bits of a plan.
    """

    config: WorldActionModel.Config
    observation: ObservationSpec
    action: ActionSpec
    weights: bytes
    device: str
    by_columns: bool

    @classmethod
    def of(cls, model: WorldActionModel) -> ModelSource:
        return cls(config=model.config, observation=model.observation, action=model.action, weights=weights_of(model),
                   device=str(model.device), by_columns=lies_by_columns(model))

    @property
    def identity(self) -> dict[str, Any]:
        return {"type": "WorldActionModel", "sha256": content_of(self.config, self.observation, self.action, self.weights)}

    def build(self) -> WorldActionModel:
        model = self.config.build(self.observation, self.action)
        # cloned: tensors inside a byte string need not be aligned, and sums may depend on alignment
        state = {name: tensor.clone() for name, tensor in safetensors.torch.load(self.weights).items()}
        model.load_state_dict(state, assign=True)
        model.text.load()
        model = model.to(self.device).eval().requires_grad_(False)
        if self.by_columns:
            lay_by_columns(model)
        return model


@dataclass(frozen=True)
class ControlSource:
    """An expert or control that acts beside the environment."""

    config: Policy.Config

    @property
    def identity(self) -> dict[str, Any]:
        return {**encode(self.config), "sha256": config_hash(self.config)}


Source = ModelSource | ControlSource


def source_of(policy: WorldActionModel | Policy.Config) -> Source:
    """How this policy travels."""
    return ModelSource.of(policy) if isinstance(policy, WorldActionModel) else ControlSource(policy)
