"""Windows of a dataset in random order, beside LeRobot's own loader on the same files: who takes part, and what is made of their times."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.peers.contestants import Contestant, Entry, alternate, compared, spread
from benchmarks.peers.environments import python_of, variables_of

__all__ = ["SIZE", "run"]

ROOT = Path(__file__).parents[2]
SIZE = {"history": [0], "future": [8, 16], "horizon": 16, "batch": 16, "threads": 1}
"""Control steps: the present and two frames after it from every camera, and the actions from the present on."""

CHECKED = [0, 7, 50, 200, 333]
"""Windows that all must give alike, near the end of an episode too."""

LEROBOT = "LeRobot 0.4.4, torchcodec"
PAIRS = (("foreact, decoding", LEROBOT, 3), ("foreact, frame store", LEROBOT, 3))


def run(envs: Path, *, rounds: int, seconds: float, log: Path, demonstrations: Path | None = None) -> dict[str, Any]:
    """Every contestant in turn, round after round. demonstrations: what `foreact collect` wrote; collected where None is given."""
    folder = demonstrations or envs / "demonstrations"
    if not (folder / "meta" / "info.json").exists():
        collect(folder)
    with ExitStack() as stack:
        cache = stack.enter_context(TemporaryDirectory())
        ours = stack.enter_context(Contestant("loader_foreact", Path(sys.executable), threads=SIZE["threads"], path=(ROOT, ROOT / "src"),
                                              log=log / "loader_foreact.log"))
        theirs = stack.enter_context(Contestant("loader_lerobot", python_of(envs, "loader"), threads=SIZE["threads"],
                                                log=log / "loader_lerobot.log", variables=variables_of(envs, "loader")))
        entries = [Entry("foreact", "decoding", ours), Entry("foreact", "frame store", ours), Entry("LeRobot 0.4.4", "torchcodec", theirs)]
        where = {"dataset": str(folder.resolve()), "cache": cache, "checked": CHECKED}
        found = alternate(entries, {**SIZE, **where}, rounds=rounds, seconds=seconds)
    check(found)
    return summary(found)


def collect(folder: Path) -> None:
    """Ten demonstrations of one task."""
    command = ["-m", "foreact", "collect", "--tasks", "drawer-open", "--out", folder, "--workers", "1", "episodes=10"]
    subprocess.run([sys.executable, *command], check=True)


def check(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `RuntimeError` where the windows that came out differ: pictures by more than conversions of colour do, or actions at all."""
    first = found[LEROBOT]
    for name, one in found.items():
        for what, allowed in (("pictures", 0.01), ("actions", 1e-6)):
            off = max(abs(a - b) for a, b in zip(one[what], first[what], strict=True))
            if off > allowed:
                raise RuntimeError(f"{name} and {LEROBOT} give other {what}: {off:.3g} apart")


def summary(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Windows a second of each, and ratios taken round by round."""
    rows = []
    for name, one in found.items():
        rate = spread([SIZE["batch"] / value for value in one["cpu"]])
        rows.append({"who": name, "windows_a_cpu_second": rate["median"], "least": rate["least"], "greatest": rate["greatest"],
                     "windows_a_wall_second": float(f"{SIZE['batch'] / statistics.median(one['wall']):.4g}"),
                     "cpu_seconds_before": one["before"], "megabytes_before": one["megabytes"]})
    size = {**SIZE, **{name: found[LEROBOT][name] for name in ("cameras", "pixels", "frames", "fps", "codec")}}
    return {"size": size, "loaders": rows, "ratios": compared(found, PAIRS, rates=True)}
