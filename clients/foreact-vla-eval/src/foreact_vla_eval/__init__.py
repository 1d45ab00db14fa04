"""World Action Models of foreact for vla-eval's benchmarks."""

from foreact_vla_eval.server import ForeactModelServer

__all__ = ["ForeactModelServer"]
