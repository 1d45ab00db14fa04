"""The WAM gate: is the future on the action path (survey, section 2.3)?

A World Action Model's predicted future helps produce, score or train its action. Where the action side reads a predicted future
when acting, the future is zeroed, shuffled across the batch, and replaced by the true one, and the action must change by more than
resampling its noise changes it. With d_ik the change of the chunk in window i under noise k (the same noise before and after),

    E_i^2 = mean over k != k' of < d_ik, d_ik' > / (horizon * action)

estimates the squared shift of the mean action without the share of the noise: whatever differs only because noise was drawn again has
E^2 = 0 in expectation, be it the model's noise or that at which a future is put in another's place. Its mean over windows is given
with a bootstrap interval, which must lie above zero for at least one of the three; the effect is its root in deviations of the
action, and stands beside the deviation that resampling causes.

Where nothing is read, two things must hold: the action loss has a gradient in weights that the future's loss trains, and training
without the future's loss gives other actions by the same measure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from foreact.contract.axes import SeededNoise
from foreact.contract.context import Window
from foreact.contract.errors import ConfigError
from foreact.contract.stand_ins import at_level, in_form_of, of_parts, reads_changes
from foreact.diagnostics.check import Check, bootstrap_mean
from foreact.diagnostics.trace import Trace
from foreact.model import Through, WorldActionModel

__all__ = ["Ablated", "Interventions", "gate", "shared_gradient"]

_ROUNDING = 1e-9

Ablated = Callable[[], tuple[WorldActionModel, WorldActionModel]]
Changed = Callable[[int], Through]
"""What stands in the place of a future, given a seed for such noise as it takes."""


@dataclass(frozen=True, kw_only=True)
class Interventions:
    """How much evidence: windows come from the caller; `draws` noises for each, at least two. rows: plans that are made at once."""

    draws: int = 8
    rows: int = 96

    def __post_init__(self) -> None:
        if self.draws < 2 or self.rows < 1:
            raise ConfigError("a mean over pairs of draws takes two of them", where="interventions", found=self,
                              accepted="draws >= 2, rows >= 1")


def gate(model: WorldActionModel, window: Window, trace: Trace, *, settings: Interventions, ablated: Ablated | None) -> Check:
    """The check named "gate". `ablated` gives two models of one training, with the future's loss and without, where that is needed."""
    if trace.names("read"):
        return _read(model, window, trace, settings)
    return _trained(model, window, settings, ablated)


# --- a future that is read when acting ----------------------------------------------------------------------------------

def _read(model: WorldActionModel, window: Window, trace: Trace, settings: Interventions) -> Check:
    plain = _plain(model, window, settings)
    figures = {name: _effect(_actions(model, window, settings, range(len(plain)), changed), plain)
               for name, changed in _interventions(model, window, set(trace.names("read"))).items()}
    holds = any(found["low"] > 0 for found in figures.values())
    strongest = max(figures, key=lambda name: figures[name]["low"])
    effect = figures[strongest]
    said = f"{strongest}, it changes the action by {effect['effect']:.3g} of its deviation (resampling noise: {effect['resampling']:.3g})"
    return Check(name="gate", holds=holds, figures=figures, says=f"the future is on the action path: {said}" if holds
                 else f"the future is not on the action path: {said}")


def _effect(changed: Tensor, plain: Tensor) -> dict[str, float]:
    """Both (draw, window, entries). The root of E^2 in deviations of the action over windows, and the interval of E^2."""
    shift = (changed - plain).double()
    draws, _, size = shift.shape
    total = shift.sum(dim=0)
    square = (total.square().sum(dim=1) - shift.square().sum(dim=(0, 2))) / (draws * (draws - 1) * size)
    scale = float(plain.mean(dim=0).std(dim=0).mean().clamp(min=1e-6))
    mean, low, high = bootstrap_mean((square / scale**2).cpu().numpy())
    return {"effect": max(mean, 0.0) ** 0.5, "square": mean, "low": low if low > _ROUNDING else min(low, 0.0), "high": high,
            "resampling": float(plain.std(dim=0).mean()) / scale, "n": float(len(square))}


