"""`foreact budget RECIPES...`: success against everything that it costs, on one page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from foreact.cli.parsing import Parser
from foreact.cli.result import Result

if TYPE_CHECKING:
    from foreact.cli.budget_run import Tried

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main"]

TEXT = """Each RECIPE is a trained run's folder, or a recipe's name; what is named is trained in OUT, all on the same demonstrations for the
same number of optimisation steps. Then every point of the grid is run on the same unseen seeds, timed by turns with all others on the
same observations, and its memory is measured in a process of its own. Beside them stands a baseline that imagines nothing, so that the
page says what the same time buys without a future. OUT/budget.html and OUT/budget.json hold what was found. Interrupted, the same
command goes on; what is done is not done again.

examples
  foreact budget joint fast-wam uwm --out runs/budget --data runs/demos
  foreact budget runs/joint-tiny runs/mv-wam-tiny --out runs/budget denoising=[1,4] candidates=[] replan=[4,8] episodes=25
  foreact budget cosmos-policy --out runs/budget cross=true charge=own
  foreact budget joint lingbot-va --list            what would be run, and what cannot be varied

axes, each tried around the recipe's own point, or all crossed with cross=true; a recipe without the knob is not varied along it
  denoising=[1,2,8]   candidates=[4]   replan=[4,16]   precision=[] (bfloat16, int8)   chunk=[] (each another training)
settings
  baseline=joint (the recipe whose no-future baseline is drawn in; baseline="" for none)   selector=ActionConsensus
  tasks=["button-press-topdown","window-open"]   conditions=["clean"]   episodes=10 per task   seed_start=1000000   horizon=200
  size=tiny   demonstrations=20 per task   steps=300   seed=0   training=[] (more words for every training)
  rounds=24 (plans of each point that are timed)   workers=2   on=local|ray
  charge=none|own|all   run points once more with their own median latency charged to the world's clock"""
SETTINGS = True
KEYS = ("denoising", "candidates", "replan", "precision", "chunk", "cross", "selector", "baseline", "size", "tasks", "conditions",
        "demonstrations", "steps", "seed", "training", "episodes", "seed_start", "horizon", "rounds", "charge", "workers", "on")


def add_options(parser: Parser) -> None:
    parser.add_argument("recipes", nargs="+", metavar="RECIPES", help="trained runs, or recipes by name")
    parser.add_argument("--out", type=Path, default=Path("runs") / "budget", metavar="FOLDER", help="(default: runs/budget)")
    parser.add_argument("--data", type=Path, metavar="DATASET", help="demonstrations to learn from (default: they are collected)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps (default: cpu)")
    parser.add_argument("--list", action="store_true", help="only say what would be run")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.cli.budget_grid import BudgetGrid
    from foreact.cli.budget_policies import policies
    from foreact.cli.budget_run import planned, run
    from foreact.cli.budget_table import findings, text
    from foreact.contract.config import apply_overrides, encode
    from foreact.contract.storage import atomic_write_json
    from foreact.reporting.budget import write_budget_page

    grid = apply_overrides(BudgetGrid(), settings)
    compared = policies(options.recipes, grid)
    if options.list:
        tried = planned(compared, grid)
        return Result(data={"policies": [{"name": each.policy.name, "points": [encode(point) for point in each.points],
                                          "not_varied": [encode(one) for one in each.skipped]} for each in tried]}, text=_listed(tried))
    found = findings(run(compared, grid, options.out, options.data, options.device))
    atomic_write_json(options.out / "budget.json", found)
    page = write_budget_page(found, options.out / "budget.html")
    return Result(data=found, text=f"{text(found)}\npage: {page}")


def _listed(tried: list[Tried]) -> str:
    lines = []
    for each in tried:
        lines.append(f"{each.policy.name}: " + ", ".join(point.name for point in each.points))
        for one in each.skipped:
            at = "" if one.value is None else f" {one.value}"
            lines.append(f"  {one.axis}{at} is not tried: {one.why}")
    return "\n".join(lines)
