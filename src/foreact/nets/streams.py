"""What every backbone over streams shares: attention under a layout, the cache of keys and values, rotations by position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.contract.axes import Cache, RollingCache
from foreact.contract.layout import Layout, Position, Stream
from foreact.flow.rotary import Rotary, angles, house, rotate, waves
from foreact.nets.attention import Whose, attend

__all__ = ["KeyValueCache", "Rotations", "look"]


class KeyValueCache(RollingCache):
    """Rotated keys and values by stream and layer.

    Rotations compose, R(a) R(b) = R(a + b), so a key that was turned to its time then is turned on to its time now: positions stay
    small and relative however long an episode is, and each key is turned only as often as it is held.
    """

    def __init__(self) -> None:
        self.layers: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def forget(self, streams: Iterable[str]) -> None:
        for name in streams:
            self.layers.pop(name, None)

    @property
    def tokens(self) -> int:
        return sum(layers[0][0].shape[2] for layers in self.layers.values())

    def append(self, newer: Cache, *, by: float = 0.0, keep: Mapping[str, int] | None = None) -> None:
        assert isinstance(newer, KeyValueCache)
        if by:
            self.layers = {name: [(_turned(k, -by), v) for k, v in layers] for name, layers in self.layers.items()}
        for name, layers in newer.layers.items():
            held = self.layers.get(name)
            self.layers[name] = list(layers) if held is None else [
                (torch.cat([a, c], dim=2), torch.cat([b, d], dim=2)) for (a, b), (c, d) in zip(held, layers, strict=True)]
        for name, count in (keep or {}).items():
            if name in self.layers:
                first = max(self.layers[name][0][0].shape[2] - count, 0)
                self.layers[name] = [(k[:, :, first:], v[:, :, first:]) for k, v in self.layers[name]]

    def repeated(self, count: int) -> KeyValueCache:
        copy = KeyValueCache()
        if count == 1:
            copy.layers = {name: list(layers) for name, layers in self.layers.items()}
            return copy
        copy.layers = {name: [(k.repeat_interleave(count, dim=0), v.repeat_interleave(count, dim=0)) for k, v in layers]
                       for name, layers in self.layers.items()}
        return copy


def _turned(keys: Float[Tensor, "B H N D"], time: float) -> Float[Tensor, "B H N D"]:
    """Keys moved by `time` along the clock."""
    angle = angles(((time, 0.0, 0.0),), house(keys.shape[-1])).to(keys.device)
    return rotate(keys, angle.expand(keys.shape[2], -1))


class Rotations:
    """Rotary waves of a stream's positions, as `turn` takes them, made once per device."""

    def __init__(self, rotary: Rotary) -> None:
        self._rotary = rotary
        self._made: dict[tuple[tuple[Position, ...], torch.device], Tensor] = {}

    def __call__(self, positions: tuple[Position, ...], device: torch.device) -> Float[Tensor, "token 2 dim"]:
        key = (positions, device)
        if key not in self._made:
            self._made[key] = waves(angles(positions, self._rotary), adjacent=self._rotary.adjacent).to(device)
        return self._made[key]


def look(name: str, query: Float[Tensor, "B H N D"], seen: Mapping[str, tuple[Tensor, Tensor]], layout: Layout,
         layer: int, places: Callable[[Stream], tuple[Position, ...]] | None = None) -> Float[Tensor, "B H N D"]:
    """Attention of stream `name` over exactly the tokens that it may see; `seen` holds keys and values by stream.

    layer: from 0. places: where the tokens are that were made of a stream; None for the stream's own. Both are for those who listen.
    """
    sights = layout.sees[name]
    keys = torch.cat([seen[s.stream][0] for s in sights], dim=2)
    values = torch.cat([seen[s.stream][1] for s in sights], dim=2)
    mask = None
    if any(s.when != "all" for s in sights):
        mask = torch.cat([layout.block(name, s) for s in sights], dim=1).to(query.device)

    def whose() -> Whose:
        made = {} if places is None else {s.stream: places(layout[s.stream]) for s in sights}
        return Whose(layer + 1, ((name, query.shape[2]),), tuple((s.stream, seen[s.stream][0].shape[2]) for s in sights),
                     {stream: where for stream, where in made.items() if where != layout[stream].positions})

    return attend(query, keys, values, mask, whose)
