"""How a post-prediction coupling comes by its future: in one deterministic pass, or by denoising it, to the end or not.

An imagination lays out the streams, trains them, and makes futures when acting; hidden states are tapped on the way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from foreact.contract.axes import Backbone, Cache, Dimensions, Encoded, Noise, Tap
from foreact.contract.config import Buildable, Config
from foreact.contract.errors import ConfigError
from foreact.contract.layout import Layout, Sight, Stream, Target
from foreact.flow.masking import masked_mean
from foreact.flow.samplers import Levels, Solver, State, integrate
from foreact.flow.schedules import SigmaDensity, draw_sigma, sigmas
from foreact.flow.targets import interpolate, target, to_velocity

__all__ = ["Denoised", "Imagination", "OnePass"]


class Imagination(Buildable, ABC):
    """Predicts s_{t+1:t+H} given c; the action is no stream of its, for it has its own expert."""

    class Config(Config):
        """`build(dimensions, offsets)`."""

        def requires(self) -> frozenset[str]:
            """What the backbone must provide."""
            raise NotImplementedError

        def layout(self, dimensions: Dimensions, offsets: tuple[int, ...]) -> Layout:
            """Frame (the present, given) and one stream for each part of the future."""
            raise NotImplementedError

    @abstractmethod
    def losses(self, backbone: Backbone, encoded: Encoded, *, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One scalar per part of the future; and the futures themselves where training finishes them on the way."""

    @abstractmethod
    def imagine(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, tap: Tap | None = None) -> dict[str, Tensor]:
        """(batch, time, tokens, channels) per part; empty where it stops before there is a future."""


def _layout(dimensions: Dimensions, offsets: tuple[int, ...], *, kind: Target, noise: str | None, weight: float, beside: bool) -> Layout:
    view = dimensions.view
    present = Stream(name="frame", channels=view.channels, expert="video", positions=view.positions(0.0))
    if not offsets:
        return Layout(streams=(present,), sees={"frame": (Sight("frame"),)})
    parts = tuple(
        Stream(name=name, channels=form.channels, expert="video", target=kind, noise=noise, weight=weight,
               condition=form.channels if beside and name in dimensions.in_view else 0,
               positions=sum((form.positions(o / offsets[0]) for o in offsets), ()))
        for name, form in dimensions.forms.items())
    everything = tuple(Sight(s.name) for s in (present, *parts))
    return Layout(streams=(present, *parts), sees={"frame": (Sight("frame"),)} | {p.name: everything for p in parts})


