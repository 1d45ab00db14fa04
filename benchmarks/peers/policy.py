"""The policy call at matched size: who takes part, and what is made of their times."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.peers.contestants import Contestant, Entry, alternate, compared, spread
from benchmarks.peers.environments import python_of

__all__ = ["SIZE", "run"]

ROOT = Path(__file__).parents[2]
SIZE = {
    "hidden": 256, "layers": 4, "heads": 2, "feed_forward": 1024, "frame_tokens": 32, "future_frames": 2, "channels": 192, "horizon": 48,
    "action": 7, "state": 8, "text_tokens": 512, "text_width": 256, "steps": 10, "threads": 1, "batch": 1, "train_steps": 1,
}
"""96 tokens of video, of which 32 are the present, and 48 of action. Two heads of 128: both peers' own head size, and openwam's rotary
embedding takes no head of 64. Text of 256 numbers a token, where their encoders give 4096, is what suits the peers: both embed all of
it anew at every step."""

PAIRS = (
    ("foreact, joint", "openwam 0.2.0, joint", 1 / 3), ("foreact, joint", "LeRobot 0.6.1 FastWAM core, joint", None),
    ("foreact, action-only", "LeRobot 0.6.1 FastWAM core, action-only", 1 / 2), ("foreact, joint", "foreact, joint products", 1.5),
    ("foreact, action-only", "foreact, action-only products", 1.5), ("foreact, joint", "foreact, joint products in cache", None),
)
"""Whose time over whose, and the most that is aimed at."""


def run(envs: Path, *, rounds: int, seconds: float, log: Path) -> dict[str, Any]:
    """Every contestant in turn, round after round."""
    with ExitStack() as stack:
        def start(worker: str, python: Path, path: tuple[Path, ...] = ()) -> Contestant:
            return stack.enter_context(Contestant(worker, python, threads=SIZE["threads"], path=path, log=log / f"{worker}.log"))

        ours = start("policy_foreact", Path(sys.executable), (ROOT, ROOT / "src"))
        openwam = start("policy_openwam", python_of(envs, "openwam"))
        fastwam = start("policy_fastwam", python_of(envs, "fastwam"))
        entries = [Entry("foreact", "joint", ours), Entry("openwam 0.2.0", "joint", openwam),
                   Entry("LeRobot 0.6.1 FastWAM core", "joint", fastwam), Entry("foreact", "joint products", ours),
                   Entry("foreact", "joint products in cache", ours), Entry("foreact", "one way", ours),
                   Entry("openwam 0.2.0", "video then action", openwam), Entry("foreact", "action-only", ours),
                   Entry("LeRobot 0.6.1 FastWAM core", "action-only", fastwam), Entry("foreact", "action-only products", ours)]
        return summary(alternate(entries, SIZE, rounds=rounds, seconds=seconds))


def summary(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Milliseconds of each, and ratios of pairs taken round by round."""
    rows = []
    for name, one in found.items():
        cpu = spread([1e3 * value for value in one["cpu"]])
        rows.append({"who": name, "parameters": one["parameters"], "cpu_ms": cpu["median"], "least": cpu["least"],
                     "greatest": cpu["greatest"], "wall_ms": float(f"{1e3 * statistics.median(one['wall']):.4g}")})
    return {"size": SIZE, "calls": rows, "ratios": compared(found, PAIRS)}
