"""Joint generation: future and action chunk from one coupled denoising (survey, equations 11, 18 and 19).

Streams: frame (the present, given), video (the future, noised), state (given), action (noised).
Who sees whom (MV-WAM, section 3.1): frame and video see frame and video only where causality allows it, so the video is
never contaminated by the action; action and state see frame, video, state and action. Since nothing that video sees
depends on the action, its keys and values are computed once per denoising step and reused by the action stream.
Each noised video token carries the present frame's token of its place beside it, along the channels (MV-WAM, section 3.1:
latents "concatenated with mask tokens along the channel dimension", the first frame given), so what stands still is read off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from foreact.contract.axes import Backbone, Cache, Coupling, Dimensions, Encoded, Noise, Proposal
from foreact.contract.errors import ConfigError
from foreact.contract.layout import Layout, Sight, Stream, Target
from foreact.flow.samplers import Solver, integrate
from foreact.flow.schedules import SigmaDensity, draw_sigma, sigmas
from foreact.flow.targets import interpolate, target, to_velocity

__all__ = ["JointGeneration"]


class JointGeneration(Coupling):
    """Video and action denoised side by side; action conditioned on the imagined video at every step."""

    family = "Joint generation"
    requires = frozenset({"denoise", "experts"})

    @dataclass(frozen=True, kw_only=True)
    class Config(Coupling.Config):
        """Offsets are control steps. `levels`: one noise level for both streams, or one each, drawn independently.

        video_space: what is denoised is the future frames s_{t+o}, or their changes s_{t+o} - s_t from the present, in
            which what stands still is zero and need not be drawn again. Futures come out as frames either way.
        """

        horizon: int = 16
        future_offsets: tuple[int, ...] = (8, 16)
        video_target: Target = "velocity"
        action_target: Target = "sample"
        video_space: Literal["frames", "changes"] = "frames"
        video_weight: float = 1.0
        action_weight: float = 1.0
        levels: Literal["shared", "independent"] = "shared"
        density: SigmaDensity = "uniform"
        shift: float = 1.0
        steps: int = 4
        solver: Solver = "euler"

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.steps < 1 or self.horizon < 1:
                raise ConfigError("horizon and steps must be at least 1", where="model.coupling",
                                  found=f"horizon = {self.horizon}, steps = {self.steps}")

        def layout(self, dimensions: Dimensions) -> Layout:
            # one unit of rotary time is one imagined frame, or a whole chunk where nothing is imagined
            unit = self.future_offsets[0] if self.future_offsets else self.horizon
            frame = dimensions.form.positions
            shared = {"noise": "joint"} if self.levels == "shared" else {}
            streams = [Stream(name="frame", channels=dimensions.form.channels, expert="video", positions=frame(0.0))]
            if self.future_offsets:
                streams.append(Stream(name="video", channels=dimensions.form.channels, expert="video", target=self.video_target,
                                      weight=self.video_weight, condition=dimensions.form.channels,
                                      positions=sum((frame(o / unit) for o in self.future_offsets), ()),
                                      **(shared or {"noise": "video"})))
            streams += [
                Stream(name="state", channels=dimensions.state, expert="action", positions=((0.0, 0.0, 0.0),)),
                Stream(name="action", channels=dimensions.action, expert="action", target=self.action_target,
                       weight=self.action_weight, positions=tuple(((i + 1) / unit, 0.0, 0.0) for i in range(self.horizon)),
                       **(shared or {"noise": "action"})),
            ]
            names = [s.name for s in streams]
            vision = tuple(Sight(n) for n in names if n in ("frame", "video"))
            everything = tuple(Sight(n) for n in names)
            sees = {"frame": (Sight("frame"),), "state": everything, "action": everything}
            return Layout(streams=tuple(streams), sees=sees | ({"video": vision} if "video" in names else {}))

        def without_future(self) -> JointGeneration.Config:
            return replace(self, future_offsets=())

    def __init__(self, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        self.config, self.dimensions, self.layout = config, dimensions, config.layout(dimensions)

    # --- training -----------------------------------------------------------------------------------------------------

    def losses(self, backbone: Backbone, encoded: Encoded, *, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        clean = self._clean(encoded, train)
        given = {"frame": encoded.frame} | ({"state": encoded.state[:, None]} if "action" in clean else {})
        device = encoded.frame.device
        level = {group: draw_sigma(encoded.batch, generator, density=self.config.density, shift=self.config.shift).to(device)
                 for group in self.layout.noise_groups}
        noise = {name: torch.randn(x.shape, generator=generator).to(device) for name, x in clean.items()}
        sigma = {name: level[self.layout[name].noise] for name in clean}
        noised = {name: interpolate(x, noise[name], sigma[name]) for name, x in clean.items()}
        predicted = backbone(
            given | self._beside(noised, encoded), self._visible(clean), sigma=sigma, text=encoded.text, text_mask=encoded.text_mask
        )
        found = {}
        for name in clean:
            stream = self.layout[name]
            square = (predicted[name] - target(stream.target, clean[name], noise[name])).square().mean(dim=-1)
            keep = self._keep(name, encoded).to(square.dtype)
            found[name] = stream.weight * (square * keep).sum() / keep.sum().clamp(min=1)
        return found

    def _clean(self, encoded: Encoded, train: frozenset[str]) -> dict[str, Tensor]:
        """The clean values of the streams that are noised in this stage. The action never trains without its video."""
        clean = {}
        if "video" in self.layout:
            clean["video"] = encoded.future.flatten(1, 2) - self._origin(encoded)
        if "action" in train:
            clean["action"] = encoded.actions
        return clean

    def _beside(self, noised: Mapping[str, Tensor], encoded: Encoded) -> dict[str, Tensor]:
        """The streams as the backbone takes them: the present frame beside every frame of the video."""
        if "video" not in noised:
            return dict(noised)
        return {**noised, "video": torch.cat([noised["video"], self._present(encoded).to(noised["video"])], dim=-1)}

    def _present(self, encoded: Encoded) -> Tensor:
        """The present frame once for every frame of the video."""
        return encoded.frame.repeat(1, len(self.config.future_offsets), 1)

    def _origin(self, encoded: Encoded) -> Tensor:
        """What the values of the video stream are measured from."""
        present = self._present(encoded)
        return present if self.config.video_space == "changes" else torch.zeros_like(present)

    def _visible(self, clean: Mapping[str, Tensor]) -> Layout:
        """The layout of this stage: without the action and state where only video trains."""
        if "action" in clean:
            return self.layout
        vision = ("frame", "video")
        return Layout(streams=tuple(self.layout[n] for n in vision), sees={n: self.layout.sees[n] for n in vision})

    def _keep(self, name: str, encoded: Encoded) -> Tensor:
        """Tokens that count: those not past the end of the episode."""
        if name == "video":
            return (~encoded.future_is_pad).repeat_interleave(self.dimensions.form.tokens, dim=1)
        return ~encoded.action_is_pad

    # --- sampling -----------------------------------------------------------------------------------------------------

    def propose(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, cached: bool = True) -> Proposal:
        """`cached=False` runs every stream at every evaluation, for the test that both agree."""
        start = {s.name: noise(s.name, (s.length, s.channels)) for s in self.layout.streams if s.target is not None}
        given = {"frame": encoded.frame, "state": encoded.state[:, None]}
        text = {"text": encoded.text, "text_mask": encoded.text_mask}
        cache = backbone.new_cache() if cached else None
        if cache is not None:
            backbone({"frame": encoded.frame}, self.layout, sigma={}, cache=cache, **text)

        def velocity(x: Mapping[str, Tensor], sigma: Tensor) -> dict[str, Tensor]:
            level = {name: sigma.expand(encoded.batch).to(encoded.frame) for name in x}
            predicted = self._predict(backbone, self._beside(x, encoded), given, level, text, cache)
            return {name: to_velocity(self.layout[name].target, predicted[name], value, level[name]) for name, value in x.items()}

        end = integrate(velocity, start, sigmas(self.config.steps, shift=self.config.shift), solver=self.config.solver)
        if "video" not in end:
            return Proposal(actions=end["action"])
        future = (end["video"] + self._origin(encoded)).unflatten(1, (len(self.config.future_offsets), -1))
        return Proposal(actions=end["action"], future=future)

    def _predict(self, backbone: Backbone, x: dict[str, Tensor], given: dict[str, Tensor], level: dict[str, Tensor],
                 text: dict[str, Tensor], cache: Cache | None) -> dict[str, Tensor]:
        if cache is None:
            return backbone(given | x, self.layout, sigma=level, **text)
        cache.forget(("video", "state", "action"))
        predicted = {}
        for streams in self.layout.rounds():
            if streams == ("frame",):
                continue
            predicted |= backbone({n: x[n] if n in x else given[n] for n in streams}, self.layout,
                                  sigma={n: level[n] for n in streams if n in level}, cache=cache, **text)
        return predicted
