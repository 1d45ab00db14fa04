"""`foreact diagnose attention`: where in the picture the action looks, by layer, head and denoising step."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from foreact.cli.result import Result
from foreact.cli.seen_frames import (
    FIGURES,
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

if TYPE_CHECKING:
    import numpy as np

__all__ = ["KEYS", "SETTINGS", "TEXT", "AttentionSettings", "add_options", "main"]

TEXT = """Listens to the attention of a trained model's action while it plans (AGRA's action-head attention analysis). For each of some
frames: how much weight the action's tokens lay on each place of the picture, against the simulator's mask of where hand meets object.
The same observation is planned under its own instruction and under two others.

  ratio      of the weight inside the mask to what an even weight would have there; 1: it does not know of the mask. The controls stand
             beside it: the same mask laid elsewhere, and the weight without what all instructions share on that same picture
  centroid   distance between the weight's centre and the mask's, in cells
  moved      the share of the weight that lies elsewhere under the other instructions: what the second control has to go by
  on_stream  the share of all the action's attention that is on the stream; the rest goes to other frames, the state, itself, words

The action must be drawn by attention over frames, in a stack shared with the video (joint, mv-wam, uwm, lingbot-va, cosmos-policy) or
in a head (agra, vpp, jepa). The dataset needs segmentation. Of the run's own dataset only episodes are used that it was not trained on.

examples
  foreact collect --tasks button-press-topdown window-open --out runs/seen episodes=8 first_seed=2000 annotations.segmentation=true
  foreact diagnose attention runs/agra-tiny --data runs/seen --out runs/agra-attention.html
  foreact diagnose attention runs/agra-tiny --data runs/seen layer=2 step=0 frames=24

