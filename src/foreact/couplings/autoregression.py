"""Joint autoregression of frame and action tokens in one causal stream (survey, sections 4.3.1 and 4.4.2).

    p_theta(s_{t+1:t+H}, a_{t:t+H-1} | c) = prod_j p_theta(y_j | y_{<j}, c),   y = (s_{t+o_1}, s_{t+o_2}, ..., a_t, ...)

The stream, in order: for each of the last `history` calls a few tokens of what was seen and one of the state (and the
actions carried out between them, where asked for); query tokens for the next future frame; that frame fed back; queries for the
one after it, and so on; queries for the action, which see every frame fed back. Nothing sees what comes later. The action
meets the future only in the frames fed back, which it reads through the reader, so a diagnosis can stand between.

What a token is learnt by follows from what it is: codes by cross-entropy, continuous values by regression or by a
per-token diffusion head on the trunk's hidden states (`nets.token_diffusion`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contract.axes import Backbone, Cache, Coupling, Session, Tap
from foreact.contract.encoded import Dimensions, Encoded, Noise, Proposal
from foreact.contract.errors import ConfigError, MisfitError
from foreact.contract.layout import Layout, Sight, Stream
from foreact.contract.stopwatch import ACTION, FUTURE, lap
from foreact.flow.masking import entry_mean, masked_mean
from foreact.nets.resampler import Resampler
from foreact.nets.token_diffusion import TokenDiffusion

__all__ = ["JointAutoregression", "draw_codes"]


class JointAutoregression(Coupling):
    """Future frames and actions as the next elements of one stream over a short history."""

    family = "Joint generation"
    persistent = False
    discrete = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Coupling.Config):
        """Offsets are control steps; one unit of the stream's time is one call.

        resampler: how a frame, seen or fed back, becomes a few tokens.
        video_detokenizer, action_detokenizer: draw continuous tokens by diffusion; None regresses them. Codes need none.
        video_space: continuous frames are predicted themselves, or as their changes from the present.
        learns_on: what is fed back in training: the true frames (teacher forcing), all in one pass; or what was just
            predicted, as when acting, one pass for each frame.
        temperature: of drawn codes; 0 takes the likeliest.
        """

        horizon: int = 1
        future_offsets: tuple[int, ...] = (8,)
        history: int = 4
        resampler: Resampler.Config = field(default_factory=Resampler.Config)
        video_detokenizer: TokenDiffusion.Config | None = None
        action_detokenizer: TokenDiffusion.Config | None = None
        video_space: Literal["frames", "changes"] = "frames"
        learns_on: Literal["true", "predicted"] = "true"
        temperature: float = 1.0
        video_weight: float = 1.0
        action_weight: float = 1.0

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.horizon < 1 or self.temperature < 0:
                raise ConfigError("a horizon of at least 1 and a temperature of at least 0", where="model.coupling",
                                  found=f"horizon = {self.horizon}, temperature = {self.temperature}")

        def requires(self) -> frozenset[str]:
            heads = (self.video_detokenizer, self.action_detokenizer)
            return frozenset({"causal"}) | (frozenset({"taps"}) if any(heads) else frozenset())

        def layout(self, dimensions: Dimensions) -> Layout:
            few, unit = [(float(r), 0.0) for r in range(self.resampler.tokens)], self.history_stride
            calls = [float(k) for k in range(1 - self.history, 1)]
            futures = dimensions.forms if self.future_offsets else {}
            ahead = [offset / unit for offset in self.future_offsets]
            given = [Stream(name="frame", channels=self.resampler.width, expert="video", positions=_grid(calls, few)),
                     Stream(name="state", channels=dimensions.state + 1, expert="video", positions=_grid(calls, [(0.0, 0.0)]))]
            if self.past_actions:  # half a step before what they led to
                times = [(0.5 - back) / unit for back in range(self.past_actions, 0, -1)]
                given.append(Stream(name="past", channels=dimensions.action + 1, expert="video", positions=_grid(times, [(0.0, 0.0)])))
            asked = [Stream(name=name, channels=form.channels, expert="video", query=True, weight=self.video_weight,
                            target=None if self.video_detokenizer and not form.discrete else "sample",
                            positions=_grid(ahead, [p[1:] for p in form.positions(0.0)])) for name, form in futures.items()]
            back = [Stream(name=_fed_back(name), channels=self.resampler.width, expert="video", positions=_grid(ahead, few))
                    for name in futures]
            action = Stream(name="action", channels=dimensions.action, expert="action", query=True, weight=self.action_weight,
                            target=None if self.action_detokenizer else "sample",
                            positions=tuple((i / unit, float(i), 0.0) for i in range(self.horizon)))
            causal = tuple(Sight(s.name, "causal") for s in (*given, *back))
            known = tuple(Sight(s.name) for s in given)
            sees = {s.name: tuple(Sight(g.name, "causal") for g in given) for s in given}
            sees |= {s.name: (*known, *(Sight(b.name, "past") for b in back), Sight(s.name, "causal")) for s in asked}
            sees |= {s.name: causal for s in back}
            sees["action"] = (*known, *(Sight(s.name) for s in back), Sight("action", "causal"))
            newest = tuple(range((self.history - 1) * len(few), self.history * len(few)))
            return Layout(streams=(*given, *asked, *back, action), sees=sees, holds={"frame": ("frame", newest)})

        def without_future(self) -> JointAutoregression.Config:
            return replace(self, future_offsets=())

    def __init__(self, config: Config, dimensions: Dimensions) -> None:
        super().__init__()
        self.config, self.dimensions, self.layout = config, dimensions, config.layout(dimensions)
        self.parts = tuple(dimensions.forms) if config.future_offsets else ()
        self._given = tuple(n for n in ("frame", "state", "past") if n in self.layout)
        forms = {name: dimensions.forms[name] for name in self.parts}
        if config.video_space == "changes" and any(n not in dimensions.in_view or form.discrete for n, form in forms.items()):
            raise MisfitError("changes from the present need continuous futures in the space of the view",
                              where="model.coupling.video_space", found=", ".join(forms), accepted="frames",
                              next_step="model.coupling.video_space=frames")
        self.resample = nn.ModuleDict({"view": config.resampler.build(dimensions.view)} | {
            name: config.resampler.build(form) for name, form in forms.items() if name not in dimensions.in_view})
        drawn = {name: config.video_detokenizer for name, form in forms.items() if not form.discrete}
        drawn |= {"action": config.action_detokenizer}
        self.detokenize = nn.ModuleDict({
            name: head.build(dimensions.hidden[self.layout[name].expert], self.layout[name].channels)
            for name, head in drawn.items() if head is not None})

    def begin(self) -> Session | None:
        return None

    def respond(self, backbone: Backbone, encoded: Encoded, actions: Tensor, *, noise: Noise) -> Mapping[str, Tensor]:
        return {}  # frames come before the action in the stream and never see it

    # --- training -----------------------------------------------------------------------------------------------------

    def losses(self, backbone: Backbone, encoded: Encoded, *, train: frozenset[str], generator: torch.Generator) -> dict[str, Tensor]:
        def noise(name: str, shape: tuple[int, ...]) -> Tensor:
            return torch.randn((encoded.batch, *shape), generator=generator).to(encoded.frame.device)

        acts = "action" in train
        if self.config.learns_on == "true":
            asked = self._forced(backbone, encoded, acts=acts)
        else:
            asked, _ = self._walk(backbone, encoded, noise=noise, acts=acts)
        found = {}
        for name in (*self.parts, *(["action"] if acts else [])):
            clean = encoded.actions if name == "action" else (encoded.future[name] - self._origin(encoded)).flatten(1, 2)
            error = self._error(name, asked[name], clean, encoded.action_mask if name == "action" else None, generator)
            found[name] = self.layout[name].weight * masked_mean(error, self._keep(name, encoded))
        return found

    def _forced(self, backbone: Backbone, encoded: Encoded, *, acts: bool) -> dict[str, Tensor]:
        """The whole stream at once, the true frames in the place of those fed back."""
        every = range(len(self.config.future_offsets))
        fed = self.parts if acts or len(every) > 1 else ()
        back = {_fed_back(name): self._few(name, encoded.future[name], encoded) for name in fed}
        names = (*self._given, *self.parts, *back, *(["action"] if acts else []))
        return self._ask(backbone, self._given_tokens(encoded) | back, self._cut(names, {}), encoded, None)

    def _error(self, name: str, asked: Tensor, clean: Tensor, entries: Tensor | None, generator: torch.Generator,
               ) -> Float[Tensor, "batch token"]:
        if name in self.dimensions.forms and self.dimensions.forms[name].discrete:
            return F.cross_entropy(asked.transpose(1, 2), clean.argmax(dim=-1), reduction="none")
        if name in self.detokenize:
            return self.detokenize[name].loss(asked, clean, entries=entries, generator=generator)
        return entry_mean((asked - clean).square(), entries)

    def _keep(self, name: str, encoded: Encoded) -> Tensor:
        """Tokens that count: those not past the end of the episode, and actions that are known."""
        if name == "action":
            return encoded.known_actions
        return (~encoded.future_is_pad).repeat_interleave(self.dimensions.forms[name].tokens, dim=1)

    # --- sampling -----------------------------------------------------------------------------------------------------

    def propose(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, session: Session | None = None) -> Proposal:
        asked, future = self._walk(backbone, encoded, noise=noise, acts=True)
        actions = asked["action"]
        if "action" in self.detokenize:
            actions = self.detokenize["action"].draw(actions, noise("action", (self.config.horizon, self.dimensions.action)),
                                                       entries=encoded.action_mask)
        return Proposal(actions=actions, future=future)

    def _walk(self, backbone: Backbone, encoded: Encoded, *, noise: Noise, acts: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Element after element, each frame fed back before the next is asked for. Returns what the trunk gave and the frames.

        The first pass runs the history, later ones only what is new; a frame is fed back detached, as data.
        """
        count, cache = len(self.config.future_offsets), backbone.new_cache()
        chance = {n: noise(n, (count, self.dimensions.forms[n].tokens, self.dimensions.forms[n].channels)) for n in self._drawn()}
        seen = encoded.one_of_each()  # until something is drawn, all candidates are one
        new, asked = self._given_tokens(seen), {name: [] for name in self.parts}
        frames: dict[str, list[Tensor]] = {name: [] for name in self.parts}
        for index in range(count):
            back = [_fed_back(name) for name in self.parts] if index else []
            layout = self._cut((*self._given, *back, *self.parts),
                               dict.fromkeys(back, index - 1) | dict.fromkeys(self.parts, index))
            with lap(FUTURE):
                found, cache = _spread(self._ask(backbone, new, layout, seen, cache), cache, encoded.batch // seen.batch)
            new, seen = {}, encoded
            for name in self.parts:
                asked[name].append(found[name])
                frame = self._frame(name, found[name].detach(), chance[name][:, index] if name in chance else None, encoded)
                frames[name].append(frame)
                new[_fed_back(name)] = self._few(name, frame[:, None], encoded)
        result = {name: torch.cat(found, dim=1) for name, found in asked.items()}
        if acts:
            back = [_fed_back(name) for name in self.parts]
            layout = self._cut((*self._given, *back, "action"), dict.fromkeys(back, count - 1))
            with lap(ACTION):
                found, _ = _spread(self._ask(backbone, new, layout, seen, cache), cache, encoded.batch // seen.batch)
            result["action"] = found["action"]
        return result, {name: torch.stack(found, dim=1) for name, found in frames.items()}

    def _drawn(self) -> list[str]:
        """Parts of the future that need noise."""
        return [n for n in self.parts if n in self.detokenize or (self.dimensions.forms[n].discrete and self.config.temperature)]

    @torch.no_grad()
    def _frame(self, name: str, asked: Tensor, noise: Tensor | None, encoded: Encoded) -> Float[Tensor, "batch token channel"]:
        """One future frame from what the trunk gave for it."""
        if self.dimensions.forms[name].discrete:
            return draw_codes(asked, noise, temperature=self.config.temperature)
        if name in self.detokenize:
            asked = self.detokenize[name].draw(asked, noise)
        return asked + (encoded.frame if self.config.video_space == "changes" else 0.0)

    # --- the stream ---------------------------------------------------------------------------------------------------

    def _given_tokens(self, encoded: Encoded) -> dict[str, Tensor]:
        """What was seen, felt and done, each row with a flag for what lies before the episode."""
        frames = torch.cat([encoded.history[:, :-1], encoded.frame[:, None]], dim=1)
        states = torch.cat([encoded.states[:, :-1], encoded.state[:, None]], dim=1)
        given = {"frame": self.resample["view"](frames).flatten(1, 2), "state": _flagged(states, encoded.history_is_pad)}
        if "past" in self._given:
            given["past"] = _flagged(encoded.past_actions, encoded.past_is_pad)
        return given

    def _few(self, name: str, frames: Float[Tensor, "batch time token channel"], encoded: Encoded) -> Float[Tensor, "batch few width"]:
        """Frames fed back, as the rest of the stream reads them."""
        read = encoded.reader.through(name, frames, None)
        return self.resample["view" if name in self.dimensions.in_view else name](read).flatten(1, 2)

    def _origin(self, encoded: Encoded) -> Tensor | float:
        """What predicted frames are measured from."""
        return encoded.frame[:, None] if self.config.video_space == "changes" else 0.0

    def _cut(self, names: Collection[str], at: Mapping[str, int]) -> Layout:
        """The layout of these streams alone; of those in `at`, of one frame alone."""
        streams = []
        for stream in self.layout.streams:
            if stream.name in at:
                size = stream.length // len(self.config.future_offsets)
                stream = replace(stream, positions=stream.positions[at[stream.name] * size:(at[stream.name] + 1) * size])
            if stream.name in names:
                streams.append(stream)
        return Layout(streams=tuple(streams),
                      sees={s.name: tuple(x for x in self.layout.sees[s.name] if x.stream in names) for s in streams})

    def _ask(self, backbone: Backbone, new: dict[str, Tensor], layout: Layout, encoded: Encoded, cache: Cache | None) -> dict[str, Tensor]:
        """What the trunk gives for the queries of `layout`: its outputs, or its hidden states where a head draws the tokens."""
        last = self.dimensions.layers
        tap = Tap([n for n in self.detokenize if n in layout], (last,)) if self.detokenize else None
        found = backbone(new, layout, sigma={}, cache=cache, tap=tap, **encoded.words)
        return found if tap is None else found | {name: states for (name, _), states in tap.states.items()}


def _spread(found: dict[str, Tensor], cache: Cache, count: int) -> tuple[dict[str, Tensor], Cache]:
    """What was run once for every element, as it is for each of `count` candidates."""
    if count == 1:
        return found, cache
    return {name: x.repeat_interleave(count, dim=0) for name, x in found.items()}, cache.repeated(count)


def draw_codes(logits: Float[Tensor, "*lead code"], noise: Float[Tensor, "*lead code"] | None, *, temperature: float,
               ) -> Float[Tensor, "*lead code"]:
    """One-hot codes from softmax(logits / temperature), by the Gumbel trick: argmax of logits / temperature + g.

    g = -log(-log u), u = Phi(noise): standard normal noise decides, so the same noise draws the same codes.
    """
    if noise is not None and temperature > 0:
        uniform = (0.5 * (1 + torch.erf(noise.double() / 2**0.5))).clamp(1e-12, 1 - 1e-12)
        logits = logits.double() / temperature - (-uniform.log()).log()
    return F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(torch.float32)


def _grid(times: Sequence[float], places: Sequence[tuple[float, float]]) -> tuple[tuple[float, float, float], ...]:
    return tuple((time, *place) for time in times for place in places)


def _fed_back(name: str) -> str:
    """The stream of the frames of `name` that are fed back."""
    return f"{name}_back"


def _flagged(values: Float[Tensor, "batch time value"], pad: Tensor | None) -> Float[Tensor, "batch time flagged"]:
    """Values with one more number: 1 where they lie before the episode."""
    flag = values.new_zeros(values.shape[:2]) if pad is None else pad.to(values)
    return torch.cat([values, flag[..., None]], dim=-1)
