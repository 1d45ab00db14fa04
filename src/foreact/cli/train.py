"""`foreact train RECIPE --data DATASET`."""

from __future__ import annotations

import argparse
from pathlib import Path

from foreact.cli.conventions import add_conventions, stated
from foreact.cli.parsing import Parser
from foreact.cli.result import Result

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main"]

TEXT = """Trains on any LeRobot dataset. The run folder holds config.json, metrics.jsonl and checkpoints, each written whole or
not at all. Ctrl-C finishes the step and saves; the same command with --resume goes on, and its losses are those of a
run that was never interrupted.

examples
  foreact train joint --data runs/demos
  foreact train joint --data runs/demos --out runs/short model.coupling.horizon=8 training.stages.1.steps=200
  foreact train joint --data runs/demos --out runs/no-future --baseline
  foreact train joint --data runs/few --out runs/tuned --start-from runs/joint-tiny
  foreact train agra --data runs/demos --video runs/tubes        another arm's video trains the imagination beside the demonstrations
  torchrun --nproc-per-node 2 -m foreact train joint --data runs/demos training.micro_batches=2

foreact recipes show RECIPE lists every setting."""
SETTINGS, KEYS = True, ()


def add_options(parser: Parser) -> None:
    parser.add_argument("recipe", help="its name, see: foreact recipes list")
    parser.add_argument("--data", type=Path, required=True, metavar="DATASET", help="folder of a LeRobot dataset (v2.0, v2.1 or v3.0)")
    parser.add_argument("--video", type=Path, nargs="+", default=[], metavar="DATASET",
                        help="datasets that are only watched: their futures are learnt, their actions never")
    parser.add_argument("--out", type=Path, metavar="RUN", help="run folder (default: runs/RECIPE-SIZE)")
    parser.add_argument("--size", default="tiny", help="tiny (two CPU cores), base (one GPU) or paper (default: tiny)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--baseline", action="store_true", help="train the recipe's no-future baseline: equal, but nothing is imagined")
    parser.add_argument("--substrate-of", type=Path, metavar="RUN", help="take over this run's fitted substrate")
    parser.add_argument("--start-from", type=Path, metavar="RUN", help="fine-tune: begin from the weights of this run of the same model")
    parser.add_argument("--device", help="cpu, cuda, mps (default: the best there is)")
    parser.add_argument("--log", nargs="+", default=[], metavar="NAME", help="tensorboard, trackio or wandb, beside metrics.jsonl")
    add_conventions(parser)


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.contract.config import apply_overrides
    from foreact.recipes import catalogue
    from foreact.training.members import import_members
    from foreact.training.trainer import train

    import_members()  # a setting may name any class
    run = apply_overrides(catalogue.recipe(options.recipe).run(options.size), settings)
    if options.baseline:
        run = catalogue.baseline(run)
    out = options.out or Path("runs") / f"{options.recipe}-{options.size}{'-baseline' if options.baseline else ''}"
    done = train(run, dataset=options.data, out=out, resume=options.resume, substrate_of=options.substrate_of,
                 start_from=options.start_from, videos=options.video, stated=stated(options), device=options.device,
                 loggers=tuple(options.log))
    losses = ", ".join(f"{name} {value:.4f}" for name, value in done.validation.items() or done.losses.items())
    return Result(
        data={"run": str(done.folder), "checkpoint": str(done.checkpoint), "step": done.step, "seconds": done.seconds,
              "losses": dict(done.losses), "validation": dict(done.validation)},
        text=f"{done.step} steps in {done.seconds:.0f} s; {losses}\ncheckpoint: {done.checkpoint}\n"
             f"next: foreact eval {done.folder}")
