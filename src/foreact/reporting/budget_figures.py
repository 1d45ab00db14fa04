"""Figures of accuracy at budget: success against latency, where the time of a plan goes, and how failures ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foreact.reporting.figures import THEME, themed

__all__ = ["COLOURS", "endings", "plane", "small_multiples", "stages"]

COLOURS = ("#3b7dd8", "#d9822b", "#2f9e6e", "#c2476b", "#8a63c9", "#a07a1f", "#2a9db0", "#d05a3c", "#6f8f2f", "#b553a8", "#5a6fb0",
           "#8d6e63")
"""Of policies in order, legible on light and dark ground; the baseline is drawn in the page's ink."""
_MARKS = "oDs^vPX<>p*h"
_STAGES = {"preprocessing": "#9aa3ad", "encoding": "#5a6fb0", "future": "#d9822b", "future and action together": "#b08a2e",
           "action": "#2f9e6e", "selection": "#c2476b"}
_ENDED = {"solved": "#2f9e6e", "in contact": "#d9a441", "lost": "#d9822b", "never touched": "#c2476b", "unknown": "#9aa3ad"}


def colour_of(found: Mapping[str, Any], name: str) -> str:
    """The colour of a policy, the same in every figure."""
    others = [policy["name"] for policy in found["policies"] if not policy["baseline"]]
    return COLOURS[others.index(name) % len(COLOURS)] if name in others else THEME["ink"]


def plane(found: Mapping[str, Any]) -> str:
    """Every point with its interval, a line through each policy's own front, the front of all, the baseline as a stair."""
    def draw(figure: Any, narrow: bool) -> None:
        axes = figure.subplots()
        stair(axes, found)
        for index, policy in enumerate(found["policies"]):
            _policy(axes, found, policy, _MARKS[index % len(_MARKS)], intervals=not narrow)
        rows = {row["key"]: row for policy in found["policies"] for row in policy["points"]}
        best = [rows[key] for key in found["front"]]
        axes.plot([_x(row) for row in best], [_y(row) for row in best], "o", mfc="none", mec=THEME["now"], ms=13, mew=1.6, zorder=5)
        _dress(axes, found)
        figure.legend(loc="outside lower center", ncols=2 if narrow else 5, frameon=False, fontsize=8, labelcolor=THEME["ink"])

    return themed(draw, name="plane", wide=(9.2, 5.2), narrow=(4.3, 5.6), label="Success against the median latency of one plan")


