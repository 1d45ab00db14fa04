"""The figures of `foreact diagnose consistency`, one function for each; the numbers of the paper's figures that they answer to are named.

Each takes what the command found of one evaluation, as plain data in which None stands where there is no number, and a name that is unique
on the page. Successes are drawn in the colour of the model, failures in that of the baseline.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foreact.reporting.figures import THEME, themed
from foreact.reporting.page import data_uri

__all__ = ["SIDES", "against", "by_alignment", "corrections", "frozen", "histogram", "over_time", "rocs", "scatter", "strip",
           "task_rocs", "task_scores", "value_and_consistency"]

SIDES = (("successes", "model", True), ("failures", "baseline", False))
_SHOWN = 1500
_WIDE, _NARROW = (4.6, 3.0), (4.4, 2.9)
_DASHES = (0, (4, 2))


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


# --- separation -------------------------------------------------------------------------------------------------------

def histogram(found: Mapping[str, Any], name: str) -> str:
    """Figure 1."""
    z, success = (np.array([one[key] for one in found["episodes"]]) for key in ("z", "success"))

    def draw(figure: Any, narrow: bool) -> None:
        axes, edges = figure.subplots(), np.linspace(-3, 3, 19)
        for _, role, kept in SIDES:
            mine = np.clip(z[success == kept], -3, 3)
            if len(mine):
                share = np.histogram(mine, edges)[0] / len(mine)
                axes.stairs(share, edges, fill=True, color=THEME[role], alpha=0.28, lw=0)
                axes.stairs(share, edges, color=THEME[role], lw=1.4)
                axes.axvline(mine.mean(), color=THEME[role], lw=1.2, ls=_DASHES)
        axes.set_xlabel("z of log C within the task: less consistent to more")
        axes.set_ylabel("share of episodes")

    return themed(draw, name=name, wide=_WIDE, narrow=_NARROW, label="z-scores of successes and failures")


def rocs(found: Mapping[str, Any], name: str) -> str:
    """Figure 2: over the aligned tasks, as the paper tells it, and over all."""
    rates = np.array(found["roc"]["false_rates"])

    def draw(figure: Any, narrow: bool) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=THEME["faint"], lw=0.8, ls=_DASHES)
        for kind, role in (("aligned", "plan"), ("all", "model")):
            curve = found["roc"][kind]
            if curve is not None:
                axes.plot([0, *rates], [0, *curve], color=THEME[role], lw=1.8)
        _square(axes)

    return themed(draw, name=name, wide=_WIDE, narrow=_NARROW, label="ROC of a regression on the score, out of fold")


def task_scores(found: Mapping[str, Any], name: str) -> str:
    """Figure 10."""
    tasks = list(found["tasks"])

    def draw(figure: Any, narrow: bool) -> None:
        axes = figure.subplots()
        for row, task in enumerate(tasks):
            for shift, (side, role, _) in zip((-0.14, 0.14), SIDES, strict=True):
                of = found["tasks"][task]
                _dot(axes, of[f"c_{side}"], of[f"c_{side}_interval"], row + shift, role)
        _rows(axes, tasks)
        axes.set_xlabel("mean C = exp( -d / tau ), 95 % interval")

    return themed(draw, name=name, wide=_tall(len(tasks)), narrow=_tall(len(tasks), 4.4),
                  label="Consistency of successes and failures by task")


def task_rocs(found: Mapping[str, Any], name: str) -> str:
    """Figure 11: of the score itself; the grey line is chance."""
    told = {task: of["roc"] for task, of in found["tasks"].items() if of["roc"] is not None}
    if not told:
        return ""

    def draw(figure: Any, narrow: bool) -> None:
        columns = min(len(told), 2 if narrow else 4)
        rows = -(-len(told) // columns)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid[len(told):]:
            axes.set_visible(False)
        for axes, (task, of) in zip(grid, told.items(), strict=False):
            axes.plot([0, 1], [0, 1], color=THEME["faint"], lw=0.8, ls=_DASHES)
            axes.plot(of["false"], of["true"], color=THEME["model"], lw=1.6)
            axes.set_title(f"{task}: {of['area']:.2f}", fontsize=8.5)
            axes.set_xticks([0, 1])
            axes.set_yticks([0, 1])
            axes.set_aspect("equal")

    across, down = min(len(told), 4), -(-len(told) // 4)
    return themed(draw, name=name, wide=(max(2.3 * across, 4.6), 2.4 * down), narrow=(4.4, 2.4 * -(-len(told) // 2)),
                  label="ROC of the score, task by task")


# --- change -----------------------------------------------------------------------------------------------------------

def scatter(frames: Sequence[tuple[bool, float, float]], name: str) -> str:
    """Figure 12, at the left. frames: (success, distance, change) of each, of which at most 1500 are drawn."""
    success = np.array([one[0] for one in frames])
    both = np.maximum(np.array([one[1:] for one in frames]), 1e-6)
    shown = np.random.default_rng(0).permutation(len(frames))[:_SHOWN]

    def draw(figure: Any, narrow: bool) -> None:
        from matplotlib.ticker import LogLocator

        axes = figure.subplots()
        for _, role, kept in SIDES:
            mine = shown[success[shown] == kept]
            axes.plot(both[mine, 1], both[mine, 0], "o", color=THEME[role], ms=2.6, alpha=0.4, mew=0)
        reach = [both[:, 1].min(), both[:, 1].max()]
        axes.plot(reach, reach, color=THEME["faint"], lw=0.8, ls=_DASHES)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(both[:, 0].min() / 1.5, both[:, 0].max() * 1.5)  # the line goes as far as it is needed
        for axis, span in ((axes.xaxis, both[:, 1]), (axes.yaxis, both[:, 0])):  # a range is often less than a power of ten
            axis.set_major_locator(LogLocator(subs=(1,) if span.max() > 100 * span.min() else (1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
        axes.set_xlabel("change of what was seen")
        axes.set_ylabel("distance to what was imagined")

    return themed(draw, name=name, wide=_WIDE, narrow=_NARROW, label="distance against change")


def over_time(found: Mapping[str, Any], name: str) -> str:
    """Figure 12, at the right: consistency above, change below."""
    def draw(figure: Any, narrow: bool) -> None:
        for axes, kind in zip(figure.subplots(2, 1, sharex=True), ("consistency", "change"), strict=True):
            for side, role, _ in SIDES:
                _band(axes, found["change"]["over_time"][kind][side], role)
            axes.set_title(kind)
            axes.locator_params(axis="y", nbins=4)
        axes.set_xlabel("control step")
        figure.supylabel("z within the task", fontsize=9.5, color=THEME["faint"])

    return themed(draw, name=name, wide=(4.6, 3.6), narrow=(4.4, 3.6), label="consistency and change over time")


def by_alignment(found: Mapping[str, Any], name: str) -> str:
    """Figure 4."""
    tasks = sorted(found["change"]["by_alignment"]["tasks"].items(), key=lambda item: (not item[1]["aligned"], -item[1]["change"]))

    def draw(figure: Any, narrow: bool) -> None:
        axes = figure.subplots()
        for row, (_, of) in enumerate(tasks):
            _dot(axes, of["change"], of["change_interval"], row, "model" if of["aligned"] else "now")
        _rows(axes, [task for task, _ in tasks])
        axes.set_xlabel("mean change of what was seen, 95 % interval")

    return themed(draw, name=name, wide=_tall(len(tasks)), narrow=_tall(len(tasks), 4.4), label="Change by task, aligned and misaligned")


# --- collapse ---------------------------------------------------------------------------------------------------------

def frozen(tried: Mapping[str, Any], share: float, name: str) -> str:
    """The change of frozen episodes, with that of successes, in medians of the successes; the floor, and where they froze."""
    def draw(figure: Any, narrow: bool) -> None:
        axes = figure.subplots()
        for kind, role in (("successes", "model"), ("frozen", "now")):
            of = tried["change"][kind]
            axes.fill_between(of["steps"], of["low"], of["high"], color=THEME[role], alpha=0.2, lw=0)
            axes.plot(of["steps"], of["middle"], color=THEME[role], lw=1.7)
        axes.axhline(share, color=THEME["faint"], lw=1.0, ls=_DASHES)
        axes.axvline(tried["at"], color=THEME["ink"], lw=1.0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("control step; upright line: here they froze")
        axes.set_ylabel("change, in medians")

    return themed(draw, name=name, wide=_WIDE, narrow=_NARROW, label="change of frozen episodes and of successes")


def strip(moments: Sequence[Mapping[str, Any]], words: str) -> str:
    """Figures 3 and 15: what was seen above what had been imagined of it, at several steps. A picture of pictures."""
    from html import escape

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.3 * len(moments), 2.9), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for axes, moment in zip(figure.subplots(2, len(moments), squeeze=False).T, moments, strict=True):
        for place, name in zip(axes, ("seen", "imagined"), strict=True):
            place.imshow(moment[name], interpolation="nearest")
            place.set_xticks([])
            place.set_yticks([])
            place.set_title(f"step {moment['step']}" if name == "seen" else name, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f'<img alt="{escape(words, quote=True)}" src="{data_uri("image/png", buffer.getvalue())}" style="width:100%">'


def corrections(found: Mapping[str, Any], name: str) -> str:
    """AUC by each score."""
    of = found["correction"]
    rows = [("log C = -d", found["all"]["auc"], found["all"]["auc_interval"], "model")]
    rows += [(title, of[kind]["auc"], of[kind]["auc_interval"], "plan" if kind in ("log", "change") else "model")
             for kind, title in (("ratio", "d / change"), ("residual", "residual"), ("log", "control: log d"),
                                 ("change", "control: change"))]

    def draw(figure: Any, narrow: bool) -> None:
        axes = figure.subplots()
        axes.axvline(0.5, color=THEME["faint"], lw=0.8, ls=_DASHES)
        for row, (_, value, spread, role) in enumerate(rows):
            _dot(axes, value, spread, row, role)
        _rows(axes, [title for title, *_ in rows])
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("AUC out of fold, 95 % interval")

    return themed(draw, name=name, wide=_WIDE, narrow=_NARROW, label="AUC by score, plain and corrected")


# --- value, and pairs of evaluations ----------------------------------------------------------------------------------

def value_and_consistency(found: Mapping[str, Any], name: str) -> str:
    """Figure 5."""
    return _two(found["value"]["gap"], found["value"]["gap_of_consistency"], ("value", "consistency"), "success less failure, z", name,
                "Success less failure over time, of value and of consistency")


def against(found: Mapping[str, Any], name: str) -> str:
    """Figure 13."""
    of = found["against"]
    return _two(of["change"], of["consistency"], ("change", "consistency"), "difference, deviations", name,
                "Difference of the two evaluations over time")


def _two(above: Mapping[str, Any], below: Mapping[str, Any], titles: tuple[str, str], side: str, name: str, label: str) -> str:
    def draw(figure: Any, narrow: bool) -> None:
        for axes, curve, title in zip(figure.subplots(2, 1, sharex=True), (above, below), titles, strict=True):
            axes.axhline(0, color=THEME["faint"], lw=0.8, ls=_DASHES)
            _band(axes, curve, "model")
            axes.set_title(title)
            axes.locator_params(axis="y", nbins=4)
        axes.set_xlabel("control step")
        figure.supylabel(side, fontsize=9.5, color=THEME["faint"])

    return themed(draw, name=name, wide=(4.6, 3.6), narrow=(4.4, 3.6), label=label)


# --- pieces -----------------------------------------------------------------------------------------------------------

def _band(axes: Any, curve: Mapping[str, Any], role: str) -> None:
    axes.fill_between(curve["steps"], _numbers(curve["low"]), _numbers(curve["high"]), color=THEME[role], alpha=0.2, lw=0)
    axes.plot(curve["steps"], _numbers(curve["mean"]), color=THEME[role], lw=1.6)


def _dot(axes: Any, value: float | None, spread: Sequence[float | None], row: float, role: str) -> None:
    if value is not None:
        if spread[0] is not None:
            axes.plot(spread, [row, row], color=THEME[role], lw=5, alpha=0.28)
        axes.plot([value], [row], "o", color=THEME[role], ms=6.5)


def _rows(axes: Any, titles: Sequence[str]) -> None:
    axes.set_yticks(range(len(titles)), titles)
    axes.tick_params(axis="y", labelcolor=THEME["ink"])
    axes.set_ylim(len(titles) - 0.45, -0.55)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)


def _tall(rows: int, width: float = 4.6) -> tuple[float, float]:
    return width, 0.42 * rows + 1.0


def _square(axes: Any) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("failures above the threshold")
    axes.set_ylabel("successes above it")
