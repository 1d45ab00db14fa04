"""A coupling as plain data: named token streams, who sees whom, what is noised, what each is trained to predict.

The backbone takes streams and a layout and knows nothing else of the coupling, so a coupling is tested without a
network: assert the mask. Noise time follows the house: sigma = 0 is data, sigma = 1 is noise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from foreact.contract.errors import MisfitError

__all__ = ["Layout", "Position", "Sight", "Stream", "Target"]

Target = Literal["velocity", "sample", "noise"]
Position = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One stream of tokens.

    channels: width of a token's raw values, before the expert embeds them.
    condition: further numbers given beside each value and never predicted, as the present frame beside a noised one.
    expert: which expert of the backbone carries this stream.
    positions: one (time, row, column) per token; time in future frames of the substrate, so that streams of different
        rates share one clock (a quarter per action step puts four steps on one latent frame).
    noise: the noise group whose level it shares, or None for a stream that is given clean.
    target: what it is trained to predict, or None for a stream that is only read.
    weight: factor of its loss.
    query: nothing is given for it; learnt tokens stand in its place.
    clock: when each token becomes known, for sights that are limited in time; None where that is its position's time. All
        tokens of one chunk of an autoregressive stream share a reading of the clock, whatever their positions.
    """

    name: str
    channels: int
    expert: str
    positions: tuple[Position, ...]
    noise: str | None = None
    target: Target | None = None
    weight: float = 1.0
    condition: int = 0
    query: bool = False
    clock: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.clock is not None and len(self.clock) != len(self.positions):
            raise MisfitError("a clock has one reading for each token", where=f"layout.{self.name}.clock", found=len(self.clock),
                              accepted=len(self.positions))

    @property
    def length(self) -> int:
        return len(self.positions)


@dataclass(frozen=True)
class Sight:
    """`stream` may be seen: all of it, or only tokens whose clock is not later ("causal"), earlier ("past"), or equal ("same")."""

    stream: str
    when: Literal["all", "causal", "past", "same"] = "all"

    def allows(self, own: Float[Tensor, " query"], other: Float[Tensor, " key"]) -> Bool[Tensor, "query key"]:
        """True where a token whose clock reads `own` may see one of `stream` whose clock reads `other`."""
        match self.when:
            case "all":
                return torch.ones(own.shape[0], other.shape[0], dtype=torch.bool)
            case "causal":
                return other[None, :] <= own[:, None]
            case "past":
                return other[None, :] < own[:, None]
            case "same":
                return other[None, :] == own[:, None]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Streams in order, and for each the sights that it has. A stream sees itself only where `sees` says so.

    holds: frames of a part of the future, of the present ("frame"), or the action, that are only some tokens of a stream: its name, and
        which tokens, frame after frame. A part that is not named has the whole stream of its own name.
    """

    streams: tuple[Stream, ...]
    sees: Mapping[str, tuple[Sight, ...]] = field(default_factory=dict)
    holds: Mapping[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [stream.name for stream in self.streams]
        unknown = {s.stream for sights in self.sees.values() for s in sights} | set(self.sees)
        if len(set(names)) != len(names) or unknown - set(names):
            raise MisfitError("a layout names each stream once and sees only streams that it has", where="layout",
                              found=f"streams {names}, sights of {sorted(unknown)}")

    def __getitem__(self, name: str) -> Stream:
        return next(stream for stream in self.streams if stream.name == name)

    def __contains__(self, name: str) -> bool:
        return any(stream.name == name for stream in self.streams)

    def where(self, part: str) -> tuple[str, tuple[int, ...]] | None:
        """The stream in which the frames of a part lie, and which of its tokens they are; None where there is none."""
        if part in self.holds:
            return self.holds[part]
        return (part, tuple(range(self[part].length))) if part in self else None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(stream.name for stream in self.streams)

    @property
    def tokens(self) -> int:
        return sum(stream.length for stream in self.streams)

    @property
    def noise_groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(s.noise for s in self.streams if s.noise is not None))

    def times(self, name: str) -> Float[Tensor, " tokens"]:
        return torch.tensor([position[0] for position in self[name].positions])

    def clock(self, name: str) -> Float[Tensor, " tokens"]:
        """When each token becomes known: its own clock, or its time."""
        stream = self[name]
        return self.times(name) if stream.clock is None else torch.tensor(stream.clock)

    def only(self, names: Collection[str]) -> Layout:
        """The layout of these streams alone."""
        sees = {name: tuple(s for s in sights if s.stream in names) for name, sights in self.sees.items() if name in names}
        return Layout(streams=tuple(stream for stream in self.streams if stream.name in names), sees=sees)

    def within(self, clocks: Mapping[str, Collection[float] | None]) -> Layout:
        """The layout of these streams alone, and of each only the tokens whose clock is among those given (None: all)."""
        kept = {}
        for name, readings in clocks.items():
            stream = self[name]
            clock = stream.clock or [position[0] for position in stream.positions]
            places = [i for i, at in enumerate(clock) if readings is None or at in readings]
            if places:
                kept[name] = replace(stream, positions=tuple(stream.positions[i] for i in places),
                                     clock=stream.clock and tuple(stream.clock[i] for i in places))
        names = [name for name in self.names if name in kept]
        return Layout(streams=tuple(kept[n] for n in names),
                      sees={n: tuple(s for s in self.sees[n] if s.stream in kept) for n in names if n in self.sees})

    def mask(self) -> Bool[Tensor, "query key"]:
        """True where the query token may see the key token; streams in order on both sides."""
        rows = []
        for query in self.streams:
            cells = []
            for key in self.streams:
                sight = next((s for s in self.sees.get(query.name, ()) if s.stream == key.name), None)
                cells.append(self.block(query.name, sight) if sight else torch.zeros(query.length, key.length, dtype=torch.bool))
            rows.append(torch.cat(cells, dim=1))
        return torch.cat(rows, dim=0)

    def block(self, query: str, sight: Sight) -> Bool[Tensor, "query key"]:
        """The cells of the mask in which `query` looks at `sight.stream`."""
        return sight.allows(self.clock(query), self.clock(sight.stream))

    def rounds(self) -> tuple[tuple[str, ...], ...]:
        """Streams in groups such that each sees only its own group and earlier ones: what a cache may keep.

        A stream's keys and values can be computed without any later group. Streams that see each other share a group.
        """
        reach = {name: {s.stream for s in self.sees.get(name, ())} for name in self.names}
        for _ in self.names:
            reach = {n: seen | {m for s in seen for m in reach[s]} for n, seen in reach.items()}
        left, groups = list(self.names), []
        while left:
            ready = [n for n in left if all(m not in left or n in reach[m] or m == n for m in reach[n])]
            first = ready[0]
            group = tuple(n for n in left if n == first or (n in reach[first] and first in reach[n]))
            groups.append(group)
            left = [n for n in left if n not in group]
        return tuple(groups)
