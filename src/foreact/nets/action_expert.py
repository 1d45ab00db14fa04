"""A small action expert that reads what was predicted: a flow-matched denoiser of the chunk with a clean-sample target.

    L_a = E || q_psi(a_sigma, sigma, s_hat, c) - a_0 ||^2,    a_sigma = (1 - sigma) a_0 + sigma a_1

Its tokens are stretches of the chunk. In every layer they look at each other, then across at what conditions them: the
tokens of the predicted future or of the predictor's hidden states, of the present, of the state and of the instruction, the present and
the instruction only where asked for. Bridged, each
layer looks at the hidden states of one layer of the predictor, in order (AGRA's multi-level predictive bridge); one tapped layer then
feeds them all (its BridgeL8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from foreact.contract.axes import Noise, SubstrateForm
from foreact.contract.errors import ConfigError, MisfitError
from foreact.flow.inpainting import towards
from foreact.flow.masking import entry_mean, masked_mean
from foreact.flow.rotary import house, turn
from foreact.flow.samplers import Levels, Solver, State, integrate
from foreact.flow.schedules import SigmaDensity, draw_sigma, sigmas
from foreact.flow.targets import interpolate, to_velocity
from foreact.nets.attention import Whose, attend
from foreact.nets.blocks import CrossAttention, FeedForward, SigmaEmbedding, join_heads, modulate, split_heads, unit
from foreact.nets.head import Head, Readable, Reading
from foreact.nets.resampler import POOLED, Resampler
from foreact.nets.streams import Rotations

__all__ = ["ActionExpert"]


class _Layer(nn.Module):
    """Self-attention, cross-attention to the conditions, feed-forward; `table` shifts the noise level's modulation."""

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.query_norm, self.key_norm = (nn.Parameter(torch.ones(width // heads)) for _ in range(2))
        self.out = nn.Linear(width, width)
        self.condition_norm = nn.LayerNorm(width)
        self.condition = CrossAttention(width, width, heads)
        self.feed_forward = FeedForward(width, expansion * width)
        self.table = nn.Parameter(torch.zeros(6, width))

    def forward(self, x: Tensor, modulation: Tensor, waved: Tensor, conditions: Tensor, mask: Tensor, whose: Callable[[], Whose]) -> Tensor:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = (modulation + self.table).unbind(-2)
        q, k, v = (split_heads(t, self.heads) for t in self.query_key_value(modulate(x, scale, shift)).chunk(3, dim=-1))
        q, k = turn(unit(q, self.query_norm), waved), turn(unit(k, self.key_norm), waved)
        x = x + (1 + gate) * self.out(join_heads(attend(q, k, v)))
        x = x + self.condition(self.condition_norm(x), conditions, mask, whose)
        return x + (1 + gate_mlp) * self.feed_forward(modulate(x, scale_mlp, shift_mlp))


class ActionExpert(Head):
    """Gives the clean chunk for a noised one."""

    learns_from_actions = True
    inpaints = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Head.Config):
        """`steps_per_token` control steps share a token; `expansion` is the feed-forward's hidden size over the width.

        sees_present: whether it looks at the present frame beside what was predicted. sees_text: at the instruction. Without both, the
            robot's state and what was predicted are all that it knows.
        bridged: each layer looks at one level of the tapped hidden states, in order and spread evenly, and not at all of them.
        resampler: how hidden states of the predictor are pooled to a few tokens, all that were tapped together; None: not at all.
        """

        width: int = 128
        depth: int = 4
        heads: int = 4
        expansion: int = 4
        steps_per_token: int = 4
        sees_present: bool = True
        sees_text: bool = True
        bridged: bool = False
        resampler: Resampler.Config | None = None
        density: SigmaDensity = "uniform"
        shift: float = 1.0
        steps: int = 4
        solver: Solver = "euler"

        def __post_init__(self) -> None:
            if self.width % self.heads or (self.width // self.heads) % 2:
                raise ConfigError("the width does not divide into heads of even size", where="model.coupling.head.heads",
                                  found=f"width = {self.width}, heads = {self.heads}", accepted="width / heads even")
            if self.steps < 1:
                raise ConfigError("steps must be at least 1", where="model.coupling.head.steps", found=self.steps)

        def without_future(self) -> ActionExpert.Config:
            return replace(self, sees_present=True, sees_text=True, bridged=False, resampler=None)

    def __init__(self, config: Config, readable: Readable) -> None:
        if readable.horizon < 1 or readable.horizon % config.steps_per_token:
            raise ConfigError("the horizon must be a multiple of the head's steps per token", where="model.coupling.horizon",
                              found=f"horizon = {readable.horizon}, head.steps_per_token = {config.steps_per_token}")
        super().__init__()
        self.config, self.readable = config, readable
        width, dimensions = config.width, readable.dimensions
        chunk = config.steps_per_token * dimensions.action
        self.embed, self.unembed = nn.Linear(chunk, width), nn.Linear(width, chunk)
        self.state = nn.Linear(dimensions.state, width)
        self.text = nn.Linear(dimensions.text, width) if config.sees_text else None
        seen = {"present": (1, dimensions.view.tokens, dimensions.view.channels)} if config.sees_present else {}
        seen |= {name: (len(readable.offsets), form.tokens, form.channels) for name, form in readable.futures.items()}
        self.pool, self.levels = None, 1
        if config.bridged and (readable.taps is None or config.resampler is not None):
            raise MisfitError("a bridge joins layers of hidden states to layers of the head", where="model.coupling.head.bridged",
                              found="no hidden states" if readable.taps is None else "a resampler, which pools all layers together",
                              accepted="reads=taps and no resampler",
                              next_step="model.coupling.reads=taps model.coupling.head.resampler=null")
        if readable.taps is not None:
            tokens, channels = readable.taps
            if config.bridged:
                self.levels = readable.levels
                tokens = tokens // self.levels
            if config.resampler is not None:
                self.pool = config.resampler.build(SubstrateForm(grid=(1, 1, tokens), channels=channels))
                tokens, channels = config.resampler.tokens, config.resampler.width
            seen["tap"] = (self.levels, tokens, channels)
        self.vision = nn.ModuleDict({name: nn.Linear(channels, width) for name, (_, _, channels) in seen.items()})
        self.place = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(tokens, width)) for name, (_, tokens, _) in seen.items()})
        self.time = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(times, 1, width)) for name, (times, _, _) in seen.items()})
        self.sigma = SigmaEmbedding(width)
        self.modulation, self.final = nn.Linear(width, 6 * width), nn.Linear(width, 2 * width)
        self.condition_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(_Layer(width, config.heads, config.expansion) for _ in range(config.depth))
        for layer in (self.modulation, self.final, self.unembed):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self._rotations = Rotations(house(width // config.heads))
        self._tapped = readable.tapped if config.bridged else readable.levels * readable.tapped
        self._positions = tuple((float(i), 0.0, 0.0) for i in range(readable.horizon // config.steps_per_token))

    def loss(self, reading: Reading, actions: Float[Tensor, "batch horizon action"], known: Bool[Tensor, "batch horizon"], *,
             generator: torch.Generator) -> Tensor:
        sigma = draw_sigma(len(actions), generator, density=self.config.density, shift=self.config.shift).to(actions.device)
        noise = torch.randn(actions.shape, generator=generator).to(actions.device)
        noised = reading.context.held(interpolate(actions, noise, sigma))
        square = (self(noised, sigma, self._conditions(reading)) - actions).square()
        return masked_mean(entry_mean(square, reading.context.action_mask), known)

    def act(self, reading: Reading, *, noise: Noise) -> Float[Tensor, "batch horizon action"]:
        conditions = self._conditions(reading)

        def velocity(x: State, sigma: Levels) -> dict[str, Tensor]:
            level = sigma["action"].expand(reading.context.batch).to(reading.context.frame)
            predicted = self(reading.context.held(x["action"]), level, conditions)
            return {"action": to_velocity("sample", predicted, x["action"], level)}

        velocity = towards(velocity, "action", reading.context.committed, reading.context.commitment)
        start = {"action": noise("action", (self.readable.horizon, self.readable.dimensions.action))}
        return integrate(velocity, start, sigmas(self.config.steps, shift=self.config.shift), solver=self.config.solver)["action"]

    def forward(self, actions: Float[Tensor, "batch horizon action"], sigma: Float[Tensor, " batch"],
                conditions: Sequence[tuple[Float[Tensor, "batch condition width"], Bool[Tensor, "batch condition"]]],
                ) -> Float[Tensor, "batch horizon action"]:
        """conditions: tokens with a mask of the real ones, for each level, lowest first; the layers share them out in order."""
        level = self.sigma(sigma)
        modulation = self.modulation(level).unflatten(-1, (6, -1))[:, None]
        x = self.embed(actions.unflatten(1, (-1, self.config.steps_per_token)).flatten(2))
        waved = self._rotations(self._positions, actions.device)
        for index, layer in enumerate(self.layers):
            tokens, real = conditions[index * len(conditions) // len(self.layers)]
            x = layer(x, modulation, waved, tokens, real, partial(self._whose, index + 1, x.shape[1], tokens.shape[1]))
        shift, scale = self.final(level)[:, None].chunk(2, dim=-1)
        return self.unembed(modulate(x, scale, shift)).float().reshape(actions.shape)

    def _conditions(self, reading: Reading) -> list[tuple[Tensor, Tensor]]:
        """All that the action is conditioned on, by level, as tokens with a mask of the real ones."""
        context = reading.context
        seen: Mapping[str, Tensor] = {"present": context.frame[:, None], **reading.futures}
        if reading.taps is not None:
            taps = reading.taps.unflatten(1, (self.levels, -1))
            seen = {**seen, "tap": taps if self.pool is None else self.pool(taps, self._tapped)}
        vision = {n: self.vision[n](seen[n].to(context.frame.dtype)) + self.place[n] + self.time[n] for n in self.vision}
        words = context.text_mask if self.text is not None else context.text_mask[:, :0]
        shared = [self.state(context.state)[:, None], *([] if self.text is None else [self.text(context.text)])]
        found = []
        for index in range(self.levels):
            shown = [x[:, index] if n == "tap" else x.flatten(1, 2) for n, x in vision.items()]
            tokens = torch.cat([*shown, *shared], dim=1)
            real = words.new_ones(context.batch, tokens.shape[1] - words.shape[1])
            found.append((self.condition_norm(tokens), torch.cat([real, words], dim=1)))
        return found

    def _whose(self, layer: int, asking: int, conditions: int) -> Whose:
        """So many tokens of the chunk look at so many conditions, in the order in which `_conditions` lays them out."""
        readable, dimensions = self.readable, self.readable.dimensions
        spans: list[tuple[str, int]] = [("frame", dimensions.view.tokens)] if "present" in self.vision else []
        spans += [(name, len(readable.offsets) * form.tokens) for name, form in readable.futures.items()]
        if self.pool is not None:
            spans.append((POOLED, len(self.place["tap"])))
        elif readable.taps is not None:
            spans += self._tapped
        spans.append(("state", 1))
        return Whose(layer, (("action", asking),), (*spans, ("text", conditions - sum(count for _, count in spans))))
