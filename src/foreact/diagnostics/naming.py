"""Whether a heat over one picture follows the instruction: the thing that is named, against things that stand there and are not.

Of heats h_i under instructions i on the same observation, and masks m_j of the things that they name:

    named      mean_i ratio(h_i, m_i)                 does it lie on what is named?
    unnamed    mean_i mean_(j /= i) ratio(h_i, m_j)   and on what another instruction would name?
    shuffled   named, with m_i laid elsewhere on the picture
    without_common   named, for h_i without what the heats share
    moved      how much of h_i that leaves

A model that sees things and does not listen has named = unnamed > 1. See `grounding` for ratio, centroid and the controls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from foreact.contract.errors import SpecError
from foreact.diagnostics.grounding import grounding, without_common

__all__ = ["NAMING", "naming"]

NAMING = ("named", "unnamed", "shuffled", "without_common", "moved", "centroid")


def naming(heats: Sequence[Float[np.ndarray, "row column"]], masks: Sequence[Float[np.ndarray, "row column"] | None],
           ) -> dict[str, float | None]:
    """One observation; a mask is None where it is not known what the instruction names. None for a figure that has nothing to go by."""
    if len(heats) != len(masks) or len(heats) < 2 or all(mask is None for mask in masks):
        raise SpecError("two instructions or more, each with its mask", where="naming", found=f"{len(heats)} heats, {len(masks)} masks")
    left, found = without_common(heats), []
    for i, (heat, own) in enumerate(zip(heats, masks, strict=True)):
        if own is None:
            continue
        whole = grounding(heat, own)
        others = [grounding(heat, mask).ratio for j, mask in enumerate(masks) if j != i and mask is not None]
        found.append({"named": whole.ratio, "unnamed": float(np.mean(others)) if others else None, "shuffled": whole.shuffled[0],
                      "without_common": grounding(left[i], own).ratio, "moved": float(left[i].sum()),
                      "centroid": whole.centroid if heat.sum() > 0 else None})
    return {name: _mean([one[name] for one in found]) for name in NAMING}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
