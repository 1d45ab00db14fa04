"""Optimiser steps at matched size, beside openwam's trainer: who takes part, and what is made of their times."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.peers import policy
from benchmarks.peers.contestants import Contestant, Entry, alternate, compared, spread
from benchmarks.peers.environments import python_of

__all__ = ["SIZE", "run"]

ROOT = Path(__file__).parents[2]
SIZE = {**policy.SIZE, "batch": 4, "learning_rate": 1e-4, "clip": 1.0}
LONGER = {"future_frames": 5, "horizon": 96}
"""With these a window of ours has as many tokens as openwam's trainer makes of the matched one: there, a clean copy lies beside what is
noised."""

PAIRS = (("foreact, joint", "openwam 0.2.0, joint", None), ("foreact, joint with as many tokens", "openwam 0.2.0, joint", None))


def run(envs: Path, *, rounds: int, seconds: float, log: Path) -> dict[str, Any]:
    """Every contestant in turn, round after round."""
    with ExitStack() as stack:
        ours = stack.enter_context(Contestant("training_foreact", Path(sys.executable), threads=SIZE["threads"], path=(ROOT, ROOT / "src"),
                                              log=log / "training_foreact.log"))
        openwam = stack.enter_context(Contestant("training_openwam", python_of(envs, "openwam"), threads=SIZE["threads"],
                                                 log=log / "training_openwam.log"))
        entries = [Entry("foreact", "joint", ours), Entry("openwam 0.2.0", "joint", openwam),
                   Entry("foreact", "joint with as many tokens", ours)]
        return summary(alternate(entries, {**SIZE, "longer": LONGER}, rounds=rounds, seconds=seconds))


def summary(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Steps a second of each, and ratios of these rates taken round by round."""
    rows = []
    for name, one in found.items():
        rate = spread([1 / value for value in one["cpu"]])
        rows.append({"who": name, "parameters": one["parameters"], "tokens_a_window": one["tokens"], "steps_a_cpu_second": rate["median"],
                     "least": rate["least"], "greatest": rate["greatest"],
                     "steps_a_wall_second": float(f"{1 / statistics.median(one['wall']):.4g}")})
    return {"size": SIZE, "steps": rows, "ratios": compared(found, PAIRS, rates=True)}
