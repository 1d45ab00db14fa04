"""Post-prediction head: first the future, then an action expert that decodes it (survey, equations 12, 20 and 29).

    p_theta(s_{t+1:t+H}, a_{t:t+H-1} | c) = p_theta(s_{t+1:t+H} | c) q_psi(a_{t:t+H-1} | s_{t+1:t+H}, c)

theta, the backbone, predicts the future in one of the ways of `imagination`; psi, the child module `head`, reads what the
substrate exposes of it, or the backbone's hidden states, or both. What it reads is detached: theta answers for the prediction
alone, so that it stays a forecast and never becomes a private channel of the action loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from foreact.contract.axes import Backbone, Coupling, Dimensions, Encoded, Noise, Proposal, Session, Tap
from foreact.contract.errors import ConfigError, MisfitError, nearest
from foreact.contract.layout import Layout
from foreact.contract.stopwatch import ACTION, FUTURE, lap
from foreact.couplings.imagination import Imagination, OnePass
from foreact.nets.action_expert import ActionExpert
from foreact.nets.head import Head, Readable, Reading

__all__ = ["PostPredictionHead"]


class PostPredictionHead(Coupling):
    """The future first, then the chunk from it."""

    family = "Post-prediction head"
    persistent = False

    @dataclass(frozen=True, kw_only=True)
    class Config(Coupling.Config):
        """Offsets are control steps; for an open loop the horizon is about the length of the task.

        learns_on: whether the head is trained on predicted futures, as it will meet them when acting, or on true ones, which
            costs no sampling and lets head and predictor be trained apart.
        shown: the parts of the future that the head reads, by name; empty for all. What is not shown is predicted beside them, and
            reaches the action through them alone.
        reads: the finished future, or hidden states of the predictor tapped after `tapped` shares of its depth.
        """

        horizon: int = 96
        future_offsets: tuple[int, ...] = (24, 48, 72, 96)
        imagination: Imagination.Config = field(default_factory=OnePass.Config)
        head: Head.Config = field(default_factory=ActionExpert.Config)
        learns_on: Literal["predicted", "true"] = "predicted"
        reads: Literal["future", "taps"] = "future"
        tapped: tuple[float, ...] = (0.5, 1.0)
        shown: tuple[str, ...] = ()
        action_weight: float = 1.0

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.horizon < 1 or not self.tapped or not all(0 < share <= 1 for share in self.tapped):
                raise ConfigError("a horizon of at least 1, and taps at shares of the depth above 0", where="model.coupling",
                                  found=f"horizon = {self.horizon}, tapped = {self.tapped}")

        @property
        def inpaints(self) -> bool:
            return type(self.head).owner.inpaints

        def requires(self) -> frozenset[str]:
            return self.imagination.requires() | (frozenset({"taps"}) if self.reads == "taps" else frozenset())

        def layout(self, dimensions: Dimensions) -> Layout:
            return self.imagination.layout(dimensions, self.future_offsets)

        def without_future(self) -> PostPredictionHead.Config:
            """The head alone, on the present: nothing is predicted, so the backbone has nothing to do."""
            return replace(self, future_offsets=(), reads="future", shown=(), head=self.head.without_future())

    def __init__(self, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        self.config, self.dimensions = config, dimensions
        self.imagination = config.imagination.build(dimensions, config.future_offsets)
        self.layout = self.imagination.layout
        unknown = sorted(set(config.shown) - set(dimensions.forms))
        if unknown:
            raise MisfitError("the head is shown a part that no future has", where="model.coupling.shown", found=", ".join(unknown),
                              accepted=", ".join(dimensions.forms), next_step=nearest(unknown[0], list(dimensions.forms)))
        shown = config.shown or tuple(dimensions.forms)
        self._parts = tuple(n for n in dimensions.forms if n in shown) if config.future_offsets else ()
        self._layers = tuple(sorted({max(1, round(share * dimensions.layers)) for share in config.tapped}))
        tokens = len(self._layers) * sum(self.layout[name].length for name in self._parts)
        tapped = config.reads == "taps"
        self.head = config.head.build(Readable(
            dimensions=dimensions, horizon=config.horizon, offsets=config.future_offsets,
            futures={} if tapped else {name: dimensions.forms[name].exposed for name in self._parts},
            taps=(tokens, dimensions.hidden["video"]) if tapped else None, levels=len(self._layers),
            tapped=tuple((name, self.layout[name].length) for name in self._parts) if tapped else ()))

    def begin(self) -> Session | None:
        return None

    def respond(self, backbone: Backbone, encoded: Encoded, actions: Tensor, *, noise: Noise) -> Mapping[str, Tensor]:
        return {}

    def losses(self, backbone: Backbone, encoded: Encoded, *, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        found, future = {}, {}
        if self._parts and "video" in train:
            found, future = self.imagination.losses(backbone, encoded, generator=generator)
        if "action" in train and self.head.learns_from_actions:
            reading = self._reading(backbone, encoded, future, generator)
            loss = self.head.loss(reading, encoded.actions, encoded.known_actions, generator=generator)
            found["action"] = self.config.action_weight * loss
        return found

    def _reading(self, backbone: Backbone, encoded: Encoded, future: dict[str, Tensor], generator: torch.Generator) -> Reading:
        """What the head learns on; `future`: what this step has predicted already."""
        if self.config.reads == "future" and (self.config.learns_on == "true" or future):
            return self._shown(encoded, encoded.future if self.config.learns_on == "true" else future)
        return self._read(backbone, encoded, _Drawn(encoded, generator))[0]

    def propose(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, session: Session | None = None) -> Proposal:
        reading, future = self._read(backbone, encoded, noise)
        with lap(ACTION):
            return Proposal(actions=self.head.act(reading, noise=noise), future=future)

    def _shown(self, encoded: Encoded, future: Mapping[str, Tensor]) -> Reading:
        """A future as the head reads it."""
        return Reading(context=encoded, futures={
            n: encoded.reader.expose(n, encoded.reader.through(n, future[n], None)) for n in self._parts})

    @torch.no_grad()
    def _read(self, backbone: Backbone, encoded: Encoded, noise: Noise) -> tuple[Reading, dict[str, Tensor]]:
        """What the head reads, and the future, where one is finished."""
        if not self._parts:
            return Reading(context=encoded), {}
        tap = Tap(self._parts, self._layers) if self.config.reads == "taps" else None
        with lap(FUTURE):
            future = self.imagination.imagine(backbone, encoded, noise=noise, tap=tap)
        if tap is not None:
            states = torch.cat([tap.states[name, layer] for layer in self._layers for name in self._parts], dim=1)
            return Reading(context=encoded, taps=encoded.reader.through("tap", states, None)), future
        return self._shown(encoded, future), future


class _Drawn:
    """Noise for imagining within a training step, from its generator."""

    def __init__(self, encoded: Encoded, generator: torch.Generator) -> None:
        self._batch, self._device, self._generator = encoded.batch, encoded.frame.device, generator

    def __call__(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.randn((self._batch, *shape), generator=self._generator).to(self._device)
