"""The one place where substrate, backbone, coupling and regime meet.

`WorldActionModel.Config.check(...)` refuses a misfit, naming both sides and what would fit, before a weight is allocated.
Training walk: `losses(window)`. Control walk: `plan(context)`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from foreact import backbones, couplings, regimes, substrates  # noqa: F401  every member is known by name wherever a model is
from foreact.contract.axes import Backbone, Coupling, Dimensions, Encoded, Noise, Regime, SeededNoise, Substrate
from foreact.contract.config import Buildable, Config, registered
from foreact.contract.context import Context, Cost, Future, Plan, Window
from foreact.contract.errors import MisfitError
from foreact.contract.normalisation import FeatureStatistics, Scaler, ScalingMethod
from foreact.contract.specs import ActionSpec, ObservationSpec
from foreact.nets.text import TextEncoder

__all__ = ["WorldActionModel"]


class WorldActionModel(nn.Module, Buildable):
    """A policy whose predicted future helps produce its action: p(s_{t+1:t+H}, a_{t:t+H-1} | o, a, l), equation 8."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Config):
        """`build(observation, action)` checks that the four parts fit, then allocates."""

        substrate: Substrate.Config
        backbone: Backbone.Config
        coupling: Coupling.Config
        regime: Regime.Config
        text: TextEncoder.Config
        state_scaling: ScalingMethod = "mean-std"
        action_scaling: ScalingMethod = "mean-std"

        def dimensions(self, observation: ObservationSpec, action: ActionSpec) -> Dimensions:
            return Dimensions(form=self.substrate.form(observation), state=observation.state.size, action=action.size,
                              text=self.text.channels)

        def check(self, observation: ObservationSpec, action: ActionSpec) -> None:
            """Raise `MisfitError` where two parts do not fit."""
            backbone, coupling = type(self.backbone).owner, type(self.coupling).owner
            lacking = coupling.requires - backbone.provides
            if lacking:
                fitting = [n for n, c in registered(Backbone.Config).items() if coupling.requires <= c.owner.provides]
                raise MisfitError(f"coupling {coupling.__name__} and backbone {backbone.__name__} do not fit", where="model.backbone",
                                  found=f"{coupling.__name__} requires {', '.join(sorted(coupling.requires))}; {backbone.__name__} "
                                        f"provides {', '.join(sorted(backbone.provides))}",
                                  accepted=", ".join(fitting), next_step=f"model.backbone={fitting[0]}" if fitting else "")
            self.regime.check(self.coupling.horizon)
            self.coupling.layout(self.dimensions(observation, action))

        def without_future(self) -> WorldActionModel.Config:
            """The no-future baseline of this model: everything equal, nothing predicted but the action."""
            return replace(self, coupling=self.coupling.without_future())

    def __init__(self, config: Config, observation: ObservationSpec, action: ActionSpec) -> None:
        config.check(observation, action)
        super().__init__()
        self.config, self.observation, self.action = config, observation, action
        dimensions = config.dimensions(observation, action)
        self.substrate = config.substrate.build(observation)
        self.text = config.text.build()
        self.backbone = config.backbone.build(config.coupling.layout(dimensions), self.text.channels)
        self.coupling = config.coupling.build(dimensions)
        self.regime = config.regime.build(config.coupling.horizon)
        self.state_scaler, self.action_scaler = Scaler(observation.state.size), Scaler(action.size)

    @property
    def device(self) -> torch.device:
        return self.action_scaler.scale.device

    def fit_normalisation(self, state: FeatureStatistics, action: FeatureStatistics) -> None:
        self.state_scaler.fit(state, self.config.state_scaling)
        self.action_scaler.fit(action, self.config.action_scaling)

    def parameters_to_train(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Named parameters outside the substrate, which is learnt before and then frozen."""
        return ((n, p) for n, p in self.named_parameters() if p.requires_grad and not n.startswith("substrate."))

    # --- training -----------------------------------------------------------------------------------------------------

    def losses(self, window: Window, *, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        """One scalar loss per stream that this stage trains; their weighted sum is what is minimised."""
        return self.coupling.losses(self.backbone, self.encode_window(window), train=train, generator=generator)

    def encode_window(self, window: Window) -> Encoded:
        future_count = len(window.future_offsets)
        if window.encoded is not None:
            values = window.encoded.float()
        else:
            frames = {name: torch.cat([images, window.future_images[name]], dim=1) if future_count else images
                      for name, images in window.context.images.items()}
            with torch.no_grad():
                values = self.substrate.encode(frames)
        split = values.shape[1] - future_count
        return replace(
            self._encode_context(window.context, values[:, split - 1]),
            future=values[:, split:] if future_count else None, future_is_pad=window.future_is_pad,
            actions=self.action_scaler(window.actions), action_is_pad=window.action_is_pad, extras=window.extras)

    def _encode_context(self, context: Context, frame: Tensor) -> Encoded:
        text, text_mask = self.text(context.instruction, device=self.device)
        return Encoded(frame=frame, state=self.state_scaler(context.state[:, -1]), text=text, text_mask=text_mask)

    # --- control ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def plan(self, context: Context, *, noise: Noise | None = None) -> Plan:
        """Propose a plan for each batch element; raises `SpecError` where the context is not what was trained on.

        noise: by default seeded with 0 for every element; pass `SeededNoise(seeds)` for independent draws.
        """
        context.check(self.observation)
        start = time.perf_counter()
        with self._counting() as evaluations:
            context = context.to(self.device)
            frame = self.substrate.encode({name: images[:, -1:] for name, images in context.images.items()})[:, 0]
            proposal = self.coupling.propose(self.backbone, self._encode_context(context, frame),
                                             noise=noise or SeededNoise([0] * context.batch, self.device))
        future = None
        if proposal.future is not None:
            future = Future(values=proposal.future, offsets=self.config.coupling.future_offsets,
                            substrate=type(self.substrate).__name__)
        return Plan(actions=self.action_scaler.inverse(proposal.actions.float()), future=future, value=proposal.value,
                    cost=Cost(evaluations=dict(evaluations), seconds=time.perf_counter() - start))

    @contextmanager
    def _counting(self) -> Iterator[Mapping[str, int]]:
        """Count the evaluations of each network while the block runs: measured, not declared."""
        counts: Counter[str] = Counter()

        def watch(name: str) -> object:
            return lambda module, arguments: counts.update([name])

        parts = {"backbone": self.backbone, **{f"coupling.{n}": m for n, m in self.coupling.named_children()}}
        handles = [part.register_forward_pre_hook(watch(name)) for name, part in parts.items()]
        try:
            yield counts
        finally:
            for handle in handles:
                handle.remove()
