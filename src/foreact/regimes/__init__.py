"""Axis 4: when the model is called, and with what memory."""

from foreact.regimes.chunked import Chunked
from foreact.regimes.open_loop import OpenLoop

__all__ = ["Chunked", "OpenLoop"]
