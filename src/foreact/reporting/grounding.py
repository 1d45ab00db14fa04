"""The page of `foreact diagnose intervention`, and what the pages of diagnoses over pictures share: heat, outline of the mask, figures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from foreact.contract.storage import atomic_write_text
from foreact.reporting.page import data_uri, diagnosis, section, table, tile

__all__ = ["frame_table", "image", "lay", "sheet", "tiles", "write_grounding_page"]

_NAMES = {"ratio": ("Heat in the mask, over chance", "1: the action does not know where hand and object are"),
          "without_common": ("…without what all instructions share", "what is left is due to the instruction"),
          "centroid": ("Centroid error, cells", "from the heat's centre to the mask's")}

_HEAT = (0.85, 0.05, 0.05)


def write_grounding_page(found: Mapping[str, Any], pictures: Sequence[UInt8[np.ndarray, "height width 3"]],
                         heats: Sequence[Float[np.ndarray, "row column"]], masks: Sequence[Bool[np.ndarray, "height width"]],
                         path: Path | str, *, written: str = "") -> Path:
    """`found`: what the command measured."""
    path, settings = Path(path), found["settings"]
    head = (f'<section id="head"><h1>Where the action is sensitive</h1><p>{escape(found["run"])}: states of '
            f"{escape(settings['stream'])} after layer {settings['layer']} replaced place by place "
            f"({escape(settings['replace'])}).</p>{tiles(found['figures'], _NAMES)}</section>")
    lead = ("Red: replacing the hidden states there moves the action. White outline: where the hand meets the object, from the simulator. "
            "The number is the ratio of the frame.")
    body = sheet(pictures, heats, masks, [f"{row['ratio']:.2f}" for row in found["frames"]])
    parts = head + section("frames", "Frame by frame", lead, body) + section("table", "In figures", "", frame_table(found["frames"]))
    atomic_write_text(path, diagnosis("intervention", title="Intervention", body=parts, written=written))
    return path


def tiles(figures: Mapping[str, Mapping[str, float]], names: Mapping[str, tuple[str, str]]) -> str:
    """Each figure with its interval; `names`: its title and a note."""
    shown = "".join(tile(title, f"{one['value']:.2f}", f"95 %: {one['low']:.2f} to {one['high']:.2f}; {note}")
                    for name, (title, note) in names.items() if (one := figures.get(name)))
    return f'<div class="tiles below">{shown}</div>'


def frame_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Every frame with its figures and its controls."""
    cells = [[escape(row["instruction"]), str(row["episode"]), str(row["frame"]), f"{row['ratio']:.2f}", f"{row['shuffled']:.2f}",
              f"{row['without_common']:.2f}", f"{row['share']:.2f}", "?" if row["centroid"] is None else f"{row['centroid']:.1f}"]
             for row in rows]
    head = ["instruction", "episode", "frame", "ratio", "mask elsewhere", "without common", "share", "centroid"]
    return f'<div class="card">{table(head, cells)}</div>'


def image(figure: Any, words: str) -> str:
    """A figure as a picture of the page; `words` for those who do not see it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f'<div class="card"><img alt="{escape(words)}" src="{data_uri("image/png", buffer.getvalue())}" style="width:100%"></div>'


def lay(axis: Any, picture: UInt8[np.ndarray, "height width 3"], heat: Float[np.ndarray, "row column"],
        mask: Bool[np.ndarray, "height width"] | None, title: str = "", *, highest: float | None = None) -> None:
    """A heat over its picture, with the outline of the mask. highest: the heat drawn in the fullest red; None: the heat's own highest."""
    height, width = picture.shape[:2]
    extent = (0, width, height, 0)
    grey = picture @ np.array([0.3, 0.6, 0.1]) / 255
    axis.imshow(np.stack([grey] * 3, axis=-1) * 0.7 + picture / 255 * 0.3, extent=extent)  # no colour of the scene is taken for heat
    cover = np.zeros((*heat.shape, 4))
    cover[..., :3] = _HEAT
    cover[..., 3] = 0.75 * np.clip(heat / max(highest or float(heat.max()), 1e-12), 0, 1)
    axis.imshow(cover, extent=extent, interpolation="nearest")
    if mask is not None:
        axis.contour(mask.astype(float), levels=[0.5], colors="white", linewidths=1.2)
    axis.set_title(title, fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])


def sheet(pictures: Sequence[UInt8[np.ndarray, "height width 3"]], heats: Sequence[Float[np.ndarray, "row column"]],
          masks: Sequence[Bool[np.ndarray, "height width"]], titles: Sequence[str], words: str = "heat maps over the frames",
          across: int = 6) -> str:
    """Pictures with their heat, so many in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(across, len(pictures))
    down = -(-len(pictures) // across)
    figure = Figure(figsize=(2.1 * across, 2.35 * down), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (picture, heat, mask, title) in enumerate(zip(pictures, heats, masks, titles, strict=True)):
        lay(figure.add_subplot(down, across, place + 1), picture, heat, mask, title)
    return image(figure, words)
