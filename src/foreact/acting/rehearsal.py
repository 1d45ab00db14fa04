"""What a model is tried out on before anything real is there: random data with as much history as it looks at."""

from __future__ import annotations

from foreact.contract.context import Context, fake_context
from foreact.model import WorldActionModel

__all__ = ["rehearsal"]


def rehearsal(model: WorldActionModel, batch: int = 1) -> Context:
    """Observations and past actions as `model.plan` takes them; the same each time."""
    coupling = model.config.coupling
    return fake_context(model.observation, batch=batch, history=coupling.history, past=coupling.past_actions, actions=model.action.size)
