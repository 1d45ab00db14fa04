"""Interactability: does the predicted future answer to the action (survey, section 5.1)?

For couplings that predict what follows from given actions. On real windows: the same actions give the same future, to the last
bit; other actions, taken from other windows, give another one; the response grows with the size of the change; and standing still
moves the future less than what was really done does.

    response(lambda) = rms( s_hat(a + lambda (a' - a)) - s_hat(a) ),     lambda in 0, 1/4, 1/2, 1
"""

from __future__ import annotations

import torch
from torch import Tensor

from foreact.contract.axes import Encoded, SeededNoise
from foreact.contract.context import Window
from foreact.diagnostics.check import Check, bootstrap_mean
from foreact.model import WorldActionModel

__all__ = ["interaction"]

_SHARES = (0.0, 0.25, 0.5, 1.0)


def interaction(model: WorldActionModel, window: Window) -> Check:
    """The check named "interactability"."""
    window = window.to(model.device)
    with torch.no_grad():
        encoded = model.encode_window(window)
        actions = encoded.executed if encoded.executed is not None else encoded.actions
        plain = _respond(model, encoded, actions)
        if plain is None:
            return Check(name="interactability", holds=None, says="the future is not predicted from given actions")
        other = actions.roll(1, dims=0)
        curve = {share: _rms(_respond(model, encoded, actions + share * (other - actions)), plain) for share in _SHARES}
        still = model.action_scaler(torch.zeros_like(window.actions))
        quiet = _rms(_respond(model, encoded, still), _origin(model, encoded, plain))
        busy = _rms(plain, _origin(model, encoded, plain))
    means = {share: float(value.mean()) for share, value in curve.items()}
    grows = all(a < b for a, b in zip(list(means.values())[:-1], list(means.values())[1:], strict=True))
    _, low, _ = bootstrap_mean((curve[1.0] - curve[0.0]).tolist())
    gap, gap_low, gap_high = bootstrap_mean((busy - quiet).tolist())
    holds = means[0.0] == 0.0 and low > 0 and grows
    figures = {"response by share of the change": {str(k): v for k, v in means.items()},
               "change under the real actions": float(busy.mean()), "change when standing still": float(quiet.mean()),
               "difference of the two": [gap, gap_low, gap_high]}
    says = f"another action moves the future by {means[1.0]:.3g}, a quarter of the change by {means[0.25]:.3g}, none by " \
           f"{means[0.0]:.3g}; it moves by {float(busy.mean()):.3g} when acting and {float(quiet.mean()):.3g} when standing still"
    return Check(name="interactability", holds=holds, figures=figures, says=says)


def _respond(model: WorldActionModel, encoded: Encoded, actions: Tensor) -> Tensor | None:
    """The main part of the future that follows from these actions, noise held fixed."""
    found = model.coupling.respond(model.backbone, encoded, actions, noise=SeededNoise(range(encoded.batch), model.device))
    return next(iter(found.values())).flatten(1) if found else None


def _origin(model: WorldActionModel, encoded: Encoded, like: Tensor) -> Tensor:
    """What the future would be if nothing changed: the present where it lives in the view's space, else no displacement."""
    if model.view is not None:
        return torch.zeros_like(like)
    return encoded.frame.flatten(1).repeat(1, like.shape[1] // encoded.frame.flatten(1).shape[1])


def _rms(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean(dim=1).sqrt()