def _interventions(model: WorldActionModel, window: Window, names: set[str]) -> dict[str, Changed]:
    """Zeroed, shuffled, true: what the action side reads in place of what was imagined; all rows of a window take another one's."""
    found: dict[str, Changed] = {"zeroed": lambda seed: lambda n, x, s: _noised(torch.zeros_like(x), s, seed),
                                 "shuffled": lambda seed: lambda n, x, s: x.roll(x.shape[0] // window.context.batch, dims=0)}
    if names & set(model.parts):
        with torch.no_grad():
            encoded = model.encode_window(window.to(model.device))
        parts = of_parts(encoded.future, encoded.frame, changes=reads_changes(model.config.coupling))

        def true(seed: int, name: str, x: Tensor, sigma: Tensor | None) -> Tensor:
            clean = in_form_of(x, *parts[name]) if name in parts else None
            if clean is None:
                return x
            return clean if x.ndim == encoded.future[name].ndim else _noised(clean, sigma, seed)

        found["replaced by the true one"] = lambda seed: partial(true, seed)
    return found


def _noised(clean: Tensor, sigma: Tensor | None, seed: int) -> Tensor:
    """A clean future at the noise level of what it replaces, with noise that belongs to it alone and is another one in each draw."""
    return at_level(clean, sigma, torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)).to(clean))


def _plain(model: WorldActionModel, window: Window, settings: Interventions) -> Tensor:
    """(draw, window, horizon * action). Where noise changes no bit of the first two draws, they are all that there is."""
    first = _actions(model, window, settings, range(2))
    if settings.draws == 2 or torch.equal(first[0], first[1]):
        return first
    return torch.cat([first, _actions(model, window, settings, range(2, settings.draws))])


@torch.no_grad()
def _actions(model: WorldActionModel, window: Window, settings: Interventions, draws: range, changed: Changed | None = None) -> Tensor:
    """(draw, window, horizon * action) in the model's units. Several draws share a batch; the rows of a window stand side by side."""
    windows, rows = window.context.batch, []
    together = max(1, settings.rows // windows)
    for start in range(draws.start, draws.stop, together):
        part = range(start, min(start + together, draws.stop))
        seeds = [int(np.random.SeedSequence([draw, i]).generate_state(1)[0]) for i in range(windows) for draw in part]
        plan = model.plan(window.context.repeat(len(part)), noise=SeededNoise(seeds, model.device), through=changed and changed(start))
        rows.append(model.action_scaler(plan.actions).flatten(1).unflatten(0, (windows, len(part))).transpose(0, 1))
    return torch.cat(rows)


# --- a future that only trained the representation ------------------------------------------------------------------------

def _trained(model: WorldActionModel, window: Window, settings: Interventions, ablated: Ablated | None) -> Check:
    share = shared_gradient(model, window)
    figures: dict[str, object] = {"shared gradient": share}
    if share["shared"] == 0:
        why = "nothing that the future's loss trains is read by the action" if share["by the future"] else "no future is predicted anywhere"
        return Check(name="gate", holds=False, figures=figures, says=f"the future is not on the action path: {why}")
    if ablated is None:
        return Check(name="gate", holds=None, figures=figures,
                     says=f"the action loss reaches {share['shared']} weight tensors that the future trains; the ablation was not run")
    whole, without = ablated()
    plain = _plain(whole, window, settings)
    figures["trained without the future's loss"] = found = _effect(_actions(without, window, settings, range(len(plain))), plain)
    return Check(name="gate", holds=found["low"] > 0, figures=figures,
                 says=f"the action reads a representation that the future's loss shaped ({share['shared']} shared weight tensors); without "
                      f"that loss it differs by {found['effect']:.3g} of its deviation")


def shared_gradient(model: WorldActionModel, window: Window) -> dict[str, int]:
    """Weight tensors of the backbone and coupling that the future's losses, the action's loss, and both reach."""
    was = model.training
    model.train()
    named = [(n, p) for n, p in model.named_parameters() if n.startswith(("backbone.", "coupling."))]
    asked = {n: p.requires_grad for n, p in named}
    for _, parameter in named:
        parameter.requires_grad_(True)  # a model that was loaded to be used asks for no gradients
    reached: dict[str, set[str]] = {"future": set(), "action": set()}
    losses = model.losses(window.to(model.device), train=frozenset({"video", "action"}), generator=torch.Generator().manual_seed(0))
    for side, terms in (("action", [v for n, v in losses.items() if n == "action"]),
                        ("future", [v for n, v in losses.items() if n not in ("action", "value")])):
        if not terms or not any(t.requires_grad for t in terms):
            continue
        grads = torch.autograd.grad(sum(terms), [p for _, p in named], retain_graph=True, allow_unused=True)
        reached[side] = {n for (n, _), g in zip(named, grads, strict=True) if g is not None and bool(g.abs().max() > 0)}
    model.train(was)
    for n, parameter in named:
        parameter.requires_grad_(asked[n])
    return {"by the future": len(reached["future"]), "by the action": len(reached["action"]),
            "shared": len(reached["future"] & reached["action"])}

