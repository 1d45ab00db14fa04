"""What change has to do with consistency: what moves is the harder to imagine (section 3.2, appendix D, table 3, figures 4 and 12).

Correlations are over frames, of log C with the change of what was seen (scaling either, as the paper does within each model, alters none of
them). A frame is not independent of the next, so intervals are bootstraps over seeds and not those of the textbook.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from foreact.diagnostics.consistency.scores import Scored
from foreact.diagnostics.consistency.separation import aligned, interval

__all__ = ["change_by_alignment", "pearson", "relation", "spearman"]


def pearson(found: Scored) -> float:
    """Of log C with the change; NaN where one of them does not vary."""
    from scipy.stats import pearsonr

    log_c, change = -found.every("distance"), found.every("change")
    return float(pearsonr(log_c, change).statistic) if _varies(log_c, change) else float("nan")


def spearman(found: Scored) -> float:
    """The same of their ranks."""
    from scipy.stats import spearmanr

    log_c, change = -found.every("distance"), found.every("change")
    return float(spearmanr(log_c, change).statistic) if _varies(log_c, change) else float("nan")


def relation(found: Scored, *, seed: int = 0, resamples: int = 500) -> dict[str, Any]:
    """Table 3."""
    spread = {"seed": seed, "resamples": resamples}
    return {"frames": len(found.every("step")), "pearson": pearson(found), "pearson_interval": interval(found, pearson, **spread),
            "spearman": spearman(found), "spearman_interval": interval(found, spearman, **spread)}


def change_by_alignment(found: Scored, *, seed: int = 0, resamples: int = 500) -> dict[str, Any]:
    """Figure 4: the mean change per task, and of misaligned less aligned tasks, each task counting alike.

    Which tasks are aligned is held as it was found; the failures alone stand beside, since it is they that are said to collapse.
    """
    chosen = aligned(found)
    sides = {"aligned": chosen, "misaligned": tuple(task for task in found.tasks if task not in chosen)}

    def difference(one: Scored) -> float:
        return _mean(one, sides["misaligned"]) - _mean(one, sides["aligned"])

    spread, told = {"seed": seed, "resamples": resamples}, {}
    for name, of in (("all", found), ("failures", found.at(~found.success))):
        apart = difference(of)
        told[name] = {"aligned": _mean(of, sides["aligned"]), "misaligned": _mean(of, sides["misaligned"]), "difference": apart,
                      "difference_interval": interval(of, difference, **spread) if np.isfinite(apart) else [float("nan")] * 2}
    return {"tasks": {task: {"aligned": task in chosen, "change": _mean(found, (task,)),
                             "change_interval": interval(found.of(task), lambda one, task=task: _mean(one, (task,)), **spread)}
                      for task in found.tasks}, **told}


def _mean(found: Scored, tasks: tuple[str, ...]) -> float:
    """Over tasks, of the mean change of their frames; NaN where there are none."""
    means = [found.of(task).every("change").mean() for task in tasks if (found.task == task).any()]
    return float(np.mean(means)) if means else float("nan")


def _varies(*values: np.ndarray) -> bool:
    return len(values[0]) > 2 and min(one.std() for one in values) > 0
