"""What a study of factors found, as a page of Markdown for each study with its picture; the same rows as `results.json`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foreact.cli.factor_study import Family, Grid
from foreact.contract.config import encode
from foreact.contract.storage import atomic_write_text

__all__ = ["page", "page_together", "picture", "publish", "publish_together", "summary"]

RULE = (
    "The rule, fixed before the runs: an interval is the wider, on each side, of Student's t between training seeds and Newcombe's for "
    "the paired episodes of all of them. A claim that one arm is better is *reproduced* where the interval of the difference lies above "
    "zero, *not reproduced* where it lies below half of the source's own difference (below zero where it gives none), and otherwise "
    "*undecided at this size*; a claim of no difference is judged by its margin in the same way, and one about a measure by Student's t "
    "alone. Every claim is judged by itself; nothing is corrected for their number.")


_CLAIM = (("claim", "---"), ("difference", "---:"), ("95 %", "---"), ("by training seed", "---"), ("source", "---:"), ("verdict", "---"))


def summary(found: Mapping[str, Any]) -> str:
    """Every claim with its verdict, for the terminal."""
    lines = []
    for study in found["studies"].values():
        lines.append(study["title"])
        for row in study["rows"]:
            cells = [f"{c} {_rate(x)}" for c, x in row["conditions"].items()]
            lines.append(f"  {row['arm']:<32} " + "   ".join(cells))
        lines += [f"  {claim['verdict']}: {claim['says']} ({_difference(claim)})" for claim in study["claims"]]
    return "\n".join(lines)


def page(family: Family, found: Mapping[str, Any], name: str, image: str) -> str:
    """The study `name` as Markdown; `image`: where its picture lies, from the page."""
    study, grid = found["studies"][name], found["grid"]
    return "\n".join([
        f"# {study['title']}", "", f"What differs: {study['factor']}.", "", *_found(study, list(grid["conditions"]), image), "", RULE, "",
        f"Recipe `{found['recipe']}` at size {grid['size']}; {_ran(study, grid, family.demonstrations)} Protocol fingerprint "
        f"{study['rows'][0]['fingerprint']}. Success in points; {family.source}.", "",
        f"`foreact study {family.name} {shlex.join(_words(family.grid, grid, name))}` runs it again.", ""])


def page_together(families: Mapping[str, Family], found: Mapping[str, Any], name: str, images: Mapping[str, str], command: str) -> str:
    """The study `name` of several recipes, one after the other. images: of each, where its picture lies, from the page."""
    grid, each = found["grid"], {family: families_found["studies"][name] for family, families_found in found["families"].items()}
    first = next(iter(each.values()))
    lines = [f"# {first['title']}", "", f"What differs: {first['factor']}."]
    for family, study in each.items():
        lines += ["", f"## {family.replace('-', ' ').capitalize()}: {families[family].recipe}", "",
                  *_found(study, list(grid["conditions"]), images[family]), "",
                  f"Protocol fingerprint {study['rows'][0]['fingerprint']}; {families[family].source}."]
    of_family = next(iter(families.values()))
    return "\n".join([
        *lines, "", RULE, "", f"Recipes at size {grid['size']}; {_ran(first, grid, of_family.demonstrations)} Success in points.", "",
        f"`foreact study {command} {shlex.join(_words(of_family.grid, grid, name))}` runs it again.", ""])


def _found(study: Mapping[str, Any], conditions: Sequence[str], image: str) -> list[str]:
    """Picture and tables of one study of one recipe."""
    chance = study["chance"]
    columns = [("arm", "---"), *(column for c in conditions for column in (
        (c.capitalize(), "---:"), ("95 %", "---"), ("by training seed", "---"), ("source", "---:"))), ("one plan, ms", "---:")]
    cells = [[row["arm"], *(cell for c in conditions for cell in _cells(row["conditions"][c], row["paper"].get(c))),
              "" if row["plan_ms"] is None else f"{row['plan_ms']:.0f}"] for row in study["rows"]]
    cells.append(["*random actions*", *(cell for c in conditions for cell in _cells(chance[c], None)), ""])
    lines = [f"![Success of each arm]({image})", "", *_table(columns, cells), *_measures(study), *_training(study)]
    backs = [f"{row['arm']}: {row['rolled_back'][0]} of {row['rolled_back'][1]}" for row in study["rows"] if row["rolled_back"]]
    if backs:
        lines += ["", f"Episodes that went back at least once: {'; '.join(backs)}."]
    if study["missing"]:
        lines += ["", f"Not run yet: {', '.join(study['missing'])}."]
    return lines + (["", *_table(_CLAIM, [_judged(claim) for claim in study["claims"]])] if study["claims"] else [])


def _ran(study: Mapping[str, Any], grid: Mapping[str, Any], demonstrations: str) -> str:
    """What was learnt from and what was run, in sentences."""
    seen, ran = list(grid["tasks"]), list(study["chance"][grid["conditions"][0]]["tasks"])
    tasks = ", ".join(seen) if set(seen) == set(ran) else f"trained on {', '.join(seen)}; run on {', '.join(ran)}"
    equal = "" if study["equal"] == "steps" else " of the first arm, and for every other arm as many operations as these took"
    return (
        f"{len(grid['tasks'])} Meta-World tasks ({tasks}), {grid['demonstrations']} demonstrations of each{demonstrations}; "
        f"{grid['steps']} optimisation steps{equal}, {grid['training_seeds']} training seeds, each run on {grid['episodes']} unseen seeds "
        f"per task and condition from 1,000,000 on, where nothing else is said, at most {grid['horizon']} control steps. Intervals of the "
        "upper table are Wilson's over the episodes of all trainings.")


def _measures(study: Mapping[str, Any]) -> list[str]:
    """What was measured on each arm's trainings, as a table; nothing where nothing was."""
    if not study["measures"]:
        return []
    rows = []
    for row in study["rows"]:
        cells = []
        for name in study["measures"]:
            values = [value for value in row["measures"].get(name, {}).get("by_training_seed", []) if value is not None]
            paper = row["measures"].get(name, {}).get("paper")
            cells += [f"{sum(values) / len(values):.2f}" if values else "", ", ".join(f"{value:.2f}" for value in values),
                      "" if paper is None else f"{paper:.2f}"]
        if any(cells):
            rows.append([row["arm"], *cells])
    columns = [column for name in study["measures"] for column in ((name, "---:"), ("by training seed", "---"), ("source", "---:"))]
    return ["", *_table([("arm", "---"), *columns], rows)]


