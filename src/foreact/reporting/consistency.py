"""The page of `foreact diagnose consistency`: how consistent successes and failures were by task, and what change has to do with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from foreact.contract.storage import atomic_write_text
from foreact.reporting.figures import THEME, themed
from foreact.reporting.page import diagnosis, section, table, tile

__all__ = ["write_consistency_page"]

_SIDES = (("successes", "model", True), ("failures", "baseline", False))
_SHOWN = 1500


def write_consistency_page(found: Mapping[str, Any], drawn: Sequence[Mapping[str, Any]], path: Path | str, *, written: str = "") -> Path:
    """`found`: what the command measured. drawn: by evaluation, z and success of each episode, and (log C, change) of its frames."""
    path = Path(path)
    parts = [_head(found), _table(found)]
    parts += [_evaluation(one, pictures, index) for index, (one, pictures) in enumerate(zip(found["evaluations"], drawn, strict=True))]
    atomic_write_text(path, diagnosis("consistency", title="Consistency", body="".join(parts), written=written))
    return path


def _number(value: float | None, sign: bool = True) -> str:
    return "?" if value is None or not math.isfinite(value) else f"{value:{'+' if sign else ''}.2f}"


def _with(of: Mapping[str, Any], name: str, sign: bool = True) -> str:
    if of[name] is None or not math.isfinite(of[name]):
        return "?"
    low, high = of[f"{name}_interval"]
    return f"{_number(of[name], sign)} <span class='faint'>{_number(low, sign)} to {_number(high, sign)}</span>"


def _head(found: Mapping[str, Any]) -> str:
    tiles = []
    for one in found["evaluations"]:
        low, high = one["all"]["d_interval"]
        tiles.append(tile(f"d, {one['name']}", _number(one["all"]["d"]),
                          f"95 %: {_number(low)} to {_number(high)}; AUC {_number(one['all']['auc'], False)}; "
                          f"{one['all']['successes']} of {one['all']['episodes']} succeeded"))
    return ('<section id="head"><h1>Did what was imagined come true, and does that tell success from failure?</h1>'
            f'<div class="tiles below">{"".join(tiles)}</div></section>')


def _table(found: Mapping[str, Any]) -> str:
    rows, more = [], []
    for one in found["evaluations"]:
        aligned = one["aligned"]
        some = f"{len(aligned['tasks'])} of {len(one['tasks'])}"
        rows.append([escape(one["name"]), str(one["all"]["episodes"]), _with(one["all"], "d"), _with(one["all"], "auc", False),
                     f"{some}: {_with(aligned, 'auc', False)}" if "auc" in aligned else some])
        value = ["", ""] if one["value"] is None else [_with(one["value"], "d"), _with(one["value"], "auc", False)]
        more.append([escape(one["name"]), escape(one["distance"]), str(one["frames"]), _with(one, "skill"), _with(one, "collapse"), *value])
    rows += [[f"paper: {escape(name)}", "", _number(of["d"]), "", _number(of["auc"], False)] for name, of in found["paper"].items()]
    head = ["evaluation", "episodes", "Cohen's d", "AUC", "AUC over aligned tasks"]
    heads = ["evaluation", "distance", "frames", "skill", "collapse", "d of the value", "AUC of the value"]
    lead = ("Each with its 95 % interval over seeds. d: of successes less failures, in z-scores of log C within each task. AUC: of telling "
            "them apart on seeds that the regression has not seen. Skill: 0 for a future in which nothing moves. Collapse: rank "
            "correlation of log C with how much changed.")
    body = f'<div class="card">{table(head, rows)}</div><div class="card below">{table(heads, more)}</div>'
    return section("figures", "In figures", lead, body)


def _evaluation(one: Mapping[str, Any], drawn: Mapping[str, Any], index: int) -> str:
    z, success = np.asarray(drawn["z"]), np.asarray(drawn["success"])
    frames = np.concatenate([np.asarray(own) for own in drawn["frames"]])
    of_success = np.concatenate([np.full(len(own), kept) for own, kept in zip(drawn["frames"], success, strict=True)])
    shown = np.random.default_rng(0).permutation(len(frames))[:_SHOWN]

    def histogram(figure: Any, narrow: bool) -> None:
        axes, edges = figure.subplots(), np.linspace(-3, 3, 19)
        for name, role, kept in _SIDES:
            mine = np.clip(z[success == kept], -3, 3)
            if len(mine):
                share = np.histogram(mine, edges)[0] / len(mine)
                axes.stairs(share, edges, fill=True, color=THEME[role], alpha=0.28, lw=0)
                axes.stairs(share, edges, color=THEME[role], lw=1.4)
                axes.axvline(mine.mean(), color=THEME[role], lw=1.2, ls=(0, (4, 2)), label=name)
        axes.set_xlabel("z of log C within the task: less consistent to more")
        axes.set_ylabel("share of episodes")

    def scatter(figure: Any, narrow: bool) -> None:
        from matplotlib.ticker import LogLocator

        axes = figure.subplots()
        for _, role, kept in _SIDES:
            mine = shown[of_success[shown] == kept]
            change, distance = np.maximum(frames[mine, 1], 1e-6), np.maximum(-frames[mine, 0], 1e-6)
            axes.plot(change, distance, "o", color=THEME[role], ms=2.6, alpha=0.4, mew=0)
        reach = [max(frames[:, 1].min(), 1e-6), frames[:, 1].max()]
        axes.plot(reach, reach, color=THEME["faint"], lw=0.8, ls=(0, (3, 2)))
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):  # a range is often less than a power of ten
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
        axes.set_xlabel("change of what was seen")
        axes.set_ylabel("distance to what was imagined")

    key = "".join(f'<span class="key" style="--dot: var(--{role})"><i></i>{name}</span>' for name, role, _ in _SIDES)
    left = themed(histogram, name=f"z{index}", wide=(4.6, 3.0), narrow=(4.4, 2.8), label="z-scores of successes and failures")
    right = themed(scatter, name=f"change{index}", wide=(4.6, 3.0), narrow=(4.4, 3.0), label="distance against change")
    rows = [[escape(task), f"{of['successes']} of {of['episodes']}", _number(of["c_success"], False), _number(of["c_failure"], False),
             _with(of, "d"), "yes" if task in one["aligned"]["tasks"] else "no"] for task, of in one["tasks"].items()]
    shown_tasks = table(["task", "succeeded", "mean C of successes", "of failures", "Cohen's d", "aligned"], rows)
    lead = (f"{one['frames']} frames in {escape(one['distance'])} distance, "
            f"{'until which the robot did what the plan said' if one['on_plan'] else 'of plans that had given way before'}. "
            "Broken line on the right: a future in which nothing moves; below it imagining helps.")
    return section(f"evaluation{index}", one["name"], lead,
                   f'<div class="split"><div class="card">{key}{left}</div><div class="card">{key}{right}</div></div>'
                   f'<div class="card below">{shown_tasks}</div>')
