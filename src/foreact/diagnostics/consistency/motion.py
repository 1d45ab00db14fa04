"""What change has to do with consistency: what moves is the harder to imagine (section 3.2, appendix D, table 3, figures 4 and 12).

Correlations are over frames, of log C with the change of what was seen, as z-scores over the whole evaluation, which change neither. A
frame is not independent of the next, so intervals are bootstraps over seeds and not those of the textbook.
"""

from __future__ import annotations

from foreact.diagnostics.consistency.scores import Scored

__all__ = ["pearson", "spearman"]


def pearson(found: Scored) -> float:
    """Of log C with the change; NaN where one of them does not vary."""
    from scipy.stats import pearsonr

    frames = found.all_frames
    return float(pearsonr(-frames["distance"], frames["change"]).statistic) if _varies(found) else float("nan")


def spearman(found: Scored) -> float:
    """The same of their ranks."""
    from scipy.stats import spearmanr

    frames = found.all_frames
    return float(spearmanr(-frames["distance"], frames["change"]).statistic) if _varies(found) else float("nan")


def _varies(found: Scored) -> bool:
    frames = found.all_frames
    return len(frames) > 2 and min(frames["distance"].std(), frames["change"].std()) > 0
