"""`foreact diagnose intervention`: where in the picture the action's hidden states matter, and whether that is where hand meets object."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import date
from typing import Any

from foreact.cli.result import Result
from foreact.cli.seen_frames import (
    SeenFrame,
    SeenSettings,
    add_options,
    camera_of,
    figures,
    instructed,
    instructions,
    measured,
    pictures,
    seen,
)
from foreact.contract.errors import ConfigError

__all__ = ["KEYS", "SETTINGS", "TEXT", "InterventionSettings", "add_options", "main"]

TEXT = """Replaces hidden states of a trained model place by place and watches the action (AGRA's causal intervention). For each of some
frames: a heat map of how far the chunk moves, against the simulator's mask of where the hand meets the object.

  ratio     of the heat inside the mask to what an even heat would have there; 1: it does not know of the mask. The controls stand beside
            it: the same mask laid elsewhere, and the heat without what all instructions of the dataset share on that same picture
  centroid  distance between the heat's centre and the mask's, in cells

The dataset needs segmentation (foreact collect ... annotations.segmentation=true). Of the run's own dataset only episodes are used that
it was not trained on.

examples
  foreact collect --tasks button-press-topdown window-open --out runs/seen episodes=8 first_seed=2000 annotations.segmentation=true
  foreact diagnose intervention runs/agra-tiny --data runs/seen --out runs/agra-heat.html
  foreact diagnose intervention runs/agra-tiny --data runs/seen layer=2 replace=noise frames=24

settings
  stream=video   layer=null (a third of the depth)   replace=mean|noise   frames=12   margin=4 pixels   camera=null (the first)   seed=0"""
SETTINGS = True
KEYS = ("stream", "layer", "replace", "frames", "margin", "camera", "seed")


@dataclass(frozen=True, kw_only=True)
class InterventionSettings(SeenSettings):
    """See the words of the command."""

    stream: str = "video"
    layer: int | None = None
    replace: str = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.replace not in ("mean", "noise"):
            raise ConfigError("no such replacement", where="replace", found=self.replace, accepted="mean, noise")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.contract.config import apply_overrides, encode
    from foreact.objectives.representation import aligned_layers
    from foreact.training.checkpoint import load_model, load_run

    config = apply_overrides(InterventionSettings(), settings)
    model, run = load_model(options.run), load_run(options.run)
    layer = aligned_layers((1 / 3,), model.config.backbone.layers())[0] if config.layer is None else config.layer
    camera = camera_of(model, config.camera)
    frames, known = seen(run, options, config, camera), instructions(options.data)
    rows = [_row(model, frame, config, layer, camera, known) for frame in frames]
    data = {"run": str(options.run), "settings": {**encode(config), "layer": layer, "camera": camera},
            "figures": figures(rows, of=[frame.episode for frame in frames]),
            "frames": [{k: v for k, v in row.items() if k not in ("heat", "mask")} for row in rows]}
    text = _text(data)
    if options.out is not None:
        from foreact.reporting.grounding import write_grounding_page

        write_grounding_page(data, pictures(frames, camera), [row["heat"] for row in rows], [row["mask"] for row in rows], options.out,
                             written=date.today().isoformat())
        data["page"] = str(options.out)
        text += f"\npage: {options.out}"
    return Result(data=data, text=text)


def _row(model: Any, frame: SeenFrame, config: InterventionSettings, layer: int, camera: str, known: list[str]) -> dict[str, Any]:
    from dataclasses import replace

    from foreact.diagnostics.grounding import interaction_mask, on_grid
    from foreact.diagnostics.sensitivity import sensitivity

    told, place = instructed(frame, known), model.observation.camera_names.index(camera)
    heats = [sensitivity(model, replace(frame.context, instruction=(text,)), stream=config.stream, layer=layer, kind=config.replace,
                         seed=config.seed).heat[place] for text in told]
    mask = interaction_mask(frame.classes, margin=config.margin)
    return {"episode": frame.episode, "frame": frame.frame, "instruction": told[0], "others": told[1:],
            **measured(heats, on_grid(mask, *heats[0].shape)), "heat": heats[0], "mask": mask}


def _text(data: dict[str, Any]) -> str:
    names = {"ratio": "heat in mask, over chance", "shuffled": "  the mask laid elsewhere", "without_common":
             "  without what all instructions share", "share": "share of the heat in the mask", "centroid": "centroid error, cells"}
    settings = data["settings"]
    lines = [f"states of '{settings['stream']}' after layer {settings['layer']}, replaced ({settings['replace']}); camera "
             f"{settings['camera']}, {len(data['frames'])} frames, mask within {settings['margin']:g} pixels"]
    for name, title in names.items():
        if name in data["figures"]:
            one = data["figures"][name]
            lines.append(f"  {title:<38} {one['value']:.2f}   95 % {one['low']:.2f} to {one['high']:.2f}")
    return "\n".join(lines)
