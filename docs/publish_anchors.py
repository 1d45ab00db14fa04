"""Publish a finished anchor study: `python docs/publish_anchors.py runs/anchors` after `foreact study anchors`.

Writes the evidence that the census rests on, the page with the table, and the picture of success against what it costs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from foreact.cli.anchors import BASELINE, table
from foreact.contract.storage import atomic_write_json

ROOT = Path(__file__).resolve().parents[1]
EVIDENCE, PAGE, PICTURE = ROOT / "src/foreact/recipes/evidence.json", ROOT / "docs/anchors.md", ROOT / "docs/images/anchors.png"
_KEPT = ("successes", "n", "interval", "tasks", "seeds", "fingerprint", "parameters", "steps", "latency_ms", "calls_per_step",
         "evaluations_per_step", "peak_memory_mb", "verified", "checks", "derived", "gate")


def evidence(found: dict[str, Any]) -> dict[str, Any]:
    """By recipe, what its census row rests on. Better than chance: paired on seeds, exact McNemar p below 0.05, and ahead."""
    kept: dict[str, Any] = {}
    for row in found["rows"]:
        if row["name"] == BASELINE or not row["census"]:
            continue
        chance = row["against"]["chance"]
        kept[row["name"]] = {name: row[name] for name in _KEPT} | {
            "beats_chance": chance["difference"] > 0 and chance["p_value"] < 0.05, "against": row["against"]}
    return kept


def draw(found: dict[str, Any], path: Path) -> None:
    """Success with its interval against the time of one plan, against time per control step, and against memory."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    figure, axes = plt.subplots(1, 3, figsize=(15, 5.4), layout="constrained", sharey=True)
    columns = (("one plan, ms (median)", lambda r: r["latency_ms"]["p50"], "linear"),
               ("planning per control step, ms", lambda r: r["latency_ms"]["p50"] * r["calls_per_step"], "log"),
               ("peak memory of the process, MB", lambda r: r["peak_memory_mb"], "linear"))
    for axis, (label, value, scale) in zip(axes, columns, strict=True):
        for row in found["rows"]:
            rate = 100 * row["successes"] / row["n"]
            low, high = (100 * x for x in row["interval"])
            colour = "#8a8a8a" if row["name"] == BASELINE else "#1f6feb" if row["verified"] else "#d1242f"
            axis.errorbar(value(row), rate, yerr=[[rate - low], [high - rate]], fmt="o", color=colour, elinewidth=0.8, markersize=5)
            axis.annotate(row["name"], (value(row), rate), textcoords="offset points", xytext=(6, 4), fontsize=8.5)
        axis.set(xlabel=label, xscale=scale, ylim=(-4, 104))
        axis.margins(x=0.22)  # room for the names
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("success in closed loop, % (95 % Wilson)")
    figure.savefig(path, dpi=110)


def page(found: dict[str, Any]) -> str:
    study, rows = found["study"], [row for row in found["rows"] if row["name"] != BASELINE]
    first = found["rows"][0]
    lines = [
        "# Anchors under one budget", "",
        f"Every recipe of a published system at size tiny: {len(study['tasks'])} Meta-World tasks ({', '.join(study['tasks'])}), "
        f"{study['demonstrations']} demonstrations each, {study['steps']} steps of batch {study['batch_size']}, training seed "
        f"{study['seed']}, {study['episodes']} unseen seeds per task from {first['seeds'][0]:,} on, at most "
        f"{study['horizon']} control steps. One processor thread each, two at a time. One training seed: intervals speak of episodes, "
        "not of what another training run would give. "
        "Differences are paired on seeds, with McNemar's exact test.", "",
        "![Success against latency and memory](images/anchors.png)", "", table(found), "",
        f"Protocol fingerprint {first['fingerprint']}. `no future` is the joint model's action expert on the present frame alone.", "",
        "## What each one is, as its run shows", "",
        "| recipe | substrate | backbone | coupling | regime | philosophy | evaluations per control step | gate |",
        "| --- | --- | --- | --- | --- | --- | ---: | --- |"]
    for row in rows:
        d = row["derived"]
        lines.append(f"| {row['name']} | {d['substrate']} | {d['backbone']} | {d['coupling']} | {d['regime']} | {d['philosophy']} | "
                     f"{row['evaluations_per_step']:.2f} | {row['gate']} |")
    lines += ["", "The same again: `foreact study anchors --out runs/anchors`, then `python docs/publish_anchors.py runs/anchors`."]
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    found = json.loads((folder / "results.json").read_text())
    atomic_write_json(EVIDENCE, evidence(found))
    draw(found, PICTURE)
    PAGE.write_text(page(found))
    from foreact.recipes import census

    census.forget()
    (ROOT / "docs" / "census.md").write_text(census.page())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
