"""The page of `foreact diagnose features`: colours of hidden states over the frames, maps of tokens, probes by layer, likeness."""

from __future__ import annotations

import io
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from foreact.contract.storage import atomic_write_text
from foreact.envs.semantics import CLASSES
from foreact.reporting.figures import THEME, themed
from foreact.reporting.page import data_uri, diagnosis, section, table, tile

__all__ = ["write_features_page"]

_TARGETS = {"position": ("Where the object is", "R² over the task's mean"),
            "segmentation": ("What a cell shows", "intersection over union"),
            "object": ("Whether the object is here", "area under the ROC curve"),
            "action": ("The coming chunk's mean", "R² over the task's mean")}
_COLOURS = ("#9aa1ad", "#6d7fb3", "#2aa5c9", "#e08a1e", "#4fae4b")


def write_features_page(found: Mapping[str, Any], drawn: Mapping[str, Any], path: Path | str, *, written: str = "") -> Path:
    """`found`: what was measured. drawn: "frames" by camera; "colours" (with shares of variance), "grids" and "maps" by part; "labels"."""
    path = Path(path)
    body = _head(found) + _colours(found, drawn) + (_maps(found, drawn) if drawn["maps"] else "") + _probes(found) + _likeness(found)
    atomic_write_text(path, diagnosis("features", title="Features", body=body, written=written))
    return path


def _head(found: Mapping[str, Any]) -> str:
    own, teacher = (found["probes"].get(name, {}) for name in (str(found["layer"]), "teacher"))
    tiles = ""
    for target, (title, unit) in _TARGETS.items():
        if one := own.get(target):
            beside = f"; teacher {teacher[target]['value']:.2f}" if teacher.get(target) else ""
            tiles += tile(title, f"{one['value']:.2f}",
                          f"{unit}, 95 %: {one['low']:.2f} to {one['high']:.2f}; chance {_number(one['chance'])}{beside}")
    about = "the present frame" if found["offset"] == 0 else f"the frame {found['offset']} steps ahead"
    samples = found["samples"]
    return (f'<section id="head"><h1>What the hidden states hold</h1><p>{escape(found["run"])}: states of {escape(found["stream"])} about '
            f"{about} after layer {found['layer']} of {found['depth']}, at evaluation {found['evaluation']} of the backbone while the "
            f"model acts, noise level {found['sigma']:.2f}. {samples['frames']} frames of {samples['episodes']} episodes that the run was "
            f"not trained on. Teacher: {escape(found['teacher'] or 'none')}.</p><div class=\"tiles below\">{tiles}</div></section>")


def _number(value: float) -> str:
    """To two places, without a sign before nothing."""
    return f"{round(value, 2) + 0.0:.2f}"


def _name(part: str) -> str:
    return f"layer {part}" if part.isdigit() else part


# --- pictures -----------------------------------------------------------------------------------------------------------

def _colours(found: Mapping[str, Any], drawn: Mapping[str, Any]) -> str:
    shares = "; ".join(f"{_name(name)}: " + ", ".join(f"{100 * sum(own):.0f} %" for own in each)
                       for name, (_, each) in drawn["colours"].items())
    lead = ("The first three principal components of the tokens of a camera, each frame's mean taken off, as red, green and blue over the "
            "frame that the states are about: places of one colour are alike to the network. Hues of two rows cannot be compared. Variance "
            f"that the three hold, camera by camera: {escape(shares)}.")
    image = data_uri("image/png", _sheet(drawn))
    return section("colours", "Principal components over the frames", lead,
                   f'<div class="card"><img alt="principal components over the frames" src="{image}" style="width:100%"></div>')


