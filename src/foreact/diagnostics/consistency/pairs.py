"""Two evaluations of the same seeds, the selected one against the plain one, along the way (appendix G, figure 13).

At each step, the difference (selected less plain) of an episode pair that got so far in both, in deviations of the plain frames of the
task; its mean, and 95 % percentile bootstraps over seeds. early, late: its mean over the first and over the second half of the steps told.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from foreact.contract.errors import DatasetError
from foreact.contract.proportions import PairedRates, rate_of
from foreact.diagnostics.consistency.collapse import Rule, stalls
from foreact.diagnostics.consistency.courses import LEAST, band, laid_out, nan_mean
from foreact.diagnostics.consistency.scores import Scored, of_steps
from foreact.diagnostics.consistency.separation import between, draws

__all__ = ["compared", "paired"]


def paired(selected: Scored, plain: Scored) -> tuple[Scored, Scored]:
    """The episodes that both have, in one order; raises `DatasetError` where there are none."""
    keys = [{(str(task), int(seed)): place for place, (task, seed) in enumerate(zip(one.task, one.seed, strict=True))}
            for one in (selected, plain)]
    shared = [key for key in keys[0] if key in keys[1]]
    if not shared:
        raise DatasetError("no episodes of the same task and seed", where="--against", found=f"{len(keys[0])} and {len(keys[1])} episodes",
                           next_step="evaluate both with the same tasks and seed_start")
    return tuple(one.at(np.array([own[key] for key in shared])) for one, own in zip((selected, plain), keys, strict=True))


def compared(selected: Scored, plain: Scored, rule: Rule, *, seed: int = 0, resamples: int = 500) -> dict[str, Any]:
    """Of pairs, as `paired` gives them."""
    spread = {"seed": seed, "resamples": resamples}
    outcome = PairedRates.of(list(zip(selected.success.tolist(), plain.success.tolist(), strict=True)))
    low, high = outcome.interval()
    sides = {"selected": selected, "plain": plain}
    return {"pairs": len(plain.seed),
            "success": {**{name: rate_of(one.success, "count") for name, one in sides.items()}, "difference": outcome.difference,
                        "interval": [low, high], "p_value": outcome.p_value},
            "stalled": {name: rate_of([told.any() for told in stalls(plain, one, rule)], "count") for name, one in sides.items()},
            "change": _along(selected, plain, "change", 1.0, **spread),
            "consistency": _along(selected, plain, "distance", -1.0, **spread)}


def _along(selected: Scored, plain: Scored, entry: str, sign: float, *, seed: int, resamples: int) -> dict[str, Any]:
    told = [[of_steps(frames, entry) for frames in one.frames] for one in (selected, plain)]
    steps = np.unique(np.concatenate([at for one in told for at, _ in one]))
    grids = [laid_out(one, steps)[1] for one in told]
    for task in plain.tasks:
        mine = plain.task == task
        scale = max(float(np.nanstd(grids[1][mine])), 1e-12)
        for grid in grids:
            grid[mine] /= scale
    apart = sign * (grids[0] - grids[1])
    kept = np.isfinite(apart).sum(axis=0) >= LEAST
    steps, apart = steps[kept], apart[:, kept]
    half = steps >= (steps[0] + steps[-1]) / 2 if len(steps) else np.zeros(0, dtype=bool)
    drawn = [nan_mean(apart[rows]) for rows in draws(plain.seed, seed=seed, resamples=resamples)] if len(steps) else []
    found = band(steps, nan_mean(apart), drawn, pairs=np.isfinite(apart).sum(axis=0).tolist())
    for name, of in (("early", ~half), ("late", half)):
        values = [float(nan_mean(one[of])) for one in [nan_mean(apart), *drawn]] if of.any() else [float("nan")]
        found |= {name: values[0], f"{name}_interval": between([one for one in values[1:] if np.isfinite(one)])}
    return found
