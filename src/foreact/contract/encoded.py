"""What couplings work on and hand back: forms and sizes known beforehand, a window in the model's own units, a proposal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from foreact.contract.context import Candidates
from foreact.contract.layout import Position
from foreact.contract.specs import ActionSpec, ObservationSpec

__all__ = ["Branches", "Dimensions", "Encoded", "Noise", "Proposal", "Reader", "SeededNoise", "SubstrateForm"]


@dataclass(frozen=True, kw_only=True)
class SubstrateForm:
    """The form of one frame in a substrate: tokens of `channels` numbers on a (camera, row, column) grid.

    exposed_channels: numbers per token that the action side reads, where they are not the ones that are predicted (the pixels
        of a decoded patch, say); None for the same.
    discrete: values are one-hot over `channels` codes; they are learnt by cross-entropy and drawn, not denoised.
    """

    grid: tuple[int, int, int]
    channels: int
    exposed_channels: int | None = None
    discrete: bool = False

    @property
    def tokens(self) -> int:
        cameras, rows, columns = self.grid
        return cameras * rows * columns

    @property
    def exposed(self) -> SubstrateForm:
        """The form of what the action side reads."""
        return replace(self, channels=self.exposed_channels or self.channels, exposed_channels=None)

    def positions(self, time: float) -> tuple[Position, ...]:
        """(time, row, column) of each token of one frame; the cameras lie side by side."""
        cameras, rows, columns = self.grid
        return tuple((time, float(row), float(column + camera * columns))
                     for camera in range(cameras) for row in range(rows) for column in range(columns))


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """The sizes that a coupling needs to lay out its streams.

    view: the form in which the present is seen. forms: of each predicted future by stream name; the first is the main one,
    "video". in_view: those that live in the view's own space, so that present and future can be set beside each other or
    subtracted. text: the width of a token of the instruction. hidden: width of a tapped hidden state by expert; layers: how
    many can be tapped. observation, actions: the specs, for heads that reason about cameras and commands. slots: where the entries of
    the action spec stand in an action that many robots share; None where the action is the robot's own.
    """

    view: SubstrateForm
    forms: Mapping[str, SubstrateForm]
    in_view: frozenset[str] = frozenset({"video"})
    state: int
    action: int
    text: int
    hidden: Mapping[str, int] = field(default_factory=dict)
    layers: int = 0
    observation: ObservationSpec | None = None
    actions: ActionSpec | None = None
    slots: tuple[int, ...] | None = None


def _unchanged(name: str, values: Tensor, sigma: Tensor | None) -> Tensor:
    return values


@dataclass(frozen=True)
class Reader:
    """How the action side reads what is imagined. Every coupling reads through it, so that a diagnosis can stand between.

    through: (name, values, sigma): the values that action may use in place of `values`; identity but for a diagnosis. The name
        is a stream's, with its noise level where it is noised, or "tap" for hidden states.
    expose: (name, clean values): what the substrate shows of them to the action side.
    """

    through: Callable[[str, Tensor, Tensor | None], Tensor] = _unchanged
    expose: Callable[[str, Tensor], Tensor] = lambda name, values: values

    def over(self, count: int) -> Reader:
        """The reader of rows in groups of `count` candidates: `through` is given one candidate of every element at a time."""
        if self.through is _unchanged:
            return self

        def through(name: str, values: Tensor, sigma: Tensor | None) -> Tensor:
            read = [self.through(name, values[i::count], None if sigma is None else sigma[i::count]) for i in range(count)]
            return torch.stack(read, dim=1).flatten(0, 1)

        return replace(self, through=through)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A window in the model's own units: what couplings work on.

    frame: the present in the view; history: the frames up to it, oldest first (the last is `frame`). state: normalised, states:
    over the history. past_actions: executed before the present, newest last. raw_state: the present in the robot's units.
    bounds: the lowest and the highest action that the robot accepts, in the model's units. action_mask, state_mask: the entries that
    the robot has, where many robots share one vector; the others are zero and no loss counts them.
    committed, commitment: actions that the plan is held to, and how much; None where it is free.
    In training only: future, s by stream name at the coupling's offsets; actions, what the demonstrator chose; executed, what
    was carried out (the same but where noise was added); value, the return from here; has_action, False for rows of video
    without actions; imitated, False for rows of an episode that failed, from which values are learnt and actions are not.
    visual_state: features of the present that experts look at by cross-attention, where the model has them. Pads mark entries before
    the start or past the end of the episode, which no loss may count.
    single: where each element stands several times in a row, so that several candidates are drawn of it, each element once.
    """

    frame: Float[Tensor, "batch tokens channels"]
    history: Float[Tensor, "batch past_time tokens channels"]
    state: Float[Tensor, "batch state"]
    states: Float[Tensor, "batch past_time state"]
    text: Float[Tensor, "batch words width"]
    text_mask: Bool[Tensor, "batch words"]
    raw_state: Float[Tensor, "batch own_state"]
    history_is_pad: Bool[Tensor, "batch past_time"] | None = None
    past_actions: Float[Tensor, "batch past action"] | None = None
    past_is_pad: Bool[Tensor, "batch past"] | None = None
    committed: Float[Tensor, "batch horizon action"] | None = None
    commitment: Float[Tensor, "batch horizon 1"] | None = None
    bounds: Float[Tensor, "batch 2 action"] | None = None
    action_mask: Bool[Tensor, "batch action"] | None = None
    state_mask: Bool[Tensor, "batch state"] | None = None
    future: Mapping[str, Float[Tensor, "batch time _ _"]] = field(default_factory=dict)
    future_state: Float[Tensor, "batch time state"] | None = None
    future_is_pad: Bool[Tensor, "batch time"] | None = None
    actions: Float[Tensor, "batch horizon action"] | None = None
    executed: Float[Tensor, "batch horizon action"] | None = None
    action_is_pad: Bool[Tensor, "batch horizon"] | None = None
    has_action: Bool[Tensor, " batch"] | None = None
    value: Float[Tensor, " batch"] | None = None
    imitated: Bool[Tensor, " batch"] | None = None
    visual_state: Float[Tensor, "batch places features"] | None = None
    reader: Reader = field(default_factory=Reader)
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    single: Encoded | None = None

    @property
    def batch(self) -> int:
        return self.state.shape[0]

    @property
    def copies(self) -> int:
        """Rows stand in groups of so many, which differ in nothing but the noise that is drawn for them."""
        return self.batch // self.one_of_each().batch

    def one_of_each(self) -> Encoded:
        """Every element once: for what does not depend on noise, and so need not be computed for each candidate."""
        return self if self.single is None else self.single

    def spread(self, once: Mapping[Any, Tensor]) -> dict[Any, Tensor]:
        """What was computed of `one_of_each`, as it is for every candidate."""
        return dict(once) if self.copies == 1 else {name: x.repeat_interleave(self.copies, dim=0) for name, x in once.items()}

    def repeated(self, count: int) -> Encoded:
        """Each element `count` times in a row: (b0, b0, ..., b1, b1, ...). What stands in the reader meets one candidate at a time."""
        if count == 1:
            return self

        def grown(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.repeat_interleave(count, dim=0)
            return {name: grown(each) for name, each in value.items()} if isinstance(value, Mapping) else value

        changed = {f.name: grown(getattr(self, f.name)) for f in fields(self) if f.name not in ("reader", "single")}
        return replace(self, **changed, reader=self.reader.over(count), single=self)

    @property
    def known_actions(self) -> Bool[Tensor, "batch horizon"]:
        """The actions that count: inside the episode, and of a row that has them and is an example to follow."""
        known = ~self.action_is_pad
        for rows in (self.has_action, self.imitated):
            known = known if rows is None else known & rows[:, None]
        return known

    def held(self, actions: Float[Tensor, "batch horizon action"]) -> Float[Tensor, "batch horizon action"]:
        """Actions with zero in the entries that the robot lacks: so they enter a network, noised or sampled."""
        return actions if self.action_mask is None else actions * self.action_mask[:, None]

    @property
    def words(self) -> dict[str, Tensor]:
        """The instruction as every backbone takes it, with the visual state where there is one."""
        words = {"text": self.text, "text_mask": self.text_mask}
        return words if self.visual_state is None else words | {"visual": self.visual_state}


class Noise(Protocol):
    """Where sampling gets its randomness: `noise("video", (96, 48))` gives (batch, 96, 48)."""

    def __call__(self, name: str, shape: tuple[int, ...]) -> Tensor: ...


class SeededNoise:
    """Noise of each batch element from its own seed, so that what shares its batch never changes a result."""

    def __init__(self, seeds: Iterable[int], device: torch.device | str = "cpu") -> None:
        self._seeds, self._device = tuple(seeds), device

    def __call__(self, name: str, shape: tuple[int, ...]) -> Tensor:
        rows = []
        for seed in self._seeds:
            words = np.random.SeedSequence([seed, *name.encode()]).generate_state(2)
            g = torch.Generator().manual_seed(int(words[0]) << 31 ^ int(words[1]))
            rows.append(torch.randn(shape, generator=g))
        return torch.stack(rows).to(self._device)


class Branches:
    """Noise of `count` candidates of each batch element, in groups: the first has the noise of a plan without candidates, the others
    draw under names of their own, so the candidates of a smaller count are the first of a larger one."""

    def __init__(self, noise: Noise, count: int) -> None:
        self._noise, self._count = noise, count
        self.asked = False
        """Whether anything was drawn."""

    def __call__(self, name: str, shape: tuple[int, ...]) -> Tensor:
        self.asked = True
        names = [name, *(f"{name} of candidate {i}" for i in range(1, self._count))]
        return torch.stack([self._noise(each, shape) for each in names], dim=1).flatten(0, 1)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a coupling samples, in the model's own units: the plan before it is given back its units.

    future: by stream name, the main one first; empty where nothing was imagined. candidates: the evidence of a selection,
    actions in the model's units too.
    """

    actions: Float[Tensor, "batch horizon action"]
    future: Mapping[str, Float[Tensor, "batch time _ _"]] = field(default_factory=dict)
    value: Float[Tensor, " batch"] | None = None
    candidates: Candidates | None = None
