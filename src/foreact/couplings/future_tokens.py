"""Post-prediction head inside one network: learnt future tokens are aligned with the future's embedding, and the action reads them.

    frame | state | future tokens (learnt)  ->  g(h_l) ~ E(o_{t+H})        action (noised) sees all of them in every layer

Following FLARE (arXiv 2505.15659): L = L_action + lambda (1 - cos). The future tokens see the present and no action, so
they are computed once per plan and their keys and values kept while the action is denoised; FLARE's see the noised action.
The prediction is a direction; it is given out at the length sqrt(channels) of whitened features. The action reads the
hidden states, not the prediction, so the reader stands on the states that are projected ("tap").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from foreact.contract.axes import Backbone, Coupling, Dimensions, Encoded, Noise, Proposal, Session, Tap
from foreact.contract.errors import ConfigError
from foreact.contract.layout import Layout, Sight, Stream, Target
from foreact.contract.stopwatch import ACTION, FUTURE, lap
from foreact.flow.inpainting import towards
from foreact.flow.masking import entry_mean, masked_mean
from foreact.flow.samplers import Levels, Solver, State, integrate
from foreact.flow.schedules import SigmaDensity, draw_sigma, sigmas
from foreact.flow.targets import interpolate, target, to_velocity
from foreact.objectives.alignment import cosine_alignment

__all__ = ["FutureTokens"]


class FutureTokens(Coupling):
    """The future as tokens of the action's own denoiser."""

    family = "Post-prediction head"
    persistent = False

    @dataclass(frozen=True, kw_only=True)
    class Config(Coupling.Config):
        """alignment_weight: lambda. Offsets are control steps."""

        inpaints = True
        horizon: int = 16
        future_offsets: tuple[int, ...] = (16,)
        alignment_weight: float = 0.2
        action_target: Target = "sample"
        density: SigmaDensity = "uniform"
        shift: float = 1.0
        steps: int = 4
        solver: Solver = "euler"

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.steps < 1 or self.horizon < 1:
                raise ConfigError("horizon and steps must be at least 1", where="model.coupling",
                                  found=f"horizon = {self.horizon}, steps = {self.steps}")

        def requires(self) -> frozenset[str]:
            return frozenset({"denoise", "embed", "taps"})

        def layout(self, dimensions: Dimensions) -> Layout:
            unit = self.future_offsets[0] if self.future_offsets else self.horizon
            streams = [Stream(name="frame", channels=dimensions.view.channels, expert="video", positions=dimensions.view.positions(0.0)),
                       Stream(name="state", channels=dimensions.state, expert="action", positions=((0.0, 0.0, 0.0),))]
            for name, form in dimensions.forms.items() if self.future_offsets else ():
                places = sum((form.positions(offset / unit) for offset in self.future_offsets), ())
                streams.append(Stream(name=name, channels=form.channels, expert="action", target="sample", query=True,
                                      weight=self.alignment_weight, positions=places))
            streams.append(Stream(name="action", channels=dimensions.action, expert="action", target=self.action_target, noise="action",
                                  positions=tuple(((i + 1) / unit, 0.0, 0.0) for i in range(self.horizon))))
            names = [s.name for s in streams]
            before = tuple(Sight(n) for n in names[:-1])
            return Layout(streams=tuple(streams), sees={"frame": (Sight("frame"),), "state": (Sight("frame"), Sight("state"))}
                          | dict.fromkeys(names[2:-1], before) | {"action": (*before, Sight("action"))})

        def without_future(self) -> FutureTokens.Config:
            return replace(self, future_offsets=())

    def __init__(self, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        self.config, self.dimensions, self.layout = config, dimensions, config.layout(dimensions)
        self.futures = tuple(n for n in self.layout.names if n in dimensions.forms)
        self.before = self.layout.only(self.layout.names[:-1])
        self._layers = tuple(range(1, dimensions.layers + 1))

    def begin(self) -> Session | None:
        return None

    def respond(self, backbone: Backbone, encoded: Encoded, actions: Tensor, *, noise: Noise) -> Mapping[str, Tensor]:
        return {}

    def losses(self, backbone: Backbone, encoded: Encoded, *, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        config, inputs, layout, level, noise = self.config, self._given(encoded), self.before, {}, None
        if "action" in train:
            sigma = draw_sigma(encoded.batch, generator, density=config.density, shift=config.shift).to(encoded.frame.device)
            sigma = sigma if encoded.has_action is None else torch.where(encoded.has_action, sigma, 1.0)
            noise = torch.randn(encoded.actions.shape, generator=generator).to(encoded.actions)
            noised = encoded.held(interpolate(encoded.actions, noise, sigma))
            inputs, layout, level = inputs | {"action": noised}, self.layout, {"action": sigma}
        predicted = backbone(inputs, layout, sigma=level, **encoded.words)
        keep = None if encoded.future_is_pad is None else ~encoded.future_is_pad
        found = {name: self.layout[name].weight * cosine_alignment(
                    predicted[name], encoded.future[name].flatten(1, 2),
                    keep.repeat_interleave(self.dimensions.forms[name].tokens, dim=1)) for name in self.futures}
        if noise is not None:
            square = (predicted["action"] - target(config.action_target, encoded.actions, noise)).square()
            found["action"] = masked_mean(entry_mean(square, encoded.action_mask), encoded.known_actions)
        return found

    def propose(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, session: Session | None = None) -> Proposal:
        cache, single = backbone.new_cache(), encoded.one_of_each()  # all but the action is the same for every candidate
        tap = Tap(self.futures, self._layers, through=lambda x: single.reader.through("tap", x, None))
        with lap(FUTURE if self.futures else ACTION):
            predicted = backbone(self._given(single), self.before, sigma={}, cache=cache, tap=tap if self.futures else None, **single.words)
        predicted = encoded.spread(predicted)
        cache = cache.repeated(encoded.copies)

        def velocity(x: State, sigma: Levels) -> dict[str, Tensor]:
            level = {"action": sigma["action"].expand(encoded.batch).to(encoded.frame)}
            cache.forget(("action",))
            clean = backbone({"action": encoded.held(x["action"])}, self.layout, sigma=level, cache=cache, **encoded.words)
            return {"action": to_velocity(self.config.action_target, clean["action"], x["action"], level["action"])}

        start = {"action": noise("action", (self.config.horizon, self.dimensions.action))}
        velocity = towards(velocity, "action", encoded.committed, encoded.commitment)
        with lap(ACTION):
            end = integrate(velocity, start, sigmas(self.config.steps, shift=self.config.shift), solver=self.config.solver)
        future = {n: torch.nn.functional.normalize(predicted[n], dim=-1) * self.layout[n].channels ** 0.5 for n in self.futures}
        return Proposal(actions=end["action"], future={n: x.unflatten(1, (len(self.config.future_offsets), -1)) for n, x in future.items()})

    def _given(self, encoded: Encoded) -> dict[str, Tensor]:
        """The present, and a place for each learnt token; what stands in it is not read."""
        places = {n: encoded.frame.new_zeros(encoded.batch, self.layout[n].length, self.layout[n].channels) for n in self.futures}
        return {"frame": encoded.frame, "state": encoded.state[:, None], **places}
