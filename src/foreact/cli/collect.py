"""`foreact collect --tasks ... --out DATASET`."""

from __future__ import annotations

import argparse
from pathlib import Path

from foreact.cli.parsing import Parser, choice
from foreact.cli.result import Result

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main"]

TEXT = """Scripted experts are watched by two cameras; what is kept is images, proprioception and the instruction, never the state
of an object. The suite follows from the tasks' names: Meta-World's fifty, or ALOHA's transfer-cube (extra: aloha). Noise is
added to some executed actions while the clean action is the label, so that a policy learns to recover. The result is a
LeRobotDataset v3.0 of the first seeds on which the expert succeeds: the same whatever the number of workers. Interrupted,
the same command goes on.

examples
  foreact collect --tasks drawer-open door-open --out runs/demos
  foreact collect --tasks drawer-open --out runs/more episodes=100 size=128 expert.noise_std=0.2 annotations.depth=true
  foreact collect --tasks transfer-cube --out runs/bimanual
  foreact collect --tasks drawer-open --out runs/tubes embodiment=tubes       video of another arm, for foreact train --video
  foreact collect --tasks drawer-open --out runs/random --condition random --on ray --workers 16

settings, beside tasks (each as key=value or --key value)
  episodes=40 per task   first_seed=0        cameras=["scene","gripper"]   size=64 pixels    condition=clean|random|both
  horizon=500 steps      keep_failures=false expert.noise_std=0.3          expert.noisy_fraction=0.5
  expert.noise_hold=1    expert.steps_after_success=5        expert.astray_fraction=0.0
  annotations.depth|segmentation|contacts|tracks|audio=false     embodiment=own|tubes|blocks, of Meta-World"""
SETTINGS = True
KEYS = ("episodes", "first_seed", "cameras", "size", "condition", "horizon", "keep_failures", "embodiment")


def add_options(parser: Parser) -> None:
    parser.add_argument("--tasks", nargs="+", required=True, metavar="TASK", help="tasks of one suite; Meta-World's with or without -v3")
    parser.add_argument("--out", type=Path, required=True, metavar="DATASET", help="folder of the new dataset")
    parser.add_argument("--workers", type=int, default=2, help="processes, or Ray actors (default: 2)")
    parser.add_argument("--on", default="local", type=choice("--on", ("local", "ray")), metavar="local|ray",
                        help="this machine, or a Ray cluster (default: local)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted collection (which happens anyway)")
    parser.add_argument("--restart", action="store_true", help="throw the episodes of an interrupted collection away")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.contract.config import apply_overrides
    from foreact.data.lerobot import Dataset
    from foreact.evaluation.collection import CollectConfig, collect

    config = apply_overrides(CollectConfig(tasks=tuple(options.tasks)), settings)
    path = collect(config, options.out, workers=options.workers, on=options.on, restart=options.restart)
    dataset = Dataset.open(path)
    episodes, frames = len(dataset.episodes), dataset.frames_total
    return Result(
        data={
            "dataset": str(path),
            "episodes": episodes,
            "frames": frames,
            "tasks": list(config.tasks),
            "fingerprint": dataset.fingerprint,
        },
        text=f"{episodes} demonstrations, {frames} frames: {path}\nnext: foreact data check {path}",
    )
