"""What is compiled of a network: the blocks that it repeats, not the loop around them.

The loop knows layouts, caches and listeners, and would be compiled anew for each; a block knows tensors alone. So a block is compiled once
for all layers, whatever the depth, and who listens between layers still does.
"""

from __future__ import annotations

from typing import ClassVar

from torch import nn

__all__ = ["Region"]


class Region(nn.Module):
    """A block that a network repeats. compiles: its methods that take and give tensors alone."""

    compiles: ClassVar[tuple[str, ...]]
