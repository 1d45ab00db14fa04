"""Action-conditioned rollout: propose actions, predict what each would lead to, execute by what is predicted (survey, section 4.3.1).

    chunk       q_psi(a_{t:t+H-1} | c) p_theta(s_{t+1:t+H} | c, a_{t:t+H-1})                        (survey, equations 10 and 17)
    step-wise   prod_k q_psi(a_{t+k} | h_k, c) p_theta(s_{t+k+1} | h_k, a_{t+k}, c),   h_k = (s_{t+1:t+k}, a_{t:t+k-1})

p_theta is the backbone with the chunk as a given clean stream, learnt on the actions that were *executed*, for they caused what
came after. q_psi is a Gaussian over chunks about a cloned proposal, or about the mean action; a planner of `foreact.selection`
searches it. Step-wise, a frame sees only actions up to its time and the frames before it, which are fed back as predicted.

What a candidate is scored by: nobody states goals here, so the goal is learnt too: s* = E[s_{t+1:t+H} | c], what demonstrations
lead to from here under this instruction, and the score is S(a) = -|s_hat(a) - s*|^2. A learnt return V(s_hat) would be open to
the planner: it is trained on successful episodes alone, knows no bad future, and its maximum lies wherever it errs most upwards.
The distance is bounded by 0, reached by what leads where demonstrations lead, and an odd action whose predicted future is odd
scores badly. Its optimum is the inverse dynamics of p_theta; where futures cannot be told apart, the proposal's mean decides.

Goal and candidates are both predicted futures and both pass through the reader; candidates one batch of episodes at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.contract.axes import Backbone, Coupling, Dimensions, Encoded, Noise, Proposal, Session
from foreact.contract.errors import ConfigError
from foreact.contract.layout import Layout, Position, Sight, Stream
from foreact.contract.stopwatch import FUTURE, SELECTION, lap
from foreact.flow.masking import entry_mean, masked_mean
from foreact.flow.samplers import Levels, State, integrate
from foreact.flow.schedules import draw_sigma, sigmas
from foreact.flow.targets import interpolate, to_velocity
from foreact.nets.streams import KeyValueCache
from foreact.selection.candidates import Box
from foreact.selection.planners import PathIntegral, Planner

__all__ = ["ConditionedRollout", "Imaginer"]


class ConditionedRollout(Coupling):
    """A predictor that the action enters, and a planner around it."""

    family = "Cond. rollout"
    persistent = False

    @dataclass(frozen=True, kw_only=True)
    class Config(Coupling.Config):
        """mode: the whole chunk at once, or one frame after another. prediction: in one pass, or denoised in `steps`, from the same
        noise for all candidates. nominal: what candidates are drawn around; "mean" is the mean action of the dataset.
        `steps_per_token` control steps of a chunk share a token.
        """

        horizon: int = 16
        future_offsets: tuple[int, ...] = (8, 16)
        mode: Literal["chunk", "step-wise"] = "chunk"
        prediction: Literal["one-pass", "denoised"] = "one-pass"
        nominal: Literal["cloned", "mean"] = "cloned"
        planner: Planner.Config = field(default_factory=PathIntegral.Config)
        steps_per_token: int = 4
        steps: int = 3
        shift: float = 1.0
        future_weight: float = 1.0
        action_weight: float = 1.0

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.horizon < 1 or self.horizon % self.steps_per_token or self.steps < 1:
                raise ConfigError("the horizon is a multiple of the steps per token, and denoising takes a step",
                                  where="model.coupling.horizon", found=f"horizon = {self.horizon}, steps_per_token = "
                                  f"{self.steps_per_token}, steps = {self.steps}")
            if any(offset > self.horizon for offset in self.future_offsets):
                raise ConfigError("a future after the last action is nobody's consequence", where="model.coupling.future_offsets",
                                  found=self.future_offsets, accepted=f"at most the horizon, {self.horizon}")
            if self.mode == "step-wise" and any(offset % self.steps_per_token for offset in self.future_offsets):
                raise ConfigError("step-wise, a token of actions ends where a frame stands", where="model.coupling.future_offsets",
                                  found=self.future_offsets, accepted=f"multiples of steps_per_token = {self.steps_per_token}")
            if not self.future_offsets and self.nominal == "mean":
                raise ConfigError("without a future and without a proposal there is nothing to act by",
                                  where="model.coupling.nominal", found="mean", accepted="cloned")

        def requires(self) -> frozenset[str]:
            return frozenset({"queries"}) | (frozenset({"denoise"}) if self.prediction == "denoised" else frozenset())

        def layout(self, dimensions: Dimensions) -> Layout:
            unit = self.future_offsets[0] if self.future_offsets else self.horizon
            streams = [
                Stream(name="frame", channels=dimensions.view.channels, expert="video", positions=dimensions.view.positions(0.0)),
                Stream(name="state", channels=dimensions.state, expert="action", positions=((0.0, 0.0, 0.0),))]
            chunk = tuple(((i + 1) * self.steps_per_token / unit, 0.0, 0.0) for i in range(self.horizon // self.steps_per_token))
            packed = self.steps_per_token * dimensions.action
            if self.nominal == "cloned":
                streams.append(Stream(name="proposal", channels=packed, expert="action", positions=chunk, query=True, target="sample",
                                      weight=self.action_weight))
            if self.future_offsets:
                streams.append(Stream(name="action", channels=packed, expert="action", positions=chunk))
                streams += self._futures(dimensions)
            return Layout(streams=tuple(streams), sees=self._sights([s.name for s in streams], tuple(dimensions.forms)))

        def _futures(self, dimensions: Dimensions) -> list[Stream]:
            """Of each part: what demonstrations lead to, what is fed back, what is predicted of an action."""
            found, denoised = [], self.prediction == "denoised"
            for name, form in dimensions.forms.items():
                frames = [form.positions(offset / self.future_offsets[0]) for offset in self.future_offsets]
                places: tuple[Position, ...] = sum(frames, ())
                shared = {"channels": form.channels, "expert": "video"}
                found.append(Stream(name=f"{name}_goal", positions=places, query=True, target="sample", **shared))
                if self.mode == "step-wise" and len(frames) > 1:
                    found.append(Stream(name=f"{name}_fed", positions=sum(frames[:-1], ()), **shared))
                found.append(Stream(name=name, positions=places, target="sample", query=not denoised, noise="future" if denoised else None,
                                    weight=self.future_weight, **shared))
            return found

        def _sights(self, names: list[str], parts: tuple[str, ...]) -> dict[str, tuple[Sight, ...]]:
            when = "causal" if self.mode == "step-wise" else "all"
            present, fed = (Sight("frame"), Sight("state")), [n for n in names if n.endswith("_fed")]
            sees = {"frame": (Sight("frame"),), "state": present, "proposal": (*present, Sight("proposal")),
                    "action": (*present, Sight("action", when))}
            sees |= {f"{p}_goal": (*present, *(Sight(f"{q}_goal") for q in parts)) for p in parts}
            sees |= {n: (*present, *(Sight(m, "causal") for m in fed)) for n in fed}
            caused = (*present, Sight("action", when), *(Sight(m, "past") for m in fed), *(Sight(p, when) for p in parts))
            sees |= dict.fromkeys(parts, caused)
            return {name: sees[name] for name in names}

        def without_future(self) -> ConditionedRollout.Config:
            """The cloned proposal alone, executed as it is."""
            return replace(self, future_offsets=(), nominal="cloned")

    def __init__(self, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        self.config, self.dimensions, self.layout = config, dimensions, config.layout(dimensions)
        self.parts = tuple(dimensions.forms) if config.future_offsets else ()
        self.planner = config.planner.build(config.horizon)

    def begin(self) -> Session | None:
        return None

    # --- training -----------------------------------------------------------------------------------------------------

    def losses(self, backbone: Backbone, encoded: Encoded, *, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        clean = {n: encoded.future[n].flatten(1, 2) - self._origin(n, encoded) for n in self.parts if "video" in train}
        inputs, sigma = self._given(encoded), {}
        if "action" in train and "proposal" in self.layout:
            inputs |= self._asked(["proposal"], encoded.batch, encoded)
        if clean:
            inputs |= {"action": self._packed(encoded.executed.masked_fill(encoded.action_is_pad[..., None], 0.0))}
            inputs |= self._asked([n for p in self.parts for n in (p, f"{p}_goal")], encoded.batch, encoded) | self._fed(clean)
        if clean and self.config.prediction == "denoised":
            level = draw_sigma(encoded.batch, generator, shift=self.config.shift).to(encoded.frame.device)
            inputs |= {n: interpolate(x, torch.randn(x.shape, generator=generator).to(x), level) for n, x in clean.items()}
            sigma = dict.fromkeys(clean, level)
        predicted = backbone(inputs, self.layout.only(inputs), sigma=sigma, **encoded.words)
        found, known = {}, encoded.has_action
        inside = ~encoded.future_is_pad
        for name, x in clean.items():
            caused = self._error(name, predicted[name], x, inside if known is None else inside & known[:, None])
            found[name] = self.layout[name].weight * (caused + self._error(name, predicted[f"{name}_goal"], x, inside))
        if "proposal" in inputs:
            square = entry_mean((self._unpacked(predicted["proposal"]) - encoded.actions).square(), encoded.action_mask)
            found["action"] = self.config.action_weight * masked_mean(square, encoded.known_actions)
        return found

    def _error(self, name: str, predicted: Tensor, true: Tensor, keep: Tensor) -> Tensor:
        """Mean square over the frames that count."""
        square = (predicted - true).square().unflatten(1, (-1, self.dimensions.forms[name].tokens)).mean(dim=(-2, -1))
        return masked_mean(square, keep)

    # --- acting -------------------------------------------------------------------------------------------------------

    def propose(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, session: Session | None = None) -> Proposal:
        imaginer = Imaginer(self, backbone, encoded, noise)
        if not self.parts:
            return Proposal(actions=imaginer.nominal)
        box = Box(low=encoded.bounds[:, 0], high=encoded.bounds[:, 1])
        with lap(SELECTION):
            chosen = self.planner.search(imaginer.score, imaginer.nominal, box, noise)
        future = {name: value[:, 0] for name, value in imaginer.futures(chosen.actions[:, None]).items()}
        return Proposal(actions=chosen.actions, future=future, candidates=chosen.candidates)

    def respond(self, backbone: Backbone, encoded: Encoded, actions: Tensor, *, noise: Noise) -> Mapping[str, Tensor]:
        if not self.parts:
            return {}
        return {n: x[:, 0] for n, x in Imaginer(self, backbone, encoded, noise).futures(actions[:, None]).items()}

    # --- streams ------------------------------------------------------------------------------------------------------

    def _given(self, encoded: Encoded) -> dict[str, Tensor]:
        return {"frame": encoded.frame, "state": encoded.state[:, None]}

    def _asked(self, names: Collection[str], batch: int, encoded: Encoded) -> dict[str, Tensor]:
        """Placeholders for streams of which nothing is given."""
        return {n: encoded.frame.new_zeros(batch, self.layout[n].length, self.layout[n].channels) for n in names}

    def _fed(self, clean: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All frames but the last, for what comes after them to see."""
        return {f"{n}_fed": x[:, : self.layout[f"{n}_fed"].length] for n, x in clean.items() if f"{n}_fed" in self.layout}

    def _origin(self, name: str, encoded: Encoded) -> Tensor | float:
        """What a future's values are measured from: the present, where it lives in the same space."""
        return encoded.frame.repeat(1, len(self.config.future_offsets), 1) if name in self.dimensions.in_view else 0.0

    def _packed(self, actions: Tensor) -> Tensor:
        return actions.unflatten(1, (-1, self.config.steps_per_token)).flatten(2)

    def _unpacked(self, tokens: Tensor) -> Float[Tensor, "batch horizon action"]:
        return tokens.unflatten(2, (self.config.steps_per_token, -1)).flatten(1, 2)


