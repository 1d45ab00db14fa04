"""Joint generation: futures and action chunk from one coupled denoising (survey, equations 11, 18 and 19).

Streams: frame (the present, given), one for each part of the future (noised; "video" is the main one), state (given),
action (noised), and value (noised) where it is asked for: the return from here, by which progress is watched. By default (MV-WAM,
section 3.1) frame and futures see frame and futures only where causality allows it, so the future is never contaminated by the
action; action and state see everything but the value; the value sees all the others and is seen by none. Since nothing that the
future sees depends on the action, its keys and values are computed once per denoising step and reused by the action stream.

The visibility grammar is data: `sees` says for any stream whom it sees instead, `levels` how noise levels are drawn,
`order` which stream is finished first, `future_at_test` what becomes of the future when acting. The same net then is a policy,
a forward or inverse dynamics model or a video model, by what is given (`generate`).

Each noised token of a future that lives in the view's own space carries the present token of its place beside it, along the
channels (MV-WAM, section 3.1: latents "concatenated with mask tokens along the channel dimension", the first frame given), so
what stands still is read off.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Literal

import torch
from torch import Tensor

from foreact.contract.axes import Backbone, Cache, Coupling, Dimensions, Encoded, Noise, Proposal, Session, SubstrateForm
from foreact.contract.errors import ConfigError, MisfitError, SpecError, nearest
from foreact.contract.layout import Layout, Position, Sight, Stream, Target
from foreact.flow.inpainting import towards
from foreact.flow.masking import entry_mean, masked_mean
from foreact.flow.samplers import Levels, Solver, State, integrate
from foreact.flow.schedules import SigmaDensity, draw_sigma, sigmas
from foreact.flow.targets import interpolate, target, to_velocity

__all__ = ["JointGeneration"]


class JointGeneration(Coupling):
    """Futures and action denoised side by side; action conditioned on what is imagined at every step."""

    family = "Joint generation"
    persistent = False

    @dataclass(frozen=True, kw_only=True)
    class Config(Coupling.Config):
        """Offsets are control steps.

        video_space: what is denoised is the future frames s_{t+o}, or their changes s_{t+o} - s_t from the present, in
            which what stands still is zero and need not be drawn again. Futures come out as frames either way.
        sees: whom a stream sees, in place of the default: {"action": ["frame", "state", "action"]}.
        value_target: what is predicted of the value, the Monte Carlo return c = gamma^(steps until success) (MV-WAM, equation 4);
            None for no value. The net's own unit is 2 c - 1. Episodes that fail teach the value and not the action.
        video_loss, action_loss: the square is taken of what the net gives, or of the velocity that this implies, which weighs a
            clean sample's error by 1/sigma^2 (MV-WAM, equation 7). The value's loss has the form of the action's.
        action_pace: factor on the rotary time of actions; 1 puts an action where the frames of its time are.
        levels: one noise level for all streams; one each; or one for every single frame (diffusion forcing, arXiv 2407.01392).
        order: streams denoised together, or the action finished in the first half of the steps, or the futures in it.
        future_steps: evaluations in which futures that come first are denoised, None for as many as the action's.
        future_at_test: imagined by denoising; left as noise, which a net with levels of its own takes for "unknown"; or absent,
            where the action does not see it.
        """

        inpaints = True
        horizon: int = 16
        future_offsets: tuple[int, ...] = (8, 16)
        video_target: Target = "velocity"
        action_target: Target = "sample"
        value_target: Target | None = None
        video_space: Literal["frames", "changes"] = "frames"
        video_weight: float = 1.0
        action_weight: float = 1.0
        value_weight: float = 1.0
        video_loss: Literal["target", "velocity"] = "target"
        action_loss: Literal["target", "velocity"] = "target"
        sees: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
        action_pace: float = 1.0
        levels: Literal["shared", "independent", "per-frame"] = "shared"
        order: Literal["together", "action-first", "future-first"] = "together"
        future_steps: int | None = None
        future_at_test: Literal["imagined", "noise", "absent"] = "imagined"
        density: SigmaDensity = "uniform"
        shift: float = 1.0
        steps: int = 4
        solver: Solver = "euler"

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.steps < 1 or self.horizon < 1:
                raise ConfigError("horizon and steps must be at least 1", where="model.coupling",
                                  found=f"horizon = {self.horizon}, steps = {self.steps}")
            if self.future_steps is not None and (self.future_steps < 1 or self.order != "future-first"):
                raise ConfigError("futures have steps of their own where they come first", where="model.coupling.future_steps",
                                  found=f"{self.future_steps}, order = {self.order}", accepted="1 or more, with order = future-first")

        def requires(self) -> frozenset[str]:
            return frozenset({"denoise"})

        def layout(self, dimensions: Dimensions) -> Layout:
            # one unit of rotary time is one imagined frame, or a whole chunk where nothing is imagined
            unit = self.future_offsets[0] if self.future_offsets else self.horizon
            streams = [Stream(name="frame", channels=dimensions.view.channels, expert="video", positions=dimensions.view.positions(0.0))]
            for name, form in dimensions.forms.items() if self.future_offsets else ():
                places = _places(form, dimensions.view)
                streams.append(Stream(
                    name=name, channels=form.channels, expert="video", target=self.video_target, weight=self.video_weight,
                    condition=form.channels if name in dimensions.in_view else 0, noise=self._group(name),
                    positions=tuple((offset / unit, row, column) for offset in self.future_offsets for _, row, column in places)))
            streams += [
                Stream(name="state", channels=dimensions.state, expert="action", positions=((0.0, 0.0, 0.0),)),
                Stream(name="action", channels=dimensions.action, expert="action", target=self.action_target, noise=self._group("action"),
                       weight=self.action_weight,
                       positions=tuple((self.action_pace * (i + 1) / unit, 0.0, 0.0) for i in range(self.horizon))),
            ]
            if self.value_target is not None:
                streams.append(Stream(name="value", channels=1, expert="action", target=self.value_target, noise=self._group("value"),
                                      weight=self.value_weight, positions=((0.0, 0.0, 0.0),)))
            return Layout(streams=tuple(streams), sees=self._sights([s.name for s in streams]))

        def _group(self, name: str) -> str:
            return "joint" if self.levels == "shared" else name

        def _sights(self, names: list[str]) -> dict[str, tuple[Sight, ...]]:
            vision = tuple(n for n in names if n not in ("state", "action", "value"))
            acting = (*vision, "state", "action")
            sees = dict.fromkeys(vision, vision) | {"frame": ("frame",)} | dict.fromkeys(("state", "action", "value"), acting)
            for name, others in self.sees.items():
                for word in (name, *others):
                    if self.future_offsets and word not in names:
                        raise ConfigError("no such stream", where="model.coupling.sees", found=word, accepted=", ".join(names),
                                          next_step=nearest(word, names))
                sees[name] = others
            return {n: tuple(Sight(m) for m in sees[n] if m in names) for n in names if n in sees}

        def without_future(self) -> JointGeneration.Config:
            return replace(self, future_offsets=(), value_target=None)

    def __init__(self, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        self.config, self.dimensions, self.layout = config, dimensions, config.layout(dimensions)
        self.futures = tuple(n for n in self.layout.names if n in dimensions.forms)
        self.acting = tuple(n for n in ("action", "value") if n in self.layout)
        if config.video_space == "changes" and self.futures and self.futures[0] not in dimensions.in_view:
            raise MisfitError("changes from the present need a future in the space of the view", where="model.coupling.video_space",
                              found="another view", accepted="frames", next_step="model.coupling.video_space=frames")
        if config.future_at_test == "absent" and self.futures and self._reached("action") & set(self.futures):
            raise MisfitError("an action that sees the future cannot do without it", where="model.coupling.future_at_test", found="absent",
                              accepted="imagined or noise, or an action that does not see it",
                              next_step='model.coupling.sees={"action": ["frame", "state", "action"], "state": ["frame", "state"]}')

    def begin(self) -> Session | None:
        return None

    def respond(self, backbone: Backbone, encoded: Encoded, actions: Tensor, *, noise: Noise) -> Mapping[str, Tensor]:
        if not any("action" in self._reached(name) for name in self.futures):
            return {}
        return self.generate(backbone, replace(encoded, actions=actions), noise=noise, given=("action",)).future

    def _reached(self, name: str) -> set[str]:
        """All streams that reach `name` through any number of layers."""
        found = {name}
        for _ in self.layout.names:
            found |= {s.stream for n in found for s in self.layout.sees[n]}
        return found

    # --- training -----------------------------------------------------------------------------------------------------

    def losses(self, backbone: Backbone, encoded: Encoded, *, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        clean = self._clean(encoded, [*self.futures, *(self.acting if "action" in train else [])])
        given = {"frame": encoded.frame} | ({"state": encoded.state[:, None]} if "action" in clean else {})
        level = self._levels(encoded, clean, generator)
        noise = {name: torch.randn(x.shape, generator=generator).to(x.device) for name, x in clean.items()}
        noised = {name: interpolate(x, noise[name], level[name]) for name, x in clean.items()}
        layout = self.layout.only(given.keys() | clean.keys())
        predicted = backbone(given | self._beside(noised, encoded), layout, sigma=level, **encoded.words)
        found = {}
        for name in clean:
            stream = self.layout[name]
            given_out, wanted = predicted[name], target(stream.target, clean[name], noise[name])
            if (self.config.action_loss if name in self.acting else self.config.video_loss) == "velocity":
                given_out, wanted = (to_velocity(stream.target, x, noised[name], level[name]) for x in (given_out, wanted))
            square = entry_mean((given_out - wanted).square(), encoded.action_mask if name == "action" else None)
            found[name] = stream.weight * masked_mean(square, self._keep(name, encoded))
        return found

    def _levels(self, encoded: Encoded, clean: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Noise levels by stream: (batch,), or (batch, tokens) where every frame has its own. Unknown actions are pure noise."""
        config, batch = self.config, encoded.batch

        def draw(count: int) -> Tensor:
            return draw_sigma(count, generator, density=config.density, shift=config.shift).to(encoded.frame.device)

        if config.levels == "per-frame":
            frames = len(config.future_offsets)
            level = {name: draw(batch * frames).view(batch, frames).repeat_interleave(clean[name].shape[1] // frames, dim=1)
                     for name in self.futures}
            level |= {name: draw(batch) for name in self.acting}
        else:
            group = {name: draw(batch) for name in self.layout.noise_groups}
            level = {name: group[self.layout[name].noise] for name in (*self.futures, *self.acting)}
        if encoded.has_action is not None:
            level["action"] = torch.where(encoded.has_action, level["action"], 1.0)
        return {name: level[name] for name in clean}

    def _clean(self, encoded: Encoded, names: Collection[str]) -> dict[str, Tensor]:
        """The clean values of streams. The action never trains without its futures."""
        own = {"action": lambda: encoded.actions, "value": lambda: _centred(encoded.value)}
        return {name: own[name]() if name in own else encoded.future[name].flatten(1, 2) - self._origin(name, encoded) for name in names}

    def _beside(self, noised: State, encoded: Encoded) -> dict[str, Tensor]:
        """The streams as the backbone takes them: the present frame beside every frame of a future in its space."""
        noised = {name: encoded.held(x) if name == "action" else x for name, x in noised.items()}
        return {name: torch.cat([x, self._present(encoded).to(x)], dim=-1) if self.layout[name].condition else x
                for name, x in noised.items()}

    def _present(self, encoded: Encoded) -> Tensor:
        """The present frame once for every frame of the future."""
        return encoded.frame.repeat(1, len(self.config.future_offsets), 1)

    def _origin(self, name: str, encoded: Encoded) -> Tensor | float:
        """What the values of a future's stream are measured from."""
        return self._present(encoded) if self.config.video_space == "changes" and name == self.futures[0] else 0.0

    def _keep(self, name: str, encoded: Encoded) -> Tensor:
        """Tokens that count: those not past the end of the episode, and actions that are known."""
        if name == "action":
            return encoded.known_actions
        if name == "value":
            return torch.ones_like(encoded.action_is_pad[:, :1]) if encoded.has_action is None else encoded.has_action[:, None]
        return (~encoded.future_is_pad).repeat_interleave(self.dimensions.forms[name].tokens, dim=1)

    # --- sampling -----------------------------------------------------------------------------------------------------

    def propose(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, session: Session | None = None, cached: bool = True,
                ) -> Proposal:
        """`cached=False` runs every stream at every evaluation, for the test that both agree."""
        unknown = self.futures if self.config.future_at_test == "noise" else ()
        left_out = self.futures if self.config.future_at_test == "absent" else ()
        return self.generate(backbone, encoded, noise=noise, unknown=unknown, left_out=left_out, cached=cached)

    def generate(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, given: Collection[str] = (), unknown: Collection[str] = (),
                 left_out: Collection[str] = (), cached: bool = True) -> Proposal:
        """Denoise what is neither given (clean, from `encoded`) nor unknown (pure noise throughout) nor left out.

        With levels of their own the streams make one net a policy (futures unknown), a forward dynamics model (action given), an
        inverse dynamics model (futures given) and a video model (action unknown): UWM, arXiv 2504.02792.
        """
        names = [s.name for s in self.layout.streams if s.target is not None and s.name not in left_out]
        layout = self.layout.only(set(self.layout.names) - set(left_out))
        start = {n: noise(n, (self.layout[n].length, self.layout[n].channels)) for n in names} | self._clean(encoded, given)
        fixed = {"frame": encoded.frame, "state": encoded.state[:, None]}
        rounds, cache = layout.rounds(), backbone.new_cache() if cached else None
        once = list(takewhile(lambda names: all(layout[n].target is None for n in names), rounds))  # nothing noised reaches these
        kept = [name for streams in once for name in streams]
        if cache is not None and kept:
            single = encoded.one_of_each()
            given_once = {"frame": single.frame, "state": single.state[:, None]}
            backbone({name: given_once[name] for name in kept}, layout, sigma={}, cache=cache, **single.words)
            cache = cache.repeated(encoded.copies)

        def velocity(x: State, sigma: Levels) -> dict[str, Tensor]:
            level = {name: s.expand(encoded.batch).to(encoded.frame) for name, s in sigma.items()}
            seen = {name: encoded.reader.through(name, value, level[name]) if name in self.futures else value for name, value in x.items()}
            predicted = self._predict(backbone, self._beside(seen, encoded), fixed, level, layout, encoded.words, cache, rounds[len(once):])
            return {name: to_velocity(self.layout[name].target, predicted[name], value, level[name]) for name, value in x.items()}

        velocity = towards(velocity, "action", encoded.committed, encoded.commitment)
        end = integrate(velocity, start, self._schedule(names, given, unknown), solver=self.config.solver)
        future = {name: (end[name] + self._origin(name, encoded)).unflatten(1, (len(self.config.future_offsets), -1))
                  for name in names if name in self.futures and name not in unknown}
        value = ((end["value"][:, 0, 0] + 1) / 2).clamp(0, 1) if "value" in end else None
        return Proposal(actions=end["action"], future=future, value=value)

    def _schedule(self, names: Collection[str], given: Collection[str], unknown: Collection[str]) -> dict[str, Tensor]:
        """Noise levels of each stream at each step."""
        steps = self.config.steps
        whole = sigmas(steps, shift=self.config.shift)
        first = {"together": None, "action-first": {"action"}, "future-first": set(self.futures)}[self.config.order]
        plan = dict.fromkeys(names, whole)
        if first is not None:
            before = self.config.future_steps or steps
            early = torch.cat([sigmas(before, shift=self.config.shift), torch.zeros(steps)])
            late = torch.cat([torch.ones(before), whole])
            plan = {name: early if name in first else late for name in names}
        length = len(next(iter(plan.values())))
        return plan | dict.fromkeys(given, torch.zeros(length)) | dict.fromkeys(unknown, torch.ones(length))

    @staticmethod
    def _predict(backbone: Backbone, x: dict[str, Tensor], fixed: dict[str, Tensor], level: dict[str, Tensor], layout: Layout,
                 words: dict[str, Tensor], cache: Cache | None, rounds: tuple[tuple[str, ...], ...]) -> dict[str, Tensor]:
        """One evaluation. `rounds`: what must run again at every step; the cache holds the rest."""
        if cache is None:
            return backbone(fixed | x, layout, sigma=level, **words)
        cache.forget(name for streams in rounds for name in streams)
        predicted = {}
        for streams in rounds:
            predicted |= backbone({n: x[n] if n in x else fixed[n] for n in streams}, layout,
                                  sigma={n: level[n] for n in streams if n in level}, cache=cache, **words)
        return predicted


def _centred(value: Tensor | None) -> Tensor:
    """A return in [0, 1] as the value stream has it, (batch, 1, 1) in [-1, 1]."""
    if value is None:
        raise SpecError("a value is learnt from success, which this dataset does not record", where="next.success",
                        found="no such feature, or no success in it",
                        accepted="a dataset in which next.success says at which step an episode succeeded",
                        next_step="model.coupling.value_target=null, to learn no value")
    return 2 * value[:, None, None] - 1


def _places(form: SubstrateForm, view: SubstrateForm) -> tuple[Position, ...]:
    """Positions of a future's tokens on the view's grid, so that streams of other resolutions share its picture."""
    _, rows, columns = view.grid
    _, own_rows, own_columns = form.grid
    down, across = rows / own_rows, columns / own_columns
    return tuple((t, row * down, column * across) for t, row, column in form.positions(0.0))
