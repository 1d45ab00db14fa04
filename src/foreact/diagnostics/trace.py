"""What really ran while a model planned: which streams at which noise levels, in what order, what the action side read.

Nothing here is declared by the model. The backbone, every child network of the coupling and the substrates are watched while
`plan` runs; labels are then derived from what was seen (`taxonomy`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from foreact.contract.axes import Backbone, Noise, Session, Substrate
from foreact.contract.context import Context, Plan
from foreact.contract.layout import Layout
from foreact.model import Through, WorldActionModel

__all__ = ["BackboneCall", "Trace", "traced_plan", "watched_backbone"]


@dataclass(frozen=True)
class BackboneCall:
    """One evaluation of the backbone: the streams that ran, their highest noise level, the layout, all arguments."""

    streams: tuple[str, ...]
    levels: Mapping[str, float]
    layout: Layout
    tapped: bool
    inputs: Mapping[str, Tensor]
    keywords: Mapping[str, Any]
    outputs: Mapping[str, Tensor]


@dataclass
class Trace:
    """In order of time. events: ("backbone", streams), ("read", name), ("exposed", name), ("decoded", name), ("network", name).

    experts: names of the backbone's experts that ran. evaluations: of each network.
    """

    plan: Plan | None = None
    calls: list[BackboneCall] = field(default_factory=list)
    events: list[tuple[str, Any]] = field(default_factory=list)
    experts: set[str] = field(default_factory=set)

    def names(self, kind: str) -> list[str]:
        """What happened of one kind, each once, in order."""
        return list(dict.fromkeys(name for found, name in self.events if found == kind))

    def first(self, kind: str) -> int | None:
        return next((i for i, (found, _) in enumerate(self.events) if found == kind), None)


@contextmanager
def watched_backbone(backbone: Backbone, trace: Trace) -> Iterator[None]:
    """Record every evaluation of the backbone."""

    def after(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], outputs: dict[str, Tensor]) -> None:
        inputs, layout = arguments
        levels = {name: float(value.max()) for name, value in keywords.get("sigma", {}).items()}
        # streams that nothing is given for run too, and are known by what comes out, or by what is tapped
        tap = keywords.get("tap")
        tapped = set() if tap is None else {name for name, _ in tap.states}
        streams = tuple(name for name in layout.names if name in inputs or name in outputs or name in tapped)
        kept = {name: value for name, value in keywords.items() if name not in ("cache", "tap")}
        trace.calls.append(BackboneCall(streams, levels, layout, tap is not None, dict(inputs), kept, dict(outputs)))
        trace.events.append(("backbone", streams))

    handles = [backbone.register_forward_hook(after, with_kwargs=True)]
    for path, module in backbone.named_modules():
        *_, folder, expert = ("", *path.split("."))
        if folder == "experts":
            handles += [layer.register_forward_pre_hook(lambda m, a, name=expert: trace.experts.add(name))
                        for layer in module.modules() if isinstance(layer, nn.Linear)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _watched_networks(coupling: nn.Module, trace: Trace) -> Iterator[None]:
    handles = [child.register_forward_hook(lambda m, a, o, name=name: trace.events.append(("network", name)))
               for name, child in coupling.named_children()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _watched_substrates(parts: Mapping[str, Substrate], trace: Trace) -> Iterator[None]:
    """Record what is exposed to the action side; "decoded" where the substrate made other numbers of it."""
    kept = {name: part.expose for name, part in parts.items()}

    def watch(name: str) -> Any:
        def expose(values: Tensor) -> Tensor:
            shown = kept[name](values)
            trace.events.append(("exposed", name))
            if shown is not values:
                trace.events.append(("decoded", name))
            return shown
        return expose

    for name, part in parts.items():
        part.expose = watch(name)
    try:
        yield
    finally:
        for part in parts.values():
            del part.expose


def traced_plan(model: WorldActionModel, context: Context, *, noise: Noise | None = None, session: Session | None = None,
                through: Through | None = None) -> Trace:
    """Plan once and return what ran."""
    trace = Trace()

    def reading(name: str, values: Tensor, sigma: Tensor | None) -> Tensor:
        trace.events.append(("read", name))
        return values if through is None else through(name, values, sigma)

    with watched_backbone(model.backbone, trace), _watched_networks(model.coupling, trace), _watched_substrates(model.parts, trace):
        trace.plan = model.plan(context, noise=noise, session=session, through=reading)
    return trace
