"""`foreact data check|info|merge`: look at a LeRobot dataset before it is trained on."""

from __future__ import annotations

import argparse
from pathlib import Path

from foreact.cli.conventions import add_conventions, stated
from foreact.cli.parsing import Parser, choice
from foreact.cli.result import Result
from foreact.contract.errors import ConfigError

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main"]

TEXT = """Reads LeRobotDataset v2.0, v2.1 and v3.0, anyone's.

  info    what it holds: version, episodes, cameras, features, conventions
  check   everything that would ruin training: missing or repeated frames, cut-off videos, drifting frame rate, NaN,
          entries that never change, statistics that disagree with the data. Exits with 1 where something is fatal.
  merge   join datasets into a new one of v3.0 without encoding any video again; of one dataset, this is conversion

examples
  foreact data check runs/demos
  foreact data check ~/lerobot/pusht --json
  foreact data merge old_v21 --out new_v30 --action-reference delta --action-frame end-effector --action-rotation none \\
      --action-low -1 --action-high 1 --no-gripper --state-units m"""
SETTINGS, KEYS = False, ()


def add_options(parser: Parser) -> None:
    parser.add_argument("verb", metavar="check|info|merge", type=choice("data", ("check", "info", "merge")))
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="the dataset's folder (merge: one or more)")
    parser.add_argument("--out", type=Path, help="merge: where the new dataset goes; must not exist yet")
    parser.add_argument("--no-decode", action="store_true", help="check: leave out the decoding of every picture (quick)")
    parser.add_argument("--resume", action="store_true", help="merge: go on with an interrupted one")
    add_conventions(parser)


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    if options.verb == "merge":
        return _merge(options)
    if len(options.paths) != 1:
        raise ConfigError("one dataset at a time", where=f"data {options.verb}", found=f"{len(options.paths)} paths", accepted="one")
    return _check(options.paths[0], decode=not options.no_decode) if options.verb == "check" else _info(options.paths[0])


def _check(path: Path, *, decode: bool) -> Result:
    from foreact.data.check import check
    from foreact.data.findings import render

    report = check(path, decode=decode)
    return Result(data=report.to_json(), text=render(report), exit_code=0 if report.ok else 1)


def _info(path: Path) -> Result:
    from foreact.contract.config import encode
    from foreact.data.lerobot import Dataset

    dataset = Dataset.open(path)
    info, specs = dataset.info, dataset.specs
    data = {
        "path": str(path), "version": info.version, "fingerprint": dataset.fingerprint, "robot": info.robot_type, "fps": info.fps,
        "episodes": len(dataset.episodes), "frames": dataset.frames_total, "tasks": dict(dataset.tasks), "cameras": list(dataset.cameras),
        "features": {key: {"dtype": feature.dtype, "shape": list(feature.shape)} for key, feature in info.features.items()},
        "observation": encode(specs.observation) if specs else None, "action": encode(specs.action) if specs else None,
    }
    lines = [f"{path}: LeRobotDataset {info.version}, {data['episodes']} episodes, {data['frames']} frames at {info.fps:g} fps",
             f"cameras   {', '.join(dataset.cameras) or 'none'}", *(f"task {i:<4} {text}" for i, text in dataset.tasks.items()),
             *(f"feature   {key} {feature['dtype']}{feature['shape']}" for key, feature in data["features"].items()),
             f"action    {specs.action.reference}, {specs.action.frame}: {', '.join(specs.action.names)}" if specs else
             "action    what its numbers mean is not stated; `foreact train --help` shows how to state it"]
    return Result(data=data, text="\n".join(lines))


def _merge(options: argparse.Namespace) -> Result:
    from foreact.data.lerobot import Dataset, merge

    if options.out is None:
        raise ConfigError("where should the new dataset go?", where="data merge", next_step="name a new folder with --out")
    own = Dataset.open(options.paths[0]).specs
    said = any([options.action_reference, options.action_frame, options.action_rotation, options.action_low, options.gripper,
                options.no_gripper, options.state_units])
    specs = Dataset.open(options.paths[0]).specs_or_stated(stated(options)) if said and own is None else None
    path = merge(options.paths, options.out, specs=specs, resume=options.resume)
    info = _info(path)
    return Result(data=info.data, text=info.text)
