"""Autoregressive diffusion over chunks with a memory: first the chunk's video, then its actions (LingBot-VA; survey, 4.3.3 and 5.3).

    p(s_k, a_k | m_k) = p_theta(s_k | m_k) q_psi(a_k | s_k, m_k),    m_k = (o, a)_{<k}, the frames seen and the actions executed so far

Both factors are denoised, s_k and then a_k, by one network with a video and an action expert. Training is teacher forcing: all chunks of
a window at once, each from the clean truth before it, under the sights of `chunk_streams`; the action reads its chunk's true video with a
little noise (`blur`), told its level, and at test the imagined one.

A `Session` holds keys and values of the last `history` observations and of the actions between them. At each call the newest
observation and the actions executed since the last call enter, older ones move back in time and leave at the end; what was imagined
never stays. Without a session the same memory is computed anew from the history in the context, and the plan is the same up to rounding.

An observation from before the episode's start is a token of zeros with a flag, in training and when acting. Where a plan holds several
chunks, later ones follow from imagined frames and planned actions. Differs from LingBot-VA: clean tokens see their own chunk alone, so
that a bounded memory is exact; one frame for each chunk.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from foreact.contract.axes import Backbone, Coupling, Dimensions, Encoded, Noise, Proposal, RollingCache, Session
from foreact.contract.errors import ConfigError, MisfitError, SpecError
from foreact.contract.layout import Layout, Target
from foreact.contract.stopwatch import ACTION, ENCODING, FUTURE, lap
from foreact.couplings.chunk_runs import Cached, Whole
from foreact.couplings.chunk_streams import PAST, chunk_layout, shown
from foreact.flow.inpainting import towards
from foreact.flow.masking import entry_mean, masked_mean
from foreact.flow.samplers import Levels, Solver, State, integrate
from foreact.flow.schedules import SigmaDensity, draw_sigma, sigmas
from foreact.flow.targets import interpolate, target, to_velocity

__all__ = ["StreamedChunks"]


class _Episode(Session):
    """What was seen and done lately, as keys and values."""

    def __init__(self) -> None:
        self.cache: RollingCache | None = None

    @property
    def tokens(self) -> int:
        return 0 if self.cache is None else self.cache.tokens


class StreamedChunks(Coupling):
    """Imagine the next chunk, decode its actions, look again, and remember."""

    family = "Post-prediction head"
    persistent = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Coupling.Config):
        """Each future offset ends a chunk, so they are equal steps that end with the horizon.

        history, history_stride: frames of the memory, one for each call of the regime. past_actions: those between them, all.
        video_space: frames, or their changes from the frame before. steps, action_steps: evaluations for a chunk's video and actions.
        blur: the highest noise level at which the action reads the true video in training.
        """

        inpaints = True
        horizon: int = 16
        future_offsets: tuple[int, ...] = (8, 16)
        history: int = 2
        history_stride: int = 8
        past_actions: int = 8
        video_target: Target = "sample"
        action_target: Target = "sample"
        video_space: Literal["frames", "changes"] = "frames"
        video_weight: float = 1.0
        action_weight: float = 1.0
        blur: float = 0.3
        density: SigmaDensity = "uniform"
        shift: float = 1.0
        steps: int = 4
        action_steps: int = 4
        solver: Solver = "euler"

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.steps < 1 or self.action_steps < 1 or self.horizon < 1 or not 0 <= self.blur < 1:
                raise ConfigError("horizon and steps must be at least 1, and blur a share below 1", where="model.coupling",
                                  found=f"horizon = {self.horizon}, steps = {self.steps}, action_steps = {self.action_steps}, "
                                        f"blur = {self.blur}")
            length = self.horizon // self.chunks
            if self.future_offsets and self.future_offsets != tuple(length * (k + 1) for k in range(self.chunks)):
                raise ConfigError("each future frame ends a chunk", where="model.coupling.future_offsets", found=self.future_offsets,
                                  accepted=f"equal steps up to the horizon of {self.horizon}")
            if self.past_actions != (self.history - 1) * self.history_stride:
                raise ConfigError("the memory holds the actions between its frames", where="model.coupling.past_actions",
                                  found=f"{self.past_actions}, with history = {self.history} and history_stride = {self.history_stride}",
                                  accepted=f"(history - 1) * history_stride = {(self.history - 1) * self.history_stride}")

        @property
        def chunks(self) -> int:
            return max(len(self.future_offsets), 1)

        def requires(self) -> frozenset[str]:
            return frozenset({"denoise", "rolling"})

        def layout(self, dimensions: Dimensions) -> Layout:
            return chunk_layout(dimensions, horizon=self.horizon, chunks=self.chunks, history=self.history, stride=self.history_stride,
                                future=bool(self.future_offsets), video_target=self.video_target, action_target=self.action_target,
                                video_weight=self.video_weight, action_weight=self.action_weight)

        def without_future(self) -> StreamedChunks.Config:
            """The same memory and experts; the whole horizon is one chunk of actions."""
            return replace(self, future_offsets=())

    def __init__(self, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        self.config, self.dimensions, self.layout = config, dimensions, config.layout(dimensions)
        self.parts = tuple(dimensions.forms) if config.future_offsets else ()
        if config.video_space == "changes" and self.parts and self.parts[0] not in dimensions.in_view:
            raise MisfitError("changes need a future in the space of the view", where="model.coupling.video_space",
                              found="another view", accepted="frames", next_step="model.coupling.video_space=frames")
        self._memory = self.layout.only(PAST)
        self._newest = self._memory.within(dict.fromkeys(self._memory.names, (-1.0,)))
        self._imagined = tuple(n for n in self.layout.names if n not in PAST)

    def begin(self) -> Session | None:
        return _Episode()

    def respond(self, backbone: Backbone, encoded: Encoded, actions: Tensor, *, noise: Noise) -> Mapping[str, Tensor]:
        return {}

    # --- what is given ------------------------------------------------------------------------------------------------

    def _past(self, encoded: Encoded) -> dict[str, Tensor]:
        """The memory's streams from the history in the context."""
        config, batch = self.config, encoded.batch
        early = encoded.history_is_pad
        if early is None:
            early = encoded.frame.new_zeros(batch, config.history, dtype=torch.bool)
        frames = torch.cat([encoded.history[:, :-1], encoded.frame[:, None]], dim=1)
        states = torch.cat([encoded.states[:, :-1], encoded.state[:, None]], dim=1)
        given = {"frame": _flagged(frames, early).flatten(1, 2), "state": _flagged(states, early)}
        return given | ({"done": self._done(encoded, config.past_actions)} if config.past_actions else {})

    def _first(self, encoded: Encoded) -> dict[str, Tensor]:
        """The memory's streams at an episode's first call: the present, and before it nothing."""
        config, batch = self.config, encoded.batch
        early = torch.ones(batch, config.history, dtype=torch.bool, device=encoded.frame.device)
        early[:, -1] = False
        frames = encoded.frame[:, None].expand(-1, config.history, -1, -1)
        states = encoded.state[:, None].expand(-1, config.history, -1)
        given = {"frame": _flagged(frames, early).flatten(1, 2), "state": _flagged(states, early)}
        if config.past_actions:
            none = encoded.frame.new_zeros(batch, config.past_actions, self.dimensions.action)
            given["done"] = _flagged(none, torch.ones(none.shape[:2], dtype=torch.bool, device=none.device))
        return given

    def _since(self, encoded: Encoded) -> dict[str, Tensor]:
        """What entered the world since the last call."""
        seen = torch.zeros(encoded.batch, 1, dtype=torch.bool, device=encoded.frame.device)
        given = {"frame": _flagged(encoded.frame[:, None], seen).flatten(1, 2), "state": _flagged(encoded.state[:, None], seen)}
        return given | ({"done": self._done(encoded, self.config.history_stride)} if self.config.past_actions else {})

    def _done(self, encoded: Encoded, count: int) -> Tensor:
        """The newest executed actions; unknown ones are flagged."""
        actions = encoded.past_actions
        if actions is None or actions.shape[1] < count:
            raise SpecError("the actions executed before the present are needed", where="context.past_actions",
                            found="none" if actions is None else f"{actions.shape[1]} of them", accepted=f"the last {count}",
                            next_step="hand back what was executed since the last call")
        unknown = encoded.past_is_pad
        if unknown is None:
            unknown = torch.zeros(actions.shape[:2], dtype=torch.bool, device=actions.device)
        if encoded.has_action is not None:
            unknown = unknown | ~encoded.has_action[:, None]
        return _flagged(actions, unknown)[:, -count:]

    def _shown(self, name: str, encoded: Encoded, frame: Tensor, before: Tensor | None, level: Tensor | None = None,
               noise: Tensor | None = None) -> Tensor:
        """Frames as the action reads them: where they have a frame before, the change from it and it itself. (batch, tokens, channels)"""
        value = encoded.reader.expose(name, frame)
        origin = None if before is None else encoded.reader.expose(name, before)
        value = value if origin is None else value - origin
        if level is not None:
            value = interpolate(value, noise, level)
        return (value if origin is None else torch.cat([value, origin], dim=-1)).flatten(1, 2)

    def _before(self, name: str, encoded: Encoded, future: Tensor | None) -> Tensor | None:
        """The frame before each chunk's last one, (batch, chunks, tokens, channels); None where the future is not in the view's space."""
        if name not in self.dimensions.in_view:
            return None
        present = encoded.frame[:, None]
        return present if future is None else torch.cat([present, future], dim=1)

    def _origin(self, name: str, before: Tensor | None) -> Tensor | float:
        return before if self.config.video_space == "changes" and before is not None and name == self.parts[0] else 0.0

    # --- training -----------------------------------------------------------------------------------------------------

    def losses(self, backbone: Backbone, encoded: Encoded, *, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        acting = "action" in train
        given, level = self._past(encoded), {}
        if not acting:
            del given["state"]
        clean, noised, noise = {}, {}, {}
        for name in self.parts:
            future = encoded.future[name]
            before = self._before(name, encoded, future[:, :-1])
            clean[name] = (future - self._origin(name, before)).flatten(1, 2)
            beside = None if before is None else before.flatten(1, 2)
            noise[name], level[name] = self._drawn(clean[name], generator)
            noised[name] = _beside(interpolate(clean[name], noise[name], level[name]), beside)
            if acting or self.config.chunks > 1:
                given |= self._blurred(name, encoded, future, before, level, generator)
        if self.config.chunks > 1:
            count = self.layout["planned"].length
            given["planned"] = _flagged(encoded.executed[:, :count], ~encoded.known_actions[:, :count])
        if acting:
            clean["action"] = encoded.actions
            noise["action"], level["action"] = self._drawn(encoded.actions, generator)
            if encoded.has_action is not None:
                level["action"] = torch.where(encoded.has_action[:, None], level["action"], 1.0)
            noised["action"] = encoded.held(interpolate(clean["action"], noise["action"], level["action"]))
        predicted = backbone(given | noised, self.layout.only(given | noised), sigma=level, **encoded.words)
        found = {}
        for name in clean:
            square = (predicted[name] - target(self.layout[name].target, clean[name], noise[name])).square()
            square = entry_mean(square, encoded.action_mask if name == "action" else None)
            found[name] = self.layout[name].weight * masked_mean(square, self._keep(name, encoded))
        return found

    def _drawn(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Noise, and for every chunk a noise level of its own, (batch, tokens)."""
        batch, chunks = x.shape[0], self.config.chunks
        level = draw_sigma(batch * chunks, generator, density=self.config.density, shift=self.config.shift).view(batch, chunks)
        noise = torch.randn(x.shape, generator=generator)
        return noise.to(x.device), level.repeat_interleave(x.shape[1] // chunks, dim=1).to(x.device)

    def _blurred(self, name: str, encoded: Encoded, future: Tensor, before: Tensor | None, level: dict[str, Tensor],
                 generator: torch.Generator) -> dict[str, Tensor]:
        """The true future, lightly noised, as the action reads it; its level joins `level`."""
        batch, chunks = future.shape[:2]
        low = self.config.blur * torch.rand(batch, chunks, generator=generator).to(future.device)
        shape = (batch, chunks, future.shape[2], self.layout[shown(name)].channels)
        noise = torch.randn(shape, generator=generator).to(future.device)
        level[shown(name)] = low.repeat_interleave(future.shape[2], dim=1)
        return {shown(name): self._shown(name, encoded, future, before, low, noise)}

    def _keep(self, name: str, encoded: Encoded) -> Tensor:
        """Tokens that count: those not past the end of the episode, and actions that are known."""
        if name == "action":
            return encoded.known_actions
        return (~encoded.future_is_pad).repeat_interleave(self.dimensions.forms[name].tokens, dim=1)

    # --- acting -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def propose(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, session: Session | None = None, cached: bool = True,
                ) -> Proposal:
        """`cached=False` runs all streams at every evaluation under the layout of training, for the test that both agree."""
        with lap(ENCODING):
            past, run = self._recall(backbone, encoded, session, cached)
        start = {n: noise(n, (self.layout[n].length, self.layout[n].channels)) for n in (*self.parts, "action")}
        future: dict[str, list[Tensor]] = {name: [] for name in self.parts}
        actions = []
        for k in range(self.config.chunks):
            before = {n: self._before(n, encoded, future[n][-1] if future[n] else None) for n in self.parts}
            before = {n: None if b is None else b[:, -1:] for n, b in before.items()}
            if self.parts:
                with lap(FUTURE):
                    end = self._denoise(run, self.parts, {n: self._part(start[n], k) for n in self.parts}, before, self.config.steps, k)
                for name, x in end.items():
                    future[name].append(x[:, None] + self._origin(name, before[name]))
                run.give({shown(n): self._shown(n, encoded, self._read(n, encoded, future[n]), before[n]) for n in self.parts}, k)
            x = {"action": self._part(start["action"], k)}
            with lap(ACTION):
                actions.append(encoded.held(self._denoise(run, ("action",), x, {}, self.config.action_steps, k)["action"]))
            if k + 1 < self.config.chunks:
                run.give({"planned": _flagged(actions[-1], torch.zeros_like(actions[-1][..., 0], dtype=torch.bool))}, k)
        past.forget(self._imagined)  # it gives way to what will be seen
        return Proposal(actions=torch.cat(actions, dim=1), future={n: torch.cat(frames, dim=1) for n, frames in future.items()})

    def _recall(self, backbone: Backbone, encoded: Encoded, session: Session | None, cached: bool) -> tuple[RollingCache, Cached | Whole]:
        """The memory up to the present, and what evaluates streams on top of it.

        It does not depend on noise: candidates of one present each get a copy of it, and the session keeps the one without copies.
        """
        assert session is None or isinstance(session, _Episode)
        cache, each, encoded = backbone.new_cache(), encoded, encoded.one_of_each()
        assert isinstance(cache, RollingCache), "a backbone that provides 'rolling' gives a cache that rolls"
        if session is None or session.cache is None:
            if not cached:
                return cache, Whole(backbone, each, self.layout, self._past(each) if session is None else self._first(each))
            given = self._past(encoded) if session is None else self._first(encoded)
            backbone(given, self._memory, sigma={}, cache=cache, **encoded.words)
        else:
            backbone(self._since(encoded), self._newest, sigma={}, cache=cache, **encoded.words)
            newer, cache = cache, session.cache
            cache.forget(self._imagined)  # of a call that was broken off
            length = self.config.horizon / self.config.chunks
            cache.append(newer, by=self.config.history_stride / length, keep={s.name: s.length for s in self._memory.streams})
        if session is not None:
            session.cache = cache
        cache = cache if each.copies == 1 else cache.repeated(each.copies)
        return cache, Cached(backbone, each, self.layout, cache)

    def _denoise(self, run: Cached | Whole, names: Collection[str], start: dict[str, Tensor], before: Mapping[str, Tensor | None],
                 steps: int, k: int) -> dict[str, Tensor]:
        """These streams of chunk k, from noise to data."""
        beside = {n: None if b is None else b.flatten(1, 2) for n, b in before.items()}

        def velocity(x: State, sigma: Levels) -> dict[str, Tensor]:
            level = next(iter(sigma.values())).expand(run.encoded.batch).to(run.encoded.frame)
            seen = {n: run.encoded.held(v) if n == "action" else _beside(v, beside.get(n)) for n, v in x.items()}
            predicted = run.predict(seen, level, k)
            return {n: to_velocity(self.layout[n].target, predicted[n], v, level) for n, v in x.items()}

        if "action" in names and run.encoded.committed is not None:
            velocity = towards(velocity, "action", *(self._part(x, k) for x in (run.encoded.committed, run.encoded.commitment)))
        return integrate(velocity, {n: start[n] for n in names}, sigmas(steps, shift=self.config.shift), solver=self.config.solver)

    def _read(self, name: str, encoded: Encoded, frames: list[Tensor]) -> Tensor:
        """The newest imagined frame as the action may use it. What reads is shown the whole future, with nothing in chunks to come."""
        so_far = torch.cat(frames, dim=1)
        left = self.config.chunks - so_far.shape[1]
        whole = torch.cat([so_far, so_far[:, -1:].expand(-1, left, -1, -1)], dim=1)
        return encoded.reader.through(name, whole, None)[:, so_far.shape[1] - 1:so_far.shape[1]]

    def _part(self, x: Tensor, k: int) -> Tensor:
        """The tokens of chunk k."""
        return x.unflatten(1, (self.config.chunks, -1))[:, k]


def _flagged(values: Tensor, void: Tensor) -> Tensor:
    """Values with a last channel that says where there is nothing; there they are zero."""
    flag = void.reshape(void.shape + (1,) * (values.ndim - void.ndim)).expand(*values.shape[:-1], 1).to(values)
    return torch.cat([values * (1 - flag), flag], dim=-1)


def _beside(x: Tensor, beside: Tensor | None) -> Tensor:
    return x if beside is None else torch.cat([x, beside.to(x)], dim=-1)
