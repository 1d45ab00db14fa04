"""`foreact diagnose features`: what hidden states know of object, scene and action, beside a teacher."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import Any

from foreact.cli.features_of_a_run import FeaturesSettings, features_of
from foreact.cli.parsing import Parser
from foreact.cli.result import Result

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main"]

TEXT = """Looks into the hidden states that a trained model has while it acts. The model plans on frames of episodes that it was not trained
on; the states of one stream are taken at the first evaluation of the backbone, where most recipes read them, and the noise level of that
evaluation is told. By layer, and beside a teacher and the plain pixels of the present:

  position      R^2 of a ridge regression onto where the object is in each picture, over the mean of its task; position_all over the
                mean of all, which knowing the task raises
  segmentation  of a logistic regression from one token to what its cell shows: mean intersection over union; object: area under the
                ROC curve for "the object is here"
  action        R^2 onto the mean of the coming chunk of actions
  cka           likeness of layers and teacher, 1 for a turned copy, 0 for none (linear, debiased)

All scores are on episodes that the probe was not fitted on, with 95 % intervals over episodes, and with `chance`: the same for labels
exchanged between frames. The page adds principal components as colours over the frames and t-SNE of tokens by what they show.

Object and segmentation need a dataset with segmentation. Of the run's own dataset only episodes are used that it was not trained on.

examples
  foreact collect --tasks button-press-topdown window-open --out runs/seen episodes=20 first_seed=2000 annotations.segmentation=true
  foreact diagnose features runs/agra-tiny --data runs/seen --out runs/features.html
  foreact diagnose features runs/joint-tiny --data runs/seen teacher=runs/agra-tiny stream=frame layers=[1,2,4] --json

settings
  stream=null (video, or frame where the model acts without a future)   layer=null (in the pictures: aligned, or a third of the depth)
  layers=[] (up to six)   time=1 (which frame of the future)   evaluation=1   frames=400 (over all episodes)   seed=0
  teacher=null (the run's own) | none | a folder of foreact teacher train | a run whose teacher or features are taken
  folds=5   cover=0.1 (share of a cell that counts)   tokens=4000 (for segmentation)   tsne=true   shown=6 (frames on the page)"""
SETTINGS = True
KEYS = ("stream", "layer", "layers", "time", "evaluation", "frames", "teacher", "folds", "cover", "tokens", "tsne", "shown", "seed")

_TITLES = {"position": "object position, R2", "segmentation": "segmentation, IoU", "object": "object here, AUC", "action": "action, R2"}


def add_options(parser: Parser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run or checkpoint folder")
    parser.add_argument("--data", type=Path, required=True, metavar="DATASET", help="a dataset, with segmentation for all probes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write an HTML page with the pictures")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.contract.config import apply_overrides

    config = apply_overrides(FeaturesSettings(), settings)
    found, drawn = features_of(options.run, options.data, config)
    text = _text(found)
    if options.out is not None:
        from foreact.reporting.features import write_features_page

        write_features_page(found, _pictures(found, drawn, config), options.out, written=date.today().isoformat())
        found["page"] = str(options.out)
        text += f"\npage: {options.out}"
    return Result(data=found, text=text)


def _pictures(found: dict[str, Any], drawn: Any, config: FeaturesSettings) -> dict[str, Any]:
    """Colours of principal components and maps of tokens, of the layer in the pictures and of the teacher."""
    import numpy as np

    from foreact.diagnostics.representation.measure import on_grid
    from foreact.diagnostics.representation.pictures import even_tokens, principal_colours, token_map

    names = [str(found["layer"]), *(["teacher"] if found["teacher"] else [])]
    grid = tuple(found["grid"])
    shown = np.linspace(0, found["samples"]["frames"] - 1, config.shown).round().astype(int)
    made: dict[str, Any] = {"frames": {camera: pictures[shown] for camera, pictures in drawn.pictures.items()}, "colours": {}, "maps": {},
                            "grids": {name: drawn.grids[name] for name in names}}
    for name in names:
        colours, shares = principal_colours(drawn.parts[name], cameras=grid[0])
        made["colours"][name] = (colours[shown], shares)
    if config.tsne and drawn.cells is not None:
        rows = even_tokens(drawn.cells, seed=config.seed)
        made["labels"] = drawn.cells.reshape(-1)[rows]
        for name in names:
            made["maps"][name] = token_map(on_grid(drawn.parts[name], drawn.grids[name], grid), rows, seed=config.seed)
    return made


def _text(found: dict[str, Any]) -> str:
    about = "the present" if found["offset"] == 0 else f"the frame {found['offset']} steps ahead"
    samples = found["samples"]
    lines = [f"states of '{found['stream']}' about {about}, evaluation {found['evaluation']} (noise level {found['sigma']:.2f}); "
             f"{samples['frames']} frames of {samples['episodes']} episodes, teacher: {found['teacher'] or 'none'}"]
    targets = [name for name in _TITLES if any(scores.get(name) for scores in found["probes"].values())]
    lines.append(f"  {'after layer':<12}" + "".join(f"{_TITLES[name]:>30}" for name in targets))
    for name, scores in found["probes"].items():
        cells = [f"{one['value']:.2f} ({one['low']:.2f} to {one['high']:.2f})" if (one := scores.get(target)) else "-"
                 for target in targets]
        lines.append(f"  {name:<12}" + "".join(f"{cell:>30}" for cell in cells))
    chance = found["probes"][str(found["layer"])]
    lines.append(f"  {'chance':<12}" + "".join(f"{round(chance[target]['chance'], 2) + 0.0:>30.2f}" if chance.get(target) else f"{'-':>30}"
                                               for target in targets))
    names = found["cka"]["names"]
    if "teacher" in names:
        row = found["cka"]["matrix"][names.index("teacher")]
        lines.append("likeness to the teacher (CKA): " + ", ".join(f"layer {n} {x:.2f}" for n, x in zip(names, row, strict=True)
                                                                   if n != "teacher" and x is not None))
    return "\n".join(lines)