class OnePass(Imagination):
    """One deterministic pass: the change from the present where the future lives in the view's space, else the future itself.

    L = || s_hat - sg[s] ||^2 in the substrate's units (survey, equation 28).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Imagination.Config):
        weight: float = 1.0

        def requires(self) -> frozenset[str]:
            return frozenset({"deterministic"})

        def layout(self, dimensions: Dimensions, offsets: tuple[int, ...]) -> Layout:
            return _layout(dimensions, offsets, kind="sample", noise=None, weight=self.weight, beside=False)

    def __init__(self, config: Config, dimensions: Dimensions, offsets: tuple[int, ...]) -> None:
        self.config, self.offsets, self.dimensions, self.layout = config, offsets, dimensions, config.layout(dimensions, offsets)

    def losses(self, backbone: Backbone, encoded: Encoded, *, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        future = self._predict(backbone, encoded, None)
        found = {name: self.config.weight * masked_mean((value - encoded.future[name]).square().mean(dim=(-2, -1)), ~encoded.future_is_pad)
                 for name, value in future.items()}
        return found, {name: value.detach() for name, value in future.items()}

    def imagine(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, tap: Tap | None = None) -> dict[str, Tensor]:
        return self._predict(backbone, encoded, tap)

    def _predict(self, backbone: Backbone, encoded: Encoded, tap: Tap | None) -> dict[str, Tensor]:
        single = encoded.one_of_each()  # nothing is drawn: all candidates imagine the same
        found = encoded.spread(backbone({"frame": single.frame}, self.layout, sigma={}, tap=tap, **single.words))
        if tap is not None:
            tap.states = encoded.spread(tap.states)
        origin = {name: encoded.frame[:, None] if name in self.dimensions.in_view else 0.0 for name in found}
        return {name: origin[name] + value.unflatten(1, (len(self.offsets), -1)) for name, value in found.items()}


class Denoised(Imagination):
    """The future by flow matching, from noise (survey, equations 21 and 22).

    stop_after: evaluations after which it stops, so that only hidden states are read: no future is finished. None: to the end.
    space: the frames of a future in the view's space, or their changes from the present.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Imagination.Config):
        target: Target = "velocity"
        space: Literal["frames", "changes"] = "frames"
        weight: float = 1.0
        density: SigmaDensity = "uniform"
        shift: float = 1.0
        steps: int = 8
        stop_after: int | None = None
        solver: Solver = "euler"

        def __post_init__(self) -> None:
            if self.steps < 1 or (self.stop_after is not None and not 1 <= self.stop_after <= self.steps):
                raise ConfigError("it takes at least one step and stops no later than the last", where="model.coupling.imagination",
                                  found=f"steps = {self.steps}, stop_after = {self.stop_after}")

        def requires(self) -> frozenset[str]:
            return frozenset({"denoise"})

        def layout(self, dimensions: Dimensions, offsets: tuple[int, ...]) -> Layout:
            return _layout(dimensions, offsets, kind=self.target, noise="future", weight=self.weight, beside=True)

    def __init__(self, config: Config, dimensions: Dimensions, offsets: tuple[int, ...]) -> None:
        self.config, self.offsets, self.dimensions, self.layout = config, offsets, dimensions, config.layout(dimensions, offsets)
        self.parts = tuple(dimensions.forms) if offsets else ()

    def losses(self, backbone: Backbone, encoded: Encoded, *, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        config = self.config
        sigma = draw_sigma(encoded.batch, generator, density=config.density, shift=config.shift).to(encoded.frame.device)
        clean = {name: (encoded.future[name] - self._origin(name, encoded)).flatten(1, 2) for name in self.parts}
        noise = {name: torch.randn(x.shape, generator=generator).to(x.device) for name, x in clean.items()}
        predicted = self._run(backbone, {n: interpolate(x, noise[n], sigma) for n, x in clean.items()}, sigma, encoded, None)
        found = {}
        for name, x in clean.items():
            square = (predicted[name] - target(config.target, x, noise[name])).square().mean(dim=-1)
            found[name] = config.weight * masked_mean(square.unflatten(1, (len(self.offsets), -1)).mean(dim=-1), ~encoded.future_is_pad)
        return found, {}

    def imagine(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, tap: Tap | None = None) -> dict[str, Tensor]:
        config = self.config
        levels = sigmas(config.steps, shift=config.shift)
        levels = levels if config.stop_after is None else levels[: config.stop_after + 1]
        start = {n: noise(n, (self.layout[n].length, self.layout[n].channels)) for n in self.parts}
        cache = self._present(backbone, encoded) if self.parts and (encoded.copies > 1 or len(levels) > 2) else None

        def velocity(x: State, sigma: Levels) -> dict[str, Tensor]:
            level = next(iter(sigma.values())).expand(encoded.batch).to(encoded.frame)
            predicted = self._run(backbone, x, level, encoded, tap, cache)
            return {name: to_velocity(config.target, predicted[name], value, level) for name, value in x.items()}

        if not self.parts:
            return {}
        end = integrate(velocity, start, levels, solver=config.solver)
        if config.stop_after is not None and config.stop_after < config.steps:
            return {}
        return {n: x.unflatten(1, (len(self.offsets), -1)) + self._origin(n, encoded) for n, x in end.items()}

    def _present(self, backbone: Backbone, encoded: Encoded) -> Cache:
        """Keys and values of the present, which sees only itself: once for all candidates and all steps."""
        cache, single = backbone.new_cache(), encoded.one_of_each()
        backbone({"frame": single.frame}, self.layout, sigma={}, cache=cache, **single.words)
        return cache.repeated(encoded.copies)

    def _run(self, backbone: Backbone, x: Mapping[str, Tensor], sigma: Tensor, encoded: Encoded, tap: Tap | None,
             cache: Cache | None = None) -> dict[str, Tensor]:
        present = encoded.frame.repeat(1, len(self.offsets), 1)
        beside = {n: torch.cat([v, present.to(v)], dim=-1) if self.layout[n].condition else v for n, v in x.items()}
        if cache is not None:
            cache.forget(beside)
            return backbone(beside, self.layout, sigma=dict.fromkeys(x, sigma), cache=cache, tap=tap, **encoded.words)
        return backbone({"frame": encoded.frame, **beside}, self.layout, sigma=dict.fromkeys(x, sigma), tap=tap, **encoded.words)

    def _origin(self, name: str, encoded: Encoded) -> Tensor | float:
        """What a future's values are measured from, per frame."""
        return encoded.frame[:, None] if self.config.space == "changes" and name in self.dimensions.in_view else 0.0
