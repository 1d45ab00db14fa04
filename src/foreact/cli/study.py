"""`foreact study anchors`: recipes under one matched budget, each trained, run closed loop, timed and verified."""

from __future__ import annotations

import argparse
from pathlib import Path

from foreact.cli.parsing import Parser, choice
from foreact.cli.result import Result

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main"]

TEXT = """A study is a declared grid that runs resumably and ends in one table. `anchors` trains every recipe of a published system on the
same demonstrations for the same number of steps at size tiny, runs it on the same unseen seeds, times it, and verifies it,
beside the no-future baseline and chance. Interrupted, the same command goes on.

examples
  foreact study anchors --out runs/anchors
  foreact study anchors --out runs/anchors recipes='["uwm","fast-wam"]' steps=200 episodes=5

settings
  recipes=[] (all that name a row of the census)   tasks=["button-press-topdown","window-open"]   demonstrations=40 per task
  steps=600   batch_size=32   episodes=20 per task   horizon=200   seed=0   workers=2   settings=[] (more words for every training)"""
SETTINGS = True
KEYS = ("recipes", "tasks", "demonstrations", "steps", "batch_size", "episodes", "horizon", "seed", "workers", "settings")


def add_options(parser: Parser) -> None:
    parser.add_argument("study", metavar="anchors", type=choice("study", ("anchors",)))
    parser.add_argument("--out", type=Path, default=Path("runs/anchors"), metavar="FOLDER", help="(default: runs/anchors)")
    parser.add_argument("--data", type=Path, metavar="DATASET", help="demonstrations with all annotations (default: they are collected)")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.cli.anchors import AnchorStudy, run, table
    from foreact.contract.config import apply_overrides

    found = run(apply_overrides(AnchorStudy(), settings), options.out, options.data)
    return Result(data=found, text=table(found))