def _judged(claim: Mapping[str, Any]) -> list[str]:
    """The cells of a claim: success in points, a measure in its own unit."""
    scale, digits = (1, 2) if claim["measure"] else (100, 0)
    source = "" if claim["paper"] is None else f"{scale * claim['paper']:+.{digits or 1}f}"
    kind = "" if claim["margin"] is None else f" (within {scale * claim['margin']:.{digits}f}{' points' if scale == 100 else ''})"
    seeds = ", ".join(f"{scale * value:+.{digits}f}" for value in claim["by_training_seed"])
    if claim["difference"] is None:
        return [f"{claim['says']}{kind}", "not to be told", "", seeds, source, f"**{claim['verdict']}**"]
    low, high = claim["interval"]
    return [f"{claim['says']}{kind}", f"{scale * claim['difference']:+.{digits or 1}f}",
            f"{scale * low:+.{digits}f} to {scale * high:+.{digits}f}", seeds, source, f"**{claim['verdict']}**"]


def _table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> list[str]:
    """Titles with their rules, then rows; a column in which nobody has anything is left out."""
    kept = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    return [f"| {' | '.join(cells[i] for i in kept)} |"
            for cells in ([title for title, _ in columns], [rule for _, rule in columns], *rows)]


def _training(study: Mapping[str, Any]) -> list[str]:
    """What trainings took, where they are equal in operations and not in steps."""
    if study["equal"] == "steps":
        return []
    lines = ["", "| arm | steps | operations of training | processor seconds |", "| --- | ---: | ---: | ---: |"]
    return lines + [f"| {row['arm']} | {row['training']['steps']} | {row['training']['flops'] / 1e12:.1f} T | "
                    f"{row['training']['seconds']:.0f} |" for row in study["rows"]]


