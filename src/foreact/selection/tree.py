"""Best-first search over action segments: a chunk is a path through a tree whose nodes choose one segment each.

A node fixes the first d segments; the rest follows the nominal chunk, so every node is a whole chunk and has a score. The rule:
in each expansion, every episode opens its unopened node of the highest score (the first of equals) and scores the children, one
for each option of the next segment. The best node of all is chosen. With enough expansions this is exhaustive.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.selection.candidates import Box, Score, Selection, take_best

__all__ = ["best_first"]


def best_first(score: Score, nominal: Float[Tensor, "B H A"], options: Float[Tensor, "B depth branch segment A"], box: Box, *,
               expansions: int) -> Selection:
    """`options`: the segments to choose from at each depth; depth * segment = H."""
    batch, depth, branch, segment, _ = options.shape
    if depth * segment != nominal.shape[1]:
        raise ValueError(f"{depth} segments of {segment} steps do not make a chunk of {nominal.shape[1]}")
    rows = torch.arange(batch, device=nominal.device)
    chunks = box.clip(nominal[:, None])
    options = box.clip(options.flatten(1, 2)).unflatten(1, (depth, branch))
    scores, fixed = score(chunks), torch.zeros(batch, 1, dtype=torch.long, device=nominal.device)
    opened = torch.zeros_like(fixed, dtype=torch.bool)
    inner = sum(branch**d for d in range(depth))
    for _ in range(min(expansions, inner)):
        # every tree has the same shape, so no episode runs out of nodes before the others
        node = scores.masked_fill(opened | (fixed == depth), -torch.inf).argmax(dim=1)
        opened[rows, node] = True
        level = fixed[rows, node]
        children = chunks[rows, node][:, None].repeat(1, branch, 1, 1).unflatten(2, (depth, segment))
        children[rows, :, level] = options[rows, level]
        children = children.flatten(2, 3)
        chunks, scores = torch.cat([chunks, children], dim=1), torch.cat([scores, score(children)], dim=1)
        fixed = torch.cat([fixed, (level + 1)[:, None].expand(-1, branch)], dim=1)
        opened = torch.cat([opened, opened.new_zeros(batch, branch)], dim=1)
    return take_best(chunks, scores)
