"""`foreact teacher train --data DATASET --out FOLDER`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from foreact.cli.conventions import add_conventions, stated
from foreact.cli.parsing import Parser, choice
from foreact.cli.result import Result

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main"]

TEXT = """Learns a small vision transformer on the dataset's own frames by self-distillation (DINO's objective), with no labels and no
download, and says on held-out episodes what it knows. The folder holds config.json and model.safetensors; many runs may share it, as
the teacher of an alignment or as the space of the future, and its features are then stored once per dataset. It takes some
minutes on one core; interrupted, it leaves nothing.

examples
  foreact teacher train --data runs/demos --out runs/teacher
  foreact teacher train --data runs/demos --out runs/fine teacher.encoder.patch=8 teacher.grid=[8,8] steps=800
  foreact train mv-wam --data runs/demos \\
      'model.alignment={"type": "Alignment", "teacher": {"type": "FrozenFeatures", "folder": "runs/teacher"}}'

settings (each as key=value or --key value)
  steps=400   batch_size=64   cameras=[] for all   image_size=null or [height,width]   held_out=0.1   measured=256 frames
  seed=0      threads=null    teacher.grid=[4,4]   teacher.encoder.patch=16            teacher.encoder=PretrainedVision"""
SETTINGS = True
KEYS = ("steps", "batch_size", "cameras", "image_size", "held_out", "measured", "seed", "threads")


def add_options(parser: Parser) -> None:
    parser.add_argument("verb", metavar="train", type=choice("teacher", ("train",)))
    parser.add_argument("--data", type=Path, required=True, metavar="DATASET", help="folder of a LeRobot dataset")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the new teacher; must not exist yet")
    parser.add_argument("--device", help="cpu, cuda, mps (default: the best there is)")
    add_conventions(parser)


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.contract.config import apply_overrides
    from foreact.training.members import import_members
    from foreact.training.teacher import TeacherTraining, train_teacher
    from foreact.training.trainer import choose_device

    import_members()  # a setting may name any class
    config = apply_overrides(TeacherTraining(), settings)
    try:
        measures = train_teacher(config, dataset=options.data, out=options.out, stated=stated(options),
                                 device=choose_device(options.device))
    except KeyboardInterrupt as stopped:
        raise KeyboardInterrupt("interrupted; nothing was written, and the same command begins anew") from stopped
    teacher = _words(config.teacher, options.out)
    said = ", ".join(f"{name} {value:.2f}" for name, value in measures.items())
    alignment = json.dumps({"type": "Alignment", "teacher": teacher})
    return Result(data={"teacher": str(options.out), "measures": measures, "config": teacher},
                  text=f"{options.out}: {said}\nnext: foreact train RECIPE --data {options.data} 'model.alignment={alignment}'")


def _words(teacher: Any, folder: Path) -> dict[str, Any]:
    """What a run has to say to use it: only what differs from the defaults, and the folder."""
    from foreact.contract.config import encode

    usual, ours = encode(type(teacher)()), encode(teacher)
    return {"type": ours["type"], **{key: value for key, value in ours.items() if value != usual[key]}, "folder": str(folder)}
