"""The page of `foreact diagnose attention`: frames with heat and mask, ratios by layer and step, heads, two instructions side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from foreact.contract.storage import atomic_write_text
from foreact.reporting.grounding import frame_table, image, lay, sheet, tiles
from foreact.reporting.page import diagnosis, section, table

__all__ = ["Shown", "write_attention_page"]

_NAMES = {"ratio": ("Attention in the mask, over chance", "1: it does not know where hand and object are"),
          "shuffled": ("…with the mask laid elsewhere", "what this picture gives by chance"),
          "without_common": ("…without what all instructions share", "what is left is due to the instruction"),
          "moved": ("Share that the instruction moves", "how much the figure before has to go by"),
          "centroid": ("Centroid error, cells", "from the attention's centre to the mask's"),
          "on_stream": ("Share of all attention", "on the frames of this stream")}


@dataclass(frozen=True)
class Shown:
    """A frame. heats: under its own instruction and under others; heads: under its own, of the layer that is shown."""

    picture: UInt8[np.ndarray, "height width 3"]
    mask: Bool[np.ndarray, "height width"]
    heats: Float[np.ndarray, "instruction row column"]
    heads: Sequence[Float[np.ndarray, "row column"]]


def write_attention_page(found: Mapping[str, Any], frames: Sequence[Shown], layer: int, path: Path | str, *, written: str = "") -> Path:
    """`found`: what the command measured. layer: whose heads are shown."""
    path, rows = Path(path), found["frames"]
    looked = ", ".join(f"{escape(name)} {share:.2f}" for name, share in found["looks_at"].items())
    head = (f'<section id="head"><h1>Where the action looks</h1><p>{escape(found["run"])}: attention of the action on the frames of '
            f"{escape(found['settings']['stream'])}. All its attention: {looked}.</p>{tiles(found['figures'], _NAMES)}</section>")
    over = sheet([f.picture for f in frames], [f.heats[0] for f in frames], [f.mask for f in frames],
                 [f"{row['ratio']:.2f}" for row in rows], "attention over the frames")
    lead = ("Red: the action looks there. White outline: where the hand meets the object, from the simulator. The number is the ratio of "
            "the frame.")
    parts = head + section("frames", "Frame by frame", lead, over)
    lead = "Attention in the mask over chance, the mean over frames; below it, with the controls."
    parts += section("layers", "By layer, step and head", lead, _ratios(found) + _controls(found))
    lead = "The layer with the highest ratio, on two frames. The number is the head's mean over all frames."
    parts += section("heads", f"Heads of layer {layer}", lead, _heads(found, frames[:2], layer))
    lead = ("Left and middle: the same picture and the same noise under the frame's own instruction and under another. Right: what the "
            "first has more of, on a scale of its own; the number is its share.")
    parts += section("instructions", "One observation, two instructions", lead, _instructions(frames, rows))
    parts += section("table", "In figures", "", frame_table(rows))
    atomic_write_text(path, diagnosis("attention", title="Attention", body=parts, written=written))
    return path


def _heads(found: Mapping[str, Any], frames: Sequence[Shown], layer: int) -> str:
    ratios = found["ratio_by_layer_and_head"][list(found["by_layer"]).index(str(layer))]
    each = [(frame, heat, f"head {i}: {ratio:.2f}") for frame in frames
            for i, (heat, ratio) in enumerate(zip(frame.heads, ratios, strict=True))]
    return sheet([frame.picture for frame, _, _ in each], [heat for _, heat, _ in each], [frame.mask for frame, _, _ in each],
                 [title for _, _, title in each], "attention of single heads", across=len(ratios))


def _ratios(found: Mapping[str, Any]) -> str:
    """Layer by step and layer by head, as grids of numbers."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grids = {"step": np.array(found["ratio_by_layer_and_step"]), "head": np.array(found["ratio_by_layer_and_head"])}
    highest = max(2.0, *(float(grid.max()) for grid in grids.values()))
    figure = Figure(figsize=(9.0, 1.1 + 0.42 * len(found["by_layer"])), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, (name, grid) in zip(figure.subplots(1, 2), grids.items(), strict=True):
        axis.imshow(grid, cmap="RdBu_r", vmin=2 - highest, vmax=highest, aspect="auto")  # white at 1
        for (i, j), value in np.ndenumerate(grid):
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8)
        axis.set_xticks(range(grid.shape[1]))
        axis.set_yticks(range(grid.shape[0]), list(found["by_layer"]))
        axis.set_xlabel(name)
        axis.set_ylabel("layer")
    return image(figure, "ratio by layer and step, and by layer and head")


def _controls(found: Mapping[str, Any]) -> str:
    rows = [[f"{axis} {at}", *(_span(one.get(name)) for name in ("ratio", "shuffled", "without_common", "share", "centroid"))]
            for axis in ("layer", "step", "head") for at, one in found[f"by_{axis}"].items()]
    return f'<div class="card">{table(["", "ratio", "mask elsewhere", "without common", "share", "centroid"], rows)}</div>'


def _span(one: Mapping[str, float] | None) -> str:
    return "?" if one is None else f"{one['value']:.2f} <small>({one['low']:.2f} to {one['high']:.2f})</small>"


def _instructions(frames: Sequence[Shown], rows: Sequence[Mapping[str, Any]]) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = min(3, len(frames))
    figure = Figure(figsize=(7.2, 2.6 * count), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, frame, row in zip(figure.subplots(count, 3, squeeze=False), frames, rows, strict=False):
        own, other = (heat / max(heat.sum(), 1e-12) for heat in frame.heats[:2])
        more, highest = np.maximum(own - other, 0), max(own.max(), other.max())
        for axis, heat, title, full in ((axes[0], own, row["instruction"], highest), (axes[1], other, row["others"][0], highest),
                                        (axes[2], more, f"more under the first: {more.sum():.3f}", None)):
            lay(axis, frame.picture, heat, frame.mask, shorten(title, 44), highest=full)
    return image(figure, "one observation under two instructions")