def picture(study: Mapping[str, Any], path: Path) -> None:
    """Success of each arm by condition with its interval, every training seed as a dot, the source's figure as a bar."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows, chance = study["rows"], study["chance"]
    conditions = list(rows[0]["conditions"])
    figure, axes = plt.subplots(1, len(conditions), figsize=(4.6 * len(conditions) + 2, 0.62 * len(rows) + 1.3), layout="constrained",
                                sharey=True, squeeze=False)
    for axis, condition in zip(axes[0], conditions, strict=True):
        for place, row in enumerate(rows):
            found, y = row["conditions"][condition], len(rows) - 1 - place
            rate, (low, high) = 100 * found["successes"] / found["n"], (100 * x for x in found["interval"])
            axis.errorbar(rate, y, xerr=[[max(rate - low, 0)], [max(high - rate, 0)]], fmt="o", color="#1f6feb", capsize=3, markersize=6)
            axis.plot([100 * x for x in found["by_training_seed"]], [y - 0.22] * len(found["by_training_seed"]), ".", color="#8a8a8a")
            if condition in row["paper"]:
                axis.plot(100 * row["paper"][condition], y, "|", color="#d1242f", markersize=16, markeredgewidth=2)
        base = 100 * chance[condition]["successes"] / chance[condition]["n"]
        axis.axvline(base, color="#8a8a8a", linestyle=":", linewidth=1)
        axis.set(title=condition.capitalize(), xlim=(-3, 103), ylim=(-0.7, len(rows) - 0.3), xlabel="success, % (95 % Wilson)")
        axis.grid(alpha=0.25, axis="x")
    axes[0][0].set_yticks(range(len(rows)), [row["arm"] for row in reversed(rows)])
    figure.suptitle("grey dots: each training seed; red bar: the source's figure; dotted: random actions", fontsize=8.5, color="#555555")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def publish(family: Family, found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a page and a picture for each study into `folder`; returns the pages."""
    pages, prefix = [], family.name
    for name, study in found["studies"].items():
        picture(study, folder / "images" / f"{prefix}-{name}.png")
        target = folder / f"{prefix}-{name}.md"
        atomic_write_text(target, page(family, found, name, f"images/{prefix}-{name}.png"))
        pages.append(target)
    return pages


def publish_together(families: Mapping[str, Family], found: Mapping[str, Any], folder: Path, command: str) -> list[Path]:
    """The same of several recipes, each study on one page."""
    pages = []
    for name in next(iter(found["families"].values()))["studies"]:
        images = {family: f"images/{command}-{name}-{family}.png" for family in found["families"]}
        for family, each in found["families"].items():
            picture(each["studies"][name], folder / images[family])
        pages.append(folder / f"{command}-{name}.md")
        atomic_write_text(pages[-1], page_together(families, found, name, images, command))
    return pages


def _words(default: Grid, grid: Mapping[str, Any], name: str) -> list[str]:
    """The settings of this study that are not the defaults."""
    defaults = encode(default)
    changed = {key: value for key, value in grid.items() if key != "only" and value != defaults[key]}
    return [f"{key}={value if isinstance(value, (int, str)) else json.dumps(value)}" for key, value in {"only": [name], **changed}.items()]


def _rate(found: Mapping[str, Any]) -> str:
    low, high = found["interval"]
    return f"{found['successes']}/{found['n']} ({100 * low:.0f} to {100 * high:.0f} %)"


def _cells(found: Mapping[str, Any], paper: float | None) -> list[str]:
    low, high = found["interval"]
    return [f"{found['successes']}/{found['n']} ({100 * found['successes'] / found['n']:.0f} %)", f"{100 * low:.0f} to {100 * high:.0f}",
            _seeds(found["by_training_seed"]) if len(found["by_training_seed"]) > 1 else "", "" if paper is None else f"{100 * paper:.1f}"]


def _seeds(values: list[float]) -> str:
    return ", ".join(f"{100 * value:.0f}" for value in values)


def _difference(claim: Mapping[str, Any]) -> str:
    if claim["difference"] is None:
        return "not to be told"
    low, high = claim["interval"]
    if claim["measure"]:
        return f"{claim['difference']:+.2f}, {low:+.2f} to {high:+.2f}"
    source = "" if claim["paper"] is None else f"; source {100 * claim['paper']:+.1f}"
    return f"{100 * claim['difference']:+.1f} points, {100 * low:+.0f} to {100 * high:+.0f}{source}"
