"""Axis 4: when the model is called, and with what memory."""

from foreact.regimes.adaptive import Adaptive
from foreact.regimes.asynchronous import Asynchronous
from foreact.regimes.chunked import Chunked
from foreact.regimes.ensembled import Ensembled
from foreact.regimes.interactive import Interactive
from foreact.regimes.open_loop import OpenLoop
from foreact.regimes.single_step import SingleStep

__all__ = ["Adaptive", "Asynchronous", "Chunked", "Ensembled", "Interactive", "OpenLoop", "SingleStep"]