class Imaginer:
    """p_theta at one present: the nominal chunk and the goal, once; then the future of any candidates, their scores.

    What does not depend on the action runs once: its keys and values are repeated over the candidates.
    """

    def __init__(self, coupling: ConditionedRollout, backbone: Backbone, encoded: Encoded, noise: Noise) -> None:
        self._coupling, self._backbone, self._encoded = coupling, backbone, encoded
        self._times = len(coupling.config.future_offsets)
        single = encoded.one_of_each()
        given, goals = coupling._given(single), [f"{name}_goal" for name in coupling.parts]
        given |= coupling._asked([*goals, *(["proposal"] if "proposal" in coupling.layout else [])], single.batch, single)
        self._cache = backbone.new_cache()
        found = encoded.spread(backbone(given, coupling.layout.only(given), sigma={}, cache=self._cache, **single.words))
        self.nominal: Float[Tensor, "batch horizon action"] = (
            encoded.held(coupling._unpacked(found["proposal"])) if "proposal" in found
            else encoded.state.new_zeros(encoded.batch, coupling.config.horizon, coupling.dimensions.action))
        self.goal = {name: self._whole(name, found[f"{name}_goal"]) for name in coupling.parts}
        self._noise = {n: noise(n, (coupling.layout[n].length, coupling.layout[n].channels))
                       for n in coupling.parts if coupling.config.prediction == "denoised"}
        self._repeated: dict[int, tuple[KeyValueCache, dict[str, Tensor]]] = {}

    def score(self, candidates: Float[Tensor, "batch candidate horizon action"]) -> Float[Tensor, "batch candidate"]:
        """-|s_hat(a) - s*|^2, averaged over frames, tokens and channels, summed over the parts; both as the reader gives them."""
        reader = self._encoded.reader

        def read(name: str, values: Tensor) -> Tensor:
            return reader.expose(name, reader.through(name, values, None))

        goal = {name: read(name, value) for name, value in self.goal.items()}
        with lap(FUTURE):
            futures = self.futures(candidates)
        columns = [sum((read(n, x[:, i]) - goal[n]).square().mean(dim=(1, 2, 3)) for n, x in futures.items())
                   for i in range(candidates.shape[1])]
        return -torch.stack(columns, dim=1)

    def futures(self, candidates: Float[Tensor, "batch candidate horizon action"]) -> dict[str, Float[Tensor, "batch candidate time _ _"]]:
        """What each candidate would lead to."""
        count, coupling = candidates.shape[1], self._coupling
        given: dict[str, Tensor] = {"action": coupling._packed(candidates.flatten(0, 1).to(self._encoded.frame))}
        if coupling.config.mode == "chunk":
            found = self._run(given, count)
        else:
            found = coupling._asked(coupling.parts, len(candidates) * count, self._encoded)
            for time in range(self._times):
                step = self._run(given | coupling._fed(found), count)
                for name, x in step.items():
                    own = slice(time * coupling.dimensions.forms[name].tokens, (time + 1) * coupling.dimensions.forms[name].tokens)
                    found[name] = torch.cat([found[name][:, : own.start], x[:, own], found[name][:, own.stop:]], dim=1)
        return {n: self._whole(n, x.unflatten(0, (-1, count)).transpose(0, 1)).transpose(0, 1) for n, x in found.items()}

    def _run(self, given: dict[str, Tensor], count: int) -> dict[str, Tensor]:
        """One prediction of all frames, (batch * candidate, tokens, channels), measured from the origin."""
        if count not in self._repeated:
            words = self._encoded.words
            words = words if count == 1 else {name: x.repeat_interleave(count, dim=0) for name, x in words.items()}
            self._repeated[count] = self._cache.repeated(count * self._encoded.copies), words
        cache, words = self._repeated[count]
        coupling = self._coupling
        layout = coupling.layout.only([n for n in coupling.layout.names if n != "proposal" and not n.endswith("_goal")])
        if coupling.config.prediction == "one-pass":
            asked = coupling._asked(coupling.parts, len(given["action"]), self._encoded)
            cache.forget([*given, *asked])
            return self._backbone(given | asked, layout, sigma={}, cache=cache, **words)

        def velocity(x: State, sigma: Levels) -> dict[str, Tensor]:
            cache.forget([*given, *x])
            level = next(iter(sigma.values())).expand(len(given["action"])).to(given["action"])
            found = self._backbone(given | dict(x), layout, sigma=dict.fromkeys(x, level), cache=cache, **words)
            return {n: to_velocity("sample", found[n], x[n], level) for n in x}

        start = {n: x.repeat_interleave(count, dim=0) for n, x in self._noise.items()}
        return integrate(velocity, start, sigmas(coupling.config.steps, shift=coupling.config.shift))

    def _whole(self, name: str, x: Float[Tensor, "*lead batch _ _"]) -> Float[Tensor, "*lead batch time _ _"]:
        """Frames with what they are measured from added."""
        return (x + self._coupling._origin(name, self._encoded)).unflatten(-2, (self._times, -1))
