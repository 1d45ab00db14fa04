"""What N candidates cost against one, for three recipes at tiny size, as ratios in one run.

    python benchmarks/candidates.py [--rounds 5] [--out benchmarks/results/candidates.json]

One episode's plan by Consensus, one torch thread, random weights and random pictures. `shared` is the plan as it is made: what does not
depend on noise runs once. `apart` plans for N copies of the episode, which share nothing. All arrangements take turns, in several rounds,
and CPU time is taken, so that what else the machine does weighs on all alike; the median over rounds counts. A recipe's own
candidates are turned off. selecting: milliseconds of the choice alone. The curve is drawn into docs/images/candidates.png.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from foreact.acting.rehearsal import rehearsal
from foreact.contract.axes import SeededNoise
from foreact.contract.context import Context
from foreact.contract.encoded import Branches
from foreact.contract.progress import track
from foreact.contract.storage import atomic_write_json
from foreact.envs.metaworld import MetaWorld
from foreact.model import WorldActionModel
from foreact.recipes.catalogue import recipe
from foreact.selection import Consensus

RECIPES = ("cosmos-policy", "lingbot-va", "uwm")
COUNTS = (1, 2, 4, 8, 16)


def model(name: str) -> WorldActionModel:
    """The recipe at tiny size with random weights, and no candidates of its own."""
    config = recipe(name).run("tiny").model
    if name == "cosmos-policy":
        config = replace(config, coupling=replace(config.coupling, candidates=1))
    return config.build(*MetaWorld.describe(MetaWorld.Config(task="drawer-open", size=64))).eval()


def plans(policy: WorldActionModel, context: Context) -> dict[tuple[int, str], Callable[[], float]]:
    """By count and way of making them: makes a plan, and gives the milliseconds of the choice."""
    def shared(count: int) -> float:
        found = policy.plan(context, noise=SeededNoise([0]), selector=Consensus.Config(candidates=count).build())
        return found.candidates.overhead_ms

    def apart(count: int) -> float:
        policy.plan(context.repeat(count), noise=Branches(SeededNoise([0]), count))
        return 0.0

    return {(count, name): lambda make=make, count=count: make(count) for count in COUNTS for name, make in
            (("shared", shared), ("apart", apart))}


def measured(policy: WorldActionModel, rounds: int) -> list[dict[str, float]]:
    """One row for each count."""
    ways = plans(policy, rehearsal(policy))
    spent: dict[tuple[int, str], list[float]] = {key: [] for key in ways}
    selecting: dict[int, list[float]] = {count: [] for count in COUNTS}
    for number in range(rounds + 1):  # the first is for setting up
        for (count, name), make in ways.items():
            started = time.process_time()
            choosing = make()
            if number:
                spent[count, name].append(1e3 * (time.process_time() - started))
                selecting[count] += [choosing] if name == "shared" else []
    middle = {key: statistics.median(values) for key, values in spent.items()}
    one = middle[1, "shared"]
    return [{"candidates": count, "shared_ms": middle[count, "shared"], "times_one": middle[count, "shared"] / one,
             "apart_ms": middle[count, "apart"], "times_one_apart": middle[count, "apart"] / one,
             "selecting_ms": statistics.median(selecting[count])} for count in COUNTS]


def drawn(report: Mapping[str, Any], path: Path) -> None:
    """Cost against the number of candidates, both as multiples of one; proportional cost is the diagonal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 3.9), layout="constrained")
    axes = figure.subplots()
    axes.plot(COUNTS, COUNTS, color="0.6", lw=1, ls=(0, (4, 3)), label="proportional")
    for index, (name, rows) in enumerate(report["recipes"].items()):
        for key, style, word in (("times_one", "-o", "shared"), ("times_one_apart", ":", "nothing shared")):
            axes.plot(COUNTS, [row[key] for row in rows.values()], style, color=f"C{index}", ms=4, label=f"{name}, {word}")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(COUNTS, [str(count) for count in COUNTS])
    axes.set_yticks(COUNTS, [str(count) for count in COUNTS])
    axes.set_xlabel("candidates")
    axes.set_ylabel("cost of a plan, of one candidate's")
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "candidates.json")
    parser.add_argument("--figure", type=Path, default=Path(__file__).parents[1] / "docs" / "images" / "candidates.png")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = {name: measured(model(name), options.rounds) for name in track(RECIPES, description="planning")}
    report = {"benchmark": "candidates", "rounds": options.rounds, "torch_threads": 1, "clock": "CPU time of the process",
              "recipes": {name: {f"{row['candidates']} candidates": {k: v for k, v in row.items() if k != "candidates"} for row in rows}
                          for name, rows in found.items()}}
    atomic_write_json(options.out, report)
    drawn(report, options.figure)
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