def small_multiples(found: Mapping[str, Any]) -> str:
    """One panel for each policy: its points with intervals, over the baseline's stair."""
    shown = [policy for policy in found["policies"] if not policy["baseline"]]

    def draw(figure: Any, narrow: bool) -> None:
        columns = 2 if narrow else min(4, len(shown))
        rows = -(-len(shown) // columns)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axes in grid[len(shown):]:
            axes.set_visible(False)
        for axes, policy in zip(grid, shown, strict=False):
            stair(axes, found)
            _policy(axes, found, policy, "o", intervals=True)
            own = policy["points"][0]
            axes.plot([_x(own)], [_y(own)], "o", mfc="none", mec=THEME["ink"], ms=10, mew=1.2)
            _dress(axes, found, title=policy["name"], labels=False)

    count = len(shown)
    return themed(draw, name="multiples", wide=(9.2, 2.3 * -(-count // min(4, count))), narrow=(4.3, 2.2 * -(-count // 2)),
                  label="Success against latency, policy by policy")


def stages(found: Mapping[str, Any]) -> str:
    """Mean time of one plan by stage, each policy at its own point."""
    rows = [policy["points"][0] for policy in found["policies"]]
    names = [name for name in found["laps"] if any(name in row["latency_ms"]["laps"] for row in rows)]

    def value(row: Mapping[str, Any], name: str) -> float:
        lap = row["latency_ms"]["laps"].get(name)
        return 0.0 if lap is None else float(lap["mean"])

    return _stacked([row["policy"] for row in rows], {name: [value(row, name) for row in rows] for name in names}, _STAGES,
                    name="stages", label="Where the time of one plan goes", axis="ms for one plan, mean")


def endings(found: Mapping[str, Any]) -> str:
    """Episodes that were solved, and how the others ended, each policy at its own point."""
    rows = [policy["points"][0] for policy in found["policies"]]
    parts = {"solved": [row["success"]["successes"] for row in rows]}
    for name in ("in contact", "lost", "never touched", "unknown"):
        counts = [row["failures"].get(name, 0) for row in rows]
        if any(counts) or name != "unknown":
            parts[name] = counts
    return _stacked([row["policy"] for row in rows], parts, _ENDED, name="endings", label="How episodes ended", axis="episodes")


def stair(axes: Any, found: Mapping[str, Any]) -> None:
    """The best success of the baseline within each latency, with the interval of that point."""
    base = next((policy for policy in found["policies"] if policy["baseline"]), None)
    if base is None:
        return
    rows = {row["key"]: row for row in base["points"]}
    best = [rows[key] for key in base["front"]]
    far = 1.15 * max(_x(row) for policy in found["policies"] for row in policy["points"])
    x, last = [_x(row) for row in best] + [far], best[-1]
    low, high = ([100 * row["success"]["interval"][i] for row in best] + [100 * last["success"]["interval"][i]] for i in (0, 1))
    axes.fill_between(x, low, high, step="post", color=THEME["ink"], alpha=0.12, lw=0)
    axes.step(x, [_y(row) for row in best] + [_y(last)], where="post", color=THEME["ink"], lw=1.3, ls=(0, (4, 2)))


def _policy(axes: Any, found: Mapping[str, Any], policy: Mapping[str, Any], mark: str, *, intervals: bool) -> None:
    colour, every = colour_of(found, policy["name"]), policy["points"]
    best = [row for key in policy["front"] for row in every if row["key"] == key]
    if intervals:
        for row in every:
            low, high = row["success"]["interval"]
            axes.plot([_x(row)] * 2, [100 * low, 100 * high], color=colour, lw=3, alpha=0.2, solid_capstyle="butt")
    axes.plot([_x(row) for row in best], [_y(row) for row in best], color=colour, lw=1.2, alpha=0.8)
    axes.plot([_x(row) for row in every], [_y(row) for row in every], mark, color=colour, ms=5.5, label=policy["name"])


def _dress(axes: Any, found: Mapping[str, Any], *, title: str = "", labels: bool = True) -> None:
    every = [_x(row) for policy in found["policies"] for row in policy["points"]]
    axes.set_xscale("log")
    axes.minorticks_off()
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if 0.7 * min(every) <= tick <= 1.4 * max(every)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlim(0.85 * min(every), 1.15 * max(every))
    axes.set_yticks([0, 25, 50, 75, 100], ["0", "25", "50", "75", "100 %"])
    axes.set_ylim(-4, 104)
    if title:
        axes.set_title(title)
    if labels:
        axes.set_xlabel("one plan for one robot, ms, median")
        axes.set_ylabel("success")


def _stacked(names: Sequence[str], parts: Mapping[str, Sequence[float]], colours: Mapping[str, str], *, name: str, label: str,
             axis: str) -> str:
    def draw(figure: Any, narrow: bool) -> None:
        axes, left = figure.subplots(), [0.0] * len(names)
        for part, values in parts.items():
            axes.barh(range(len(names)), values, left=left, height=0.62, color=colours[part], label=part)
            left = [a + b for a, b in zip(left, values, strict=True)]
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", labelcolor=THEME["ink"])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel(axis)
        axes.grid(False, axis="y")
        figure.legend(loc="outside lower center", ncols=2 if narrow else len(parts), frameon=False, fontsize=8, labelcolor=THEME["ink"])

    tall = 0.33 * len(names) + 1.1
    return themed(draw, name=name, wide=(9.2, tall), narrow=(4.3, tall + 0.5), label=label)


def _x(row: Mapping[str, Any]) -> float:
    return float(row["latency_ms"]["p50"])


def _y(row: Mapping[str, Any]) -> float:
    return 100 * float(row["success"]["rate"])