def _sheet(drawn: Mapping[str, Any]) -> bytes:
    """Down: each camera's frame, then each part over it. Across: frames."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cameras, parts = list(drawn["frames"]), list(drawn["colours"])
    across, down = len(next(iter(drawn["frames"].values()))), len(cameras) * (1 + len(parts))
    figure = Figure(figsize=(1.75 * across + 0.4, 1.8 * down), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(down, across, squeeze=False)
    for place, camera in enumerate(cameras):
        for column, picture in enumerate(drawn["frames"][camera].transpose(0, 2, 3, 1)):
            extent = (0, picture.shape[1], picture.shape[0], 0)
            for row, part in enumerate([None, *parts]):
                axes = grid[place * (1 + len(parts)) + row, column]
                axes.imshow(picture, extent=extent)
                if part is not None:
                    shape = drawn["grids"][part]
                    cells = drawn["colours"][part][0][column].reshape(*shape, 3)[place]
                    axes.imshow(cells, extent=extent, alpha=0.62, interpolation="nearest")
                axes.set_xticks([])
                axes.set_yticks([])
                if column == 0:
                    axes.set_ylabel(camera if part is None else _name(part), fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _maps(found: Mapping[str, Any], drawn: Mapping[str, Any]) -> str:
    labels = np.asarray(drawn["labels"])
    kinds = np.unique(labels)

    def draw(figure: Any, narrow: bool) -> None:
        count = len(drawn["maps"])
        grid = figure.subplots(count if narrow else 1, 1 if narrow else max(count, 2), squeeze=False).ravel()
        for axes in grid[count:]:
            axes.set_visible(False)
        for axes, (part, (points, _)) in zip(grid, drawn["maps"].items(), strict=False):
            for kind in kinds:
                own = points[labels == kind]
                axes.plot(own[:, 0], own[:, 1], "o", color=_COLOURS[kind], ms=3, alpha=0.7, mew=0)
            axes.set_title(_name(part))
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(False)

    figure = themed(draw, name="tsne", wide=(9.2, 4.4), narrow=(4.4, 4.2 * len(drawn["maps"])), label="t-SNE of tokens by what they show")
    key = "".join(f'<span class="key" style="--dot: {_COLOURS[kind]}"><i></i>{CLASSES[kind]}</span>' for kind in kinds)
    used = next(iter(drawn["maps"].values()))[1]
    lead = (f"t-SNE of {len(labels)} tokens, perplexity {used:.3g}, coloured by what the simulator says that their cell shows, as many of "
            "each class where there are so many. The picture alone proves nothing: the scores below are "
            "measured on episodes that no probe was fitted on.")
    return section("maps", "Tokens by what they show", lead, f'<div class="card">{key}{figure}</div>')


# --- figures ------------------------------------------------------------------------------------------------------------

def _probes(found: Mapping[str, Any]) -> str:
    probes = found["probes"]
    targets = [name for name in _TARGETS if any(scores.get(name) for scores in probes.values())]
    layers = [str(layer) for layer in found["layers"]]

    def draw(figure: Any, narrow: bool) -> None:
        shape = (len(targets), 1) if narrow else (-(-len(targets) // 2), 2)
        grid = figure.subplots(*shape, squeeze=False).ravel()
        for axes in grid[len(targets):]:
            axes.set_visible(False)
        for axes, target in zip(grid, targets, strict=False):
            own = [(int(name), probes[name][target]) for name in layers if probes[name].get(target)]
            x = [at for at, _ in own]
            axes.fill_between(x, [s["low"] for _, s in own], [s["high"] for _, s in own], color=THEME["model"], alpha=0.16, lw=0)
            axes.vlines(x, [s["low"] for _, s in own], [s["high"] for _, s in own], color=THEME["model"], alpha=0.28, lw=4)
            axes.plot(x, [s["value"] for _, s in own], "-o", color=THEME["model"], lw=1.6, ms=4)
            axes.plot(x, [s["chance"] for _, s in own], color=THEME["faint"], lw=0.8, ls=(0, (3, 2)))
            for part, role in (("teacher", "baseline"), ("pixels", "plan")):
                if probes.get(part, {}).get(target):
                    axes.axhline(probes[part][target]["value"], color=THEME[role], lw=1.4)
            axes.set_title(_TARGETS[target][0])
            axes.set_ylabel(_TARGETS[target][1])
            axes.set_xlabel("after layer")
            axes.set_xticks(x)

    tall = 2.6 * -(-len(targets) // 2)
    figure = themed(draw, name="probes", wide=(9.2, tall), narrow=(4.4, 2.5 * len(targets)), label="Scores of linear probes by layer")
    key = "".join(f'<span class="key" style="--dot: var(--{role})"><i></i>{name}</span>' for name, role in
                  (("layers", "model"), *((("teacher", "baseline"),) if found["teacher"] else ()), ("pixels of the present", "plan"),
                   ("dashes: exchanged labels", "faint")))
    head = ["", *(f"{_TARGETS[name][0]}" for name in targets), "object, R² over all", "object, error"]
    lines = [[escape(_name(part)), *(_cell(scores.get(name)) for name in targets), _cell(scores.get("position_all")),
              f"{100 * scores['position_error']:.1f} %" if "position_error" in scores else ""] for part, scores in probes.items()]
    lead = ("Linear probes on episodes that they were not fitted on, with 95 % intervals over episodes. R² over the task's mean: what "
            "knowing the task tells counts for nothing. Teacher and pixels stand beside: the teacher sees the very frame, the pixels are "
            "those of the present. Dashes: the same probe on labels exchanged between frames.")
    return section("probes", "What one matrix can read", lead, f'<div class="card">{key}{figure}</div>'
                   f'<div class="card below">{table(head, lines)}<p class="small faint">The error is the median distance, in shares of the '
                   "picture's sides.</p></div>")


def _cell(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return ""
    return (f"{one['value']:.2f} <br><span class='faint small'>{one['low']:.2f} to {one['high']:.2f}"
            f"<br>chance {_number(one['chance'])}</span>")


def _likeness(found: Mapping[str, Any]) -> str:
    names = [_name(name) for name in found["cka"]["names"]]
    matrix = np.array([[np.nan if x is None else x for x in row] for row in found["cka"]["matrix"]])

    def draw(figure: Any, narrow: bool) -> None:
        axes = figure.subplots()
        axes.pcolormesh(matrix, cmap="Blues", vmin=0, vmax=1.25, edgecolors="none")
        for i, row in enumerate(matrix):
            for j, value in enumerate(row):
                axes.text(j + 0.5, i + 0.5, f"{value:.2f}", ha="center", va="center", fontsize=7 if narrow else 9,
                          color="#ffffff" if value > 0.7 else "#15171c")
        ticks = np.arange(len(names)) + 0.5
        axes.set_xticks(ticks, names, rotation=45 if narrow else 0)
        axes.set_yticks(ticks, names)
        axes.invert_yaxis()
        axes.grid(False)
        axes.set_aspect("equal")

    side = 0.62 * len(names) + 0.9
    figure = themed(draw, name="cka", wide=(side + 0.6, side), narrow=(4.4, 4.4), label="Likeness of layers and teacher")
    lead = ("Linear CKA, debiased, over tokens without the mean of their place: 1 for a turned and scaled copy, 0 for nothing in common.")
    return section("cka", "Likeness of layers" + (" and teacher" if found["teacher"] else ""), lead,
                   f'<div class="card" style="max-width: {min(180 + 72 * len(names), 760)}px">{figure}</div>')
