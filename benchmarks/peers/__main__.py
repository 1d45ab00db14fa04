"""foreact against openwam 0.2.0 and LeRobot, at equal size, in turns in one run.

    python -m benchmarks.peers --envs FOLDER --make     # environments of the peers, once: about 5 GB
    python -m benchmarks.peers --envs FOLDER [policy] [loader] [training] [--rounds 7] [--seconds 1] [--demonstrations DATASET]

Every contestant is a process of its own with one thread; they are called one after the other, round after round. The clock is CPU time
of the process, since machines are shared; ratios are taken within a round, and given with their least and greatest. What is not named
keeps the result that it had.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from benchmarks.peers import loader, policy, training
from benchmarks.peers.environments import ENVIRONMENTS, make, python_of

from foreact.contract.errors import nearest
from foreact.contract.progress import say
from foreact.contract.storage import atomic_write_json

RESULT = Path(__file__).parents[1] / "results" / "peers.json"
PARTS = {"policy": policy.run, "loader": loader.run, "training": training.run}
NEEDED = {"policy": ("openwam", "fastwam"), "loader": ("loader",), "training": ("openwam",)}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--envs", type=Path, default=Path(".venv-peers"), help="where the peers' environments are (default: .venv-peers)")
    parser.add_argument("--make", action="store_true", help="make those that are not there, and stop")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of CPU, for each contestant in each round")
    parser.add_argument("--demonstrations", type=Path, help="what `foreact collect` wrote, for the loader (default: ten are collected)")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args(argv)
    parts = options.parts or list(PARTS)
    for name in parts:
        if name not in PARTS:
            parser.error(f"no part '{name}'; {nearest(name, list(PARTS))}")
    if options.make:
        make(options.envs, list(ENVIRONMENTS))
        return 0
    lacking = [name for name in ENVIRONMENTS if any(name in NEEDED[part] for part in parts) and not python_of(options.envs, name).exists()]
    if lacking:
        parser.error(f"no environment for {', '.join(lacking)} in {options.envs}; make them with --make")
    for name in parts:
        more = {"demonstrations": options.demonstrations} if name == "loader" else {}
        found = PARTS[name](options.envs, rounds=options.rounds, seconds=options.seconds, log=options.envs, **more)
        for row in found["ratios"]:
            say(f"{row['what']:<70} {row['median']:.2f}  ({row['least']:.2f} to {row['greatest']:.2f}, {row['aim']})")
        setting = {"torch": torch.__version__, "python": platform.python_version(), "threads": found["size"]["threads"],
                   "rounds": options.rounds, "cpu_seconds_a_turn": options.seconds, "clock": "CPU time of the process"}
        if name != "loader":
            setting["precision"] = "float32"
        kept = json.loads(options.out.read_text()) if options.out.exists() else {}
        atomic_write_json(options.out, {**{part: kept[part] for part in PARTS if part in kept}, name: {"setting": setting, **found}})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
