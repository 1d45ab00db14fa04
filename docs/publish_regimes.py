"""Draw the picture of `regimes.md` and print its table: `python docs/publish_regimes.py FOLDER`.

FOLDER holds finished evaluations named ARM-MS, such as `sync-100`: one policy on the same seeds under a regime and a charged latency.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from foreact.evaluation.comparison import compare
from foreact.evaluation.result import Result

IMAGE = Path(__file__).resolve().parent / "images/charged-latency.png"
ARMS = {"sync": ("synchronous", "#7a7a7a", "o"), "none": ("asynchronous, none", "#c9a227", "v"),
        "drop": ("asynchronous, drop", "#2a7fbd", "s"),
        "inpaint": ("asynchronous, inpaint", "#c0392b", "D"), "ensemble": ("ensembled", "#3a8f4d", "^")}


def found(folder: Path) -> dict[str, dict[float, Result]]:
    """By arm and latency; the world that waits is part of every arm that is measured there."""
    results: dict[str, dict[float, Result]] = {}
    for place in sorted(folder.glob("*-*/result.json")):
        arm, ms = place.parent.name.rsplit("-", 1)
        results.setdefault(arm, {})[float(ms)] = Result.load(place.parent)
    return results


def table(results: dict[str, dict[float, Result]]) -> None:
    """One row for each evaluation, compared with the synchronous one at its latency."""
    print("| regime | charged ms | solved | 95 % | staleness, steps | held still | against synchronous |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for arm, (title, _, _) in ARMS.items():
        for ms, result in sorted(results.get(arm, {}).items()):
            low, high = result.rate.interval
            clock = result.summary().get("clock")
            stale = "0" if clock is None else f"{clock['staleness_steps']['p50']:.0f}" if clock["staleness_steps"] else "none acted upon"
            idle = "0 %" if clock is None else f"{100 * clock['idle_share']:.0f} %"
            against = ""
            if arm != "sync" and ms in results["sync"]:
                pairs = compare(result, results["sync"][ms]).summary()
                against = f"{100 * pairs['difference']:+.0f} points, p = {pairs['p_value']:.2g}"
            print(f"| {title} | {ms:.0f} | {result.successes} of {result.n} | {100 * low:.0f} to {100 * high:.0f} % | {stale} | {idle} | "
                  f"{against} |")


def picture(results: dict[str, dict[float, Result]]) -> None:
    """Success against charged latency, with Wilson intervals."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 3.6), dpi=110)
    for index, (arm, (title, colour, marker)) in enumerate((a, ARMS[a]) for a in ARMS if a in results):
        points = sorted((results[arm] | {0.0: results["sync"][0.0]}).items())
        at = [ms + 1.2 * (index - 1.5) for ms, _ in points]
        rates = np.array([100 * r.rate.value for _, r in points])
        low, high = 100 * np.array([r.rate.interval for _, r in points]).T
        spans = np.clip([rates - low, high - rates], 0, None)
        axis.errorbar(at, rates, yerr=spans, color=colour, marker=marker, label=title, capsize=3, linewidth=1.4, markersize=5)
    axis.set(xlabel="charged latency of a plan, ms (12.5 ms a control step)", ylabel="solved in 1.5 s, %", ylim=(-3, 103))
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
    figure.tight_layout(pad=0.4)
    figure.savefig(IMAGE)


if __name__ == "__main__":
    everything = found(Path(sys.argv[1]))
    table(everything)
    picture(everything)
