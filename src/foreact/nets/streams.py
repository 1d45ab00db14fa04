"""What every backbone over streams shares: attention under a layout, the cache of keys and values, rotations by position."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.contract.axes import Cache
from foreact.contract.layout import Layout, Position
from foreact.flow.rotary import angles
from foreact.nets.blocks import attend

__all__ = ["KeyValueCache", "Rotations", "look"]


class KeyValueCache(Cache):
    """Rotated keys and values by stream and layer."""

    def __init__(self) -> None:
        self.layers: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def forget(self, streams: Iterable[str]) -> None:
        for name in streams:
            self.layers.pop(name, None)


class Rotations:
    """Rotary angles of a stream's positions, made once per device."""

    def __init__(self, head_dim: int) -> None:
        self._head_dim = head_dim
        self._made: dict[tuple[tuple[Position, ...], torch.device], Tensor] = {}

    def __call__(self, positions: tuple[Position, ...], device: torch.device) -> Float[Tensor, "token pairs"]:
        key = (positions, device)
        if key not in self._made:
            self._made[key] = angles(positions, self._head_dim).to(device)
        return self._made[key]


def look(name: str, query: Float[Tensor, "B H N D"], seen: Mapping[str, tuple[Tensor, Tensor]], layout: Layout,
         ) -> Float[Tensor, "B H N D"]:
    """Attention of stream `name` over exactly the tokens that it may see; `seen` holds keys and values by stream."""
    sights = layout.sees[name]
    keys = torch.cat([seen[s.stream][0] for s in sights], dim=2)
    values = torch.cat([seen[s.stream][1] for s in sights], dim=2)
    mask = None
    if any(s.when != "all" for s in sights):
        mask = torch.cat([layout.block(name, s) for s in sights], dim=1).to(query.device)
    return attend(query, keys, values, mask)
