"""Causality: nothing that is known only later may reach the action (survey, section 5.2). To the last bit, not on average.

    acting      a plan follows from its context alone: with another future in the same window it is the same plan
    masks       in every evaluation of the backbone that training and acting make, a token is moved by those that the layout lets it
                see, through any number of layers, and by no other: single tokens are perturbed and all outputs compared
    order       no token that is predicted sees, through any number of layers, a clean token that is given and later than itself
    own copy    at full noise, what a stream predicts does not depend on its own clean values: it never sees the answer

The first and last catch a leak in the coupling, the second one in the network, the third one in the layout itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from foreact.contract.axes import Encoded, SeededNoise
from foreact.contract.config import Buildable
from foreact.contract.context import Window
from foreact.contract.layout import Layout
from foreact.diagnostics.check import Check
from foreact.diagnostics.trace import BackboneCall, Trace, watched_backbone
from foreact.model import WorldActionModel

__all__ = ["causality"]

_FULL_NOISE = 1e12  # as a shift it brings every drawn level to exactly 1 in float32
_TOKENS = 6


def causality(model: WorldActionModel, window: Window, trace: Trace) -> list[Check]:
    """The checks named "causality: acting", "masks", "order" and "own copy"."""
    window = window.to(model.device)
    with torch.no_grad():
        encoded = model.encode_window(window)
    trained = _trained_calls(model, encoded)
    calls = _distinct([*trace.calls, *trained])
    return [_acting(model, encoded), _masks(model, calls), _order(calls), _own_copy(model, encoded)]


def _trained_calls(model: WorldActionModel, encoded: Encoded) -> list[BackboneCall]:
    """The evaluations that one training step makes."""
    trace = Trace()
    with torch.no_grad(), watched_backbone(model.backbone, trace):
        model.coupling.losses(model.backbone, encoded, train=frozenset({"video", "action"}), generator=torch.Generator().manual_seed(0))
    return trace.calls


def _distinct(calls: list[BackboneCall]) -> list[BackboneCall]:
    """One evaluation for each set of streams under each layout; those that lean on a cache cannot be repeated alone."""
    found: dict[Any, BackboneCall] = {}
    for call in calls:
        seen = {s.stream for name in call.streams for s in call.layout.sees[name]}
        if seen <= set(call.streams):
            found.setdefault((call.streams, str(call.layout.sees), call.layout.tokens), call)
    return list(found.values())


# --- acting -------------------------------------------------------------------------------------------------------------

def _acting(model: WorldActionModel, encoded: Encoded) -> Check:
    noise = SeededNoise(range(encoded.batch), model.device)
    later = _perturbed(encoded)
    with torch.no_grad():
        one, other = (model.coupling.propose(model.backbone, e, noise=noise) for e in (encoded, later))
    same = torch.equal(one.actions, other.actions)
    return Check(name="causality: acting", holds=same,
                 says="another future in the window leaves the plan as it was, to the last bit" if same
                 else f"the plan read the true future: actions moved by up to {float((one.actions - other.actions).abs().max()):.3g}")


def _perturbed(encoded: Encoded) -> Encoded:
    """The same context with everything after it changed."""
    def moved(x: Tensor | None) -> Tensor | None:
        return None if x is None else x + 1.0

    return replace(encoded, future={name: x + 1.0 for name, x in encoded.future.items()}, future_state=moved(encoded.future_state),
                   actions=moved(encoded.actions), executed=moved(encoded.executed), value=moved(encoded.value))


# --- masks --------------------------------------------------------------------------------------------------------------

def _closure(layout: Layout, streams: tuple[str, ...]) -> tuple[Bool[Tensor, "query key"], list[tuple[str, int]]]:
    """Who can reach whom through any number of layers, over these streams; and which (stream, place) each row is."""
    part = layout.only(streams)
    reach = part.mask() | torch.eye(part.tokens, dtype=torch.bool)
    for _ in range(max(1, part.tokens.bit_length())):
        reach = (reach.float() @ reach.float()) > 0
    return reach, [(s.name, i) for s in part.streams for i in range(s.length)]


def _masks(model: WorldActionModel, calls: list[BackboneCall]) -> Check:
    tried, leaks, dead = 0, [], 0
    generator = torch.Generator().manual_seed(0)
    for call in calls:
        reach, tokens = _closure(call.layout, call.streams)
        place = {token: row for row, token in enumerate(tokens)}
        before = _run(model, call, {})
        for name in call.streams:
            if name not in call.inputs or call.layout[name].query:
                continue
            for index in torch.randperm(call.layout[name].length, generator=generator)[:_TOKENS].tolist():
                after = _run(model, call, {name: index})
                column = reach[:, place[name, index]]
                for query, value in after.items():
                    rows = column[[place[query, i] for i in range(value.shape[1])]]
                    moved = (value != before[query]).flatten(2).any(dim=2).any(dim=0).cpu()
                    tried += int((~rows).sum())
                    leaks += [f"{query}[{i}] is moved by {name}[{index}]" for i in torch.nonzero(moved & ~rows).flatten().tolist()]
                    dead += int(bool(rows.any()) and not bool(moved.any()))
    figures = {"cells": tried, "leaks": len(leaks), "sights without effect": dead}
    if not tried:
        return Check(name="causality: masks", holds=None, figures=figures, says="what is predicted here may see all that is given")
    return Check(name="causality: masks", holds=not leaks, figures=figures,
                 says=f"{len(leaks)} leaks: {leaks[0]}" if leaks else f"{tried} cells that must not be seen were perturbed, and none was")


@torch.no_grad()
def _run(model: WorldActionModel, call: BackboneCall, moved: dict[str, int]) -> dict[str, Tensor]:
    """The evaluation again on two rows, perhaps with one token moved."""
    inputs = {name: value[:2].clone() for name, value in call.inputs.items()}
    for name, index in moved.items():
        inputs[name][:, index] += 1.0
    keywords = {name: _rows(value) for name, value in call.keywords.items()}
    return model.backbone(inputs, call.layout, **keywords)


def _rows(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: item[:2] for name, item in value.items()}
    return value[:2] if isinstance(value, Tensor) else value


# --- order --------------------------------------------------------------------------------------------------------------

def _order(calls: list[BackboneCall]) -> Check:
    leaks, pairs = [], 0
    for call in calls:
        reach, tokens = _closure(call.layout, call.streams)
        times = torch.tensor([call.layout[name].positions[i][0] for name, i in tokens])
        clean = {s.name for s in call.layout.streams if s.target is None and s.noise is None and not s.query and s.name != "state"}
        given = torch.tensor([n in clean for n, _ in tokens])
        asked = torch.tensor([call.layout[n].target is not None for n, _ in tokens])
        conditioned = {n for n in call.streams if n == "action" and call.layout[n].target is None}
        allowed = torch.tensor([n in conditioned for n, _ in tokens])  # a rollout is asked what follows from a given action
        bad = reach & asked[:, None] & (given & ~allowed)[None, :] & (times[None, :] > times[:, None] + 1e-6)
        pairs += int((asked[:, None] & given[None, :]).sum())
        leaks += [f"{tokens[q][0]}[{tokens[q][1]}] sees {tokens[k][0]}[{tokens[k][1]}], which is later and given clean"
                  for q, k in torch.nonzero(bad).tolist()]
    return Check(name="causality: order", holds=not leaks, figures={"pairs": pairs, "leaks": len(leaks)},
                 says=f"{len(leaks)} leaks: {leaks[0]}" if leaks else "no predicted token sees a given one that is later than itself")


# --- own copy -----------------------------------------------------------------------------------------------------------

def _own_copy(model: WorldActionModel, encoded: Encoded) -> Check:
    """What is predicted at full noise, before and after the last step of the truth is changed."""
    leaks = []
    with _full_noise(model):
        before = _predictions(model, encoded)
        for side, changed in (("action", replace(encoded, actions=_last_moved(encoded.actions), executed=encoded.executed)),
                              ("future", replace(encoded, future={n: _last_moved(x) for n, x in encoded.future.items()}))):
            after = _predictions(model, changed)
            for name, value in before.items():
                about = "action" if name == "action" else "future" if name in model.parts else None
                if about == side and not torch.equal(value, after[name]):
                    leaks.append(f"{name} is predicted from its own clean values")
    return Check(name="causality: own copy", holds=not leaks, figures={"streams": list(before)},
                 says="; ".join(leaks) or "at full noise no stream's prediction depends on its own clean values")


def _last_moved(x: Tensor) -> Tensor:
    return torch.cat([x[:, :-1], x[:, -1:] + 1.0], dim=1)


@torch.no_grad()
def _predictions(model: WorldActionModel, encoded: Encoded) -> dict[str, Tensor]:
    """By stream, over all evaluations of a training step, and the head's where there is one."""
    trace, heads = Trace(), []
    handles = [child.register_forward_hook(lambda m, a, o: heads.append(o)) for n, child in model.coupling.named_children() if n == "head"]
    try:
        with watched_backbone(model.backbone, trace):
            model.coupling.losses(model.backbone, encoded, train=frozenset({"video", "action"}), generator=torch.Generator().manual_seed(0))
    finally:
        for handle in handles:
            handle.remove()
    found: dict[str, Tensor] = {}
    for call in trace.calls:
        for name, value in call.outputs.items():
            found[name] = torch.cat([found[name], value], dim=1) if name in found else value
    if heads and all(isinstance(h, Tensor) for h in heads):
        found["action"] = torch.cat([h.flatten(1) for h in heads], dim=1)
    return found


@contextmanager
def _full_noise(model: WorldActionModel) -> Iterator[None]:
    """Every noise level that training draws is 1: the schedule's shift is made boundless while the block runs."""
    parts = [model.coupling, *(v for v in vars(model.coupling).values() if isinstance(v, Buildable)),
             *model.coupling.children()]
    kept = []
    for part in parts:
        config = vars(part).get("config")
        if is_dataclass(config) and any(f.name == "shift" for f in fields(config)):
            kept.append((part, config))
            part.config = replace(config, shift=_FULL_NOISE)
    try:
        yield
    finally:
        for part, config in kept:
            part.config = config