settings
  stream=null (the imagined frames, or the present where those are not seen)   layer=null   head=null   step=null (null: the mean of all)
  frames=12   margin=4 pixels   camera=null (the first)   seed=0"""
SETTINGS = True
KEYS = ("stream", "layer", "head", "step", "frames", "margin", "camera", "seed")


@dataclass(frozen=True, kw_only=True)
class AttentionSettings(SeenSettings):
    """See the words of the command."""

    stream: str | None = None
    layer: int | None = None
    head: int | None = None
    step: int | None = None


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.contract.config import apply_overrides, encode
    from foreact.contract.progress import meter
    from foreact.training.checkpoint import load_model, load_run

    config = apply_overrides(AttentionSettings(), settings)
    model, run = load_model(options.run), load_run(options.run)
    camera = camera_of(model, config.camera)
    frames, known = seen(run, options, config, camera), instructions(options.data)
    rows = []
    with meter("looking", len(frames)) as bar:
        for frame in frames:
            rows.append(_row(model, frame, config, camera, known))
            bar.advance()
    first, of = rows[0]["attention"], [frame.episode for frame in frames]
    streams = [{name: float(share[0]) for name, share in row["attention"].streams.items()} for row in rows]
    data = {"run": str(options.run), "settings": {**encode(config), "stream": first.stream, "camera": camera},
            "figures": figures(rows, (*FIGURES, "moved", "on_stream"), of=of),
            "looks_at": {name: one["value"] for name, one in figures(streams, tuple(first.streams), of=of).items()},
            **{f"by_{axis}": {str(at): figures([row["by"][axis][at] for row in rows], of=of) for at in rows[0]["by"][axis]}
               for axis in ("layer", "step", "head")},
            "ratio_by_layer_and_step": _mean([row["layer_step"] for row in rows]),
            "ratio_by_layer_and_head": _mean([row["layer_head"] for row in rows]),
            "frames": [{k: row[k] for k in ("episode", "frame", "instruction", "others", *FIGURES, "moved", "on_stream")} for row in rows]}
    text = _text(data)
    if options.out is not None:
        from foreact.reporting.attention import Shown, write_attention_page

        best = max(data["by_layer"], key=lambda at: data["by_layer"][at]["ratio"]["value"])
        heads = [[row["attention"].heat(layer=int(best), step=config.step, head=h)[0, row["place"]] for h in range(first.mass.shape[3])]
                 for row in rows]
        shown = [Shown(picture=picture, mask=row["mask"], heats=row["heats"], heads=own)
                 for picture, row, own in zip(pictures(frames, camera), rows, heads, strict=True)]
        write_attention_page(data, shown, int(best), options.out, written=date.today().isoformat())
        data["page"] = str(options.out)
        text += f"\npage: {options.out}"
    return Result(data=data, text=text)


def _row(model: Any, frame: SeenFrame, config: AttentionSettings, camera: str, known: list[str]) -> dict[str, Any]:
    from dataclasses import replace

    from foreact.contract.errors import SpecError
    from foreact.diagnostics.attention import attention
    from foreact.diagnostics.grounding import grounding, interaction_mask, on_grid, without_common

    told, place = instructed(frame, known), model.observation.camera_names.index(camera)
    found = attention(model, replace(frame.context.repeat(len(told)), instruction=tuple(told)), stream=config.stream, seed=config.seed)
    heats = found.heat(layer=config.layer, step=config.step, head=config.head)
    if place >= heats.shape[1]:
        raise SpecError("the stream has no frames of this camera", where="camera", found=camera,
                        accepted=", ".join(model.observation.camera_names[:heats.shape[1]]))
    pixels = interaction_mask(frame.classes, margin=config.margin)
    mask = on_grid(pixels, *heats.shape[2:])

    def at(**where: int | None) -> list[np.ndarray]:
        return list(found.heat(**{"layer": config.layer, "step": config.step, "head": config.head, **where})[:, place])

    def ratio(layer: int, **where: int | None) -> float:
        return grounding(found.heat(**{"layer": layer, "step": config.step, "head": config.head, **where})[0, place], mask).ratio

    _, steps, _, heads, *_ = found.mass.shape
    by = {"layer": {n: measured(at(layer=n), mask) for n in found.layers}, "step": {n: measured(at(step=n), mask) for n in range(steps)},
          "head": {n: measured(at(head=n), mask) for n in range(heads)}}
    return {"episode": frame.episode, "frame": frame.frame, "instruction": told[0], "others": told[1:], **measured(at(), mask),
            "moved": float(without_common(list(heats[:, place]))[0].sum()), "on_stream": float(heats[0].sum()), "by": by,
            "layer_step": [[ratio(n, step=k) for k in range(steps)] for n in found.layers],
            "layer_head": [[ratio(n, head=h) for h in range(heads)] for n in found.layers],
            "attention": found, "heats": heats[:, place], "mask": pixels, "place": place}


def _mean(tables: Sequence[Sequence[Sequence[float]]]) -> list[list[float]]:
    import numpy as np

    return np.mean(np.array(tables), axis=0).tolist()


def _text(data: dict[str, Any]) -> str:
    names = {"ratio": "attention in mask, over chance", "shuffled": "  the mask laid elsewhere", "without_common":
             "  without what all instructions share", "moved": "  share that the instruction moves", "share": "share of it in the mask",
             "centroid": "centroid error, cells", "on_stream": "share of all attention"}
    settings = data["settings"]
    chosen = ", ".join(f"{name} {settings[name]}" for name in ("layer", "head", "step") if settings[name] is not None)
    lines = [f"the action's attention on the frames of '{settings['stream']}', {chosen or 'all layers, heads and steps'}; camera "
             f"{settings['camera']}, {len(data['frames'])} frames, mask within {settings['margin']:g} pixels"]
    for name, title in names.items():
        if name in data["figures"]:
            one = data["figures"][name]
            lines.append(f"  {title:<38} {one['value']:.2f}   95 % {one['low']:.2f} to {one['high']:.2f}")
    for axis in ("layer", "step", "head"):
        ratios = "  ".join(f"{at}: {one['ratio']['value']:.2f} ({one['without_common']['value']:.2f})"
                           for at, one in data[f"by_{axis}"].items())
        lines.append(f"  {f'by {axis} (without what is shared)':<38} {ratios}")
    lines.append(f"  {'looks at':<38} " + ", ".join(f"{name} {share:.2f}" for name, share in data["looks_at"].items()))
    return "\n".join(lines)
