"""One observation under several instructions, for several runs below each other: the picture and page of `foreact diagnose grounding`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from foreact.contract.storage import atomic_write_text
from foreact.reporting.grounding import image, lay
from foreact.reporting.page import diagnosis, section, table

__all__ = ["Observed", "Row", "write_picture", "write_side_by_side_page"]

_FIGURES = {"named": "on what is named", "unnamed": "on what is not", "shuffled": "mask elsewhere", "without_common": "without common",
            "moved": "moved", "centroid": "centroid"}


@dataclass(frozen=True)
class Row:
    """One run. heats: by kind ("attention"), one for each instruction; ratios: by kind, the figures of this observation."""

    name: str
    heats: Mapping[str, Sequence[Float[np.ndarray, "row column"]]]
    ratios: Mapping[str, Mapping[str, float | None]]


Observed = tuple[UInt8[np.ndarray, "height width 3"], Sequence[Bool[np.ndarray, "height width"] | None], Sequence[Row]]
"""The picture, the mask of the thing that each instruction names, and the runs."""


def write_picture(shown: Sequence[Observed], instructions: Sequence[str], path: Path | str) -> Path:
    """All observations below each other, as PNG."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _figure(shown, instructions).savefig(path, format="png", dpi=150)
    return path


def write_side_by_side_page(found: Mapping[str, Any], shown: Sequence[Observed], path: Path | str, *, written: str = "") -> Path:
    """`found`: what the command measured."""
    path = Path(path)
    told = ", ".join(f"“{escape(text)}”" for text in found["instructions"])
    parts = (f'<section id="head"><h1>Does it look at what is named?</h1><p>{len(found["scenes"])} observations, each planned under '
             f"{told}, with the same noise.</p></section>")
    lead = ("Red: there the action looks, or there replaced hidden states move it; heats are scaled by the highest of their run and kind. "
            "White outline: the thing that is named; dashed: what the other instructions name. The numbers are the weights on the two, "
            "over chance.")
    shows = image(_figure(shown, found["instructions"]), "heat maps by run and instruction")
    parts += section("pictures", "The same observation", lead, shows)
    groups = dict(found["figures"])
    if found["differences"]:
        groups[f"{list(groups)[-1]} less {next(iter(groups))}, by observation"] = found["differences"]
    rows = [[escape(name), kind, *(_span(one.get(n)) for n in _FIGURES)] for name, kinds in groups.items()
            for kind, one in kinds.items()]
    lead = "The mean over observations, with its 95 % interval. 1 is chance; what sees things and does not listen has the same on both."
    parts += section("table", "In figures", lead, f'<div class="card">{table(["run", "", *_FIGURES.values()], rows)}</div>')
    atomic_write_text(path, diagnosis("grounding", title="Grounding", body=parts, written=written))
    return path


def _span(one: Mapping[str, float] | None) -> str:
    return "?" if one is None else f"{one['value']:.2f} <small>({one['low']:.2f} to {one['high']:.2f})</small>"


def _figure(shown: Sequence[Observed], instructions: Sequence[str]) -> Any:
    """Rows: observations, and in each the runs. Columns: the kinds, and in each the instructions."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kinds = list(shown[0][2][0].heats)
    lines = [(picture, masks, row) for picture, masks, rows in shown for row in rows]
    across = len(kinds) * len(instructions)
    figure = Figure(figsize=(2.3 * across + 0.4, 2.45 * len(lines) + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    for line, (axes, (picture, masks, row)) in enumerate(zip(figure.subplots(len(lines), across, squeeze=False), lines, strict=True)):
        for column, axis in enumerate(axes):
            kind, told = kinds[column // len(instructions)], column % len(instructions)
            heats = row.heats[kind]
            title = f"{kind}\n{fill(instructions[told], 30)}" if line == 0 else ""
            lay(axis, picture, heats[told], masks[told], title, highest=max(float(heat.max()) for heat in heats))
            for other, mask in enumerate(masks):
                if other != told and mask is not None:
                    axis.contour(mask.astype(float), levels=[0.5], colors="white", linewidths=0.8, linestyles="dashed", alpha=0.8)
            if told == 0:
                axis.set_xlabel(_words(row.ratios[kind]), fontsize=8)
        axes[0].set_ylabel(row.name, fontsize=10)
    return figure


def _words(ratios: Mapping[str, float | None]) -> str:
    return "  ".join(f"{name} {ratios[name]:.2f}" for name in ("named", "unnamed") if ratios[name] is not None)
