"""A layout as one sequence behind the words of the instruction: where its tokens stand, and who sees whom."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from foreact.contract.layout import Layout, Position

__all__ = ["places", "sight", "whole_mask"]


def places(layout: Layout, count: int, *, words: str) -> dict[str, tuple[Position, ...]]:
    """(time, row, column) of each token: word i at (i, i, i), streams from (count, count, count) on, counted from their earliest time."""
    start = min(position[0] for stream in layout.streams for position in stream.positions)
    found = {s.name: tuple((count + t - start, count + r, count + c) for t, r, c in s.positions) for s in layout.streams}
    return {words: tuple((float(i),) * 3 for i in range(count))} | found


def sight(layout: Layout, name: str, text_mask: Bool[Tensor, "batch words"], *, words: str, causal: bool,
          ) -> tuple[tuple[str, ...], Bool[Tensor, "batch 1 query key"]]:
    """What `name` looks at, the words first, and which cells of it are open. causal: nothing later in the sequence."""
    real = text_mask[:, None, None, :]
    if name == words:
        count = text_mask.shape[1]
        open_ = torch.ones(count, count, dtype=torch.bool, device=text_mask.device)
        return (words,), real & (open_.tril() if causal else open_)
    length, order = layout[name].length, layout.names
    blocks, names = [real.expand(-1, 1, length, -1)], [words]
    for other in layout.sees.get(name, ()):
        block = layout.block(name, other)
        if causal and other.stream == name:
            block = block.tril()
        elif causal and order.index(other.stream) > order.index(name):
            continue
        names.append(other.stream)
        blocks.append(block.to(text_mask.device).expand(len(text_mask), 1, -1, -1))
    return tuple(names), torch.cat(blocks, dim=-1)


def whole_mask(layout: Layout, text_mask: Bool[Tensor, "batch words"], *, causal: bool) -> Bool[Tensor, "batch 1 all all"]:
    """The same as one square: words and then all streams in the layout's order, on both sides."""
    words, rows = "", []
    names = (words, *layout.names)
    length = {words: text_mask.shape[1]} | {s.name: s.length for s in layout.streams}
    for name in names:
        seen, mask = sight(layout, name, text_mask, words=words, causal=causal)
        found = dict(zip(seen, mask.split([length[n] for n in seen], dim=-1), strict=True))
        closed = torch.zeros(len(text_mask), 1, length[name], max(length.values()), dtype=torch.bool, device=text_mask.device)
        rows.append(torch.cat([found.get(n, closed[..., : length[n]]) for n in names], dim=-1))
    return torch.cat(rows, dim=-2)
