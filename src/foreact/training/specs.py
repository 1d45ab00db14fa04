"""The specs that a checkpoint carries: what its model may be shown and what its actions mean."""

from __future__ import annotations

import json
from typing import Any

from foreact.contract.config import decode, encode
from foreact.contract.specs import ActionSpec, ObservationSpec

__all__ = ["specs_of", "specs_text"]


def specs_text(observation: ObservationSpec, action: ActionSpec) -> str:
    """specs.json."""
    return json.dumps({"observation": encode(observation), "action": encode(action)}, indent=2) + "\n"


def specs_of(data: Any) -> tuple[ObservationSpec, ActionSpec]:
    """The inverse of `specs_text`, from its JSON data."""
    return (decode(ObservationSpec, data["observation"], where="specs.observation"),
            decode(ActionSpec, data["action"], where="specs.action"))
