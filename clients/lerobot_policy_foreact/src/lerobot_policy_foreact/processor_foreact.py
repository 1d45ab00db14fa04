"""LeRobot's own steps before and after the policy: names, batch axis and device. Its normalisation is there and does nothing."""

from __future__ import annotations

from typing import Any

import torch
from lerobot.processor import PolicyProcessorPipeline
from lerobot.processor.factory import make_default_pre_post_processors

from lerobot_policy_foreact.configuration_foreact import ForeactConfig

__all__ = ["make_foreact_pre_post_processors"]


def make_foreact_pre_post_processors(
    config: ForeactConfig, dataset_stats: dict[str, dict[str, torch.Tensor]] | None = None,
) -> tuple[PolicyProcessorPipeline[dict[str, Any], dict[str, Any]], PolicyProcessorPipeline[Any, Any]]:
    """The normalising steps stay in the pipelines, as identities, because `lerobot-train` sets them anew when it goes on with a policy."""
    config.validate_features()
    return make_default_pre_post_processors(config, dataset_stats, normalizer_device=config.device)
