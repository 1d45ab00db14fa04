"""A run's specs as LeRobot's features: what its policy asks of an environment, and what it gives."""

from __future__ import annotations

from lerobot.configs.types import FeatureType, PolicyFeature

from foreact.contract.specs import ActionSpec, ObservationSpec
from foreact.data.lerobot.batches import ACTION, STATE
from foreact.data.lerobot.layout import CAMERA_PREFIX

__all__ = ["features_of"]


def features_of(observation: ObservationSpec, action: ActionSpec) -> tuple[dict[str, PolicyFeature], dict[str, PolicyFeature]]:
    """Input and output features by LeRobot's keys; pictures are (3, height, width)."""
    cameras = {CAMERA_PREFIX + camera.name: PolicyFeature(type=FeatureType.VISUAL, shape=(3, camera.height, camera.width))
               for camera in observation.cameras}
    return (cameras | {STATE: PolicyFeature(type=FeatureType.STATE, shape=(observation.state.size,))},
            {ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(action.size,))})
