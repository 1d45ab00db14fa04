"""The frames of a sequence in which everything is a latent frame: where each lies, what is written into it, what stands beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from foreact.contract.axes import Dimensions
from foreact.contract.errors import ConfigError
from foreact.contract.layout import Position
from foreact.flow.tiling import write

__all__ = ["FrameSequence"]


class FrameSequence:
    """state | action | for each offset: future state, each part of the future | value. Without offsets: state | action.

    Time counts frames, the present image being frame 0. All frames have the channels of the widest; narrower ones are
    filled up with zeros. Plain data: no network, no parameters.
    """

    def __init__(self, dimensions: Dimensions, horizon: int, offsets: tuple[int, ...], written_tokens: int | None, *,
                 changes: bool) -> None:
        self.dimensions, self.offsets = dimensions, offsets
        self.forms = dict(dimensions.forms) if offsets else {}
        view = dimensions.view
        self.present_channels = view.channels
        self.channels = max([view.channels, *(form.channels for form in self.forms.values())])
        self.changes = frozenset(list(self.forms)[:1]) & dimensions.in_view if changes else frozenset()
        written = view.tokens if written_tokens is None else written_tokens
        names = ["state", "action", *(["future state", *self.forms] * len(offsets)), *(["value"] if offsets else [])]
        largest = max(horizon * dimensions.action, dimensions.state)
        if not 0 < written <= view.tokens or largest > written * self.channels:
            raise ConfigError("numbers are written into frames that hold each at least once", where="model.coupling.written_tokens",
                              found=f"{largest} numbers, {written} tokens of {self.channels} channels",
                              accepted=f"{-(-largest // self.channels)} to {view.tokens}", next_step="model.coupling.written_tokens=null")
        positions: list[Position] = []
        self._slices: dict[str, list[slice]] = {}
        for time, name in enumerate(names, start=1):
            own = self.forms[name].positions(float(time)) if name in self.forms else view.positions(float(time))[:written]
            self._slices.setdefault(name, []).append(slice(len(positions), len(positions) + len(own)))
            positions += own
        self.positions = tuple(positions)
        kinds = torch.zeros(len(positions), len(self._slices))
        for kind, slices in enumerate(self._slices.values()):
            for place in slices:
                kinds[place, kind] = 1.0
        self.beside = kinds

    @property
    def shape(self) -> tuple[int, int]:
        """(tokens, channels)."""
        return len(self.positions), self.channels

    def slices(self, name: str) -> list[slice]:
        """The places of the frames of this name, in order."""
        return self._slices[name]

    def slice(self, name: str) -> slice:
        """The places of the one frame of this name."""
        (only,) = self._slices[name]
        return only

    def places(self, names: Collection[str]) -> Bool[Tensor, " tokens"]:
        """Which tokens are of these frames."""
        found = torch.zeros(len(self.positions), dtype=torch.bool)
        for name in names:
            for place in self._slices.get(name, ()):
                found[place] = True
        return found

    def given(self, names: Collection[str], device: torch.device) -> Bool[Tensor, " tokens"]:
        """The condition mask under which these frames are given clean."""
        return self.places(names).to(device)

    def compose(self, numbers: Mapping[str, Tensor], futures: Mapping[str, Tensor], frame: Tensor | None,
                ) -> Float[Tensor, "batch tokens channels"]:
        """The sequence: numbers written, futures laid in; what is not known stays zero. frame: the present, to measure changes from."""
        first = next(iter(numbers.values()))
        whole = first.new_zeros(first.shape[0], *self.shape)
        for name, value in numbers.items():
            values = value.unbind(1) if value.ndim == 3 else (value,)
            for place, one in zip(self._slices[name], values, strict=True):
                whole[:, place] = write(one, place.stop - place.start, self.channels)
        for name, value in futures.items():
            value = value - frame[:, None] if frame is not None and name in self.changes else value
            for place, one in zip(self._slices[name], value.unbind(1), strict=True):
                whole[:, place, : one.shape[-1]] = one
        return whole

    def future(self, name: str, sequence: Tensor, frame: Tensor) -> Float[Tensor, "batch time tokens channels"]:
        """One part of the future out of a sequence."""
        found = torch.stack([sequence[:, place, : self.forms[name].channels] for place in self._slices[name]], dim=1)
        return found + frame[:, None] if name in self.changes else found

    def condition(self, sequence: Tensor, given: Tensor, frame: Tensor) -> Float[Tensor, "batch tokens wide"]:
        """The sequence as the backbone takes it: beside each token the present of its place, whether it is given, and its frame."""
        present = sequence.new_zeros(len(sequence), len(self.positions), self.present_channels)
        for name in self.dimensions.in_view & set(self.forms):
            for place in self._slices[name]:
                present[:, place] = frame.to(sequence)
        kinds = self.beside.to(sequence).expand(len(sequence), -1, -1)
        return torch.cat([sequence, present, given[..., None].to(sequence), kinds], dim=-1)
