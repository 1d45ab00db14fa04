"""How well Clean and Random can be told apart in features, beside the picture of it (MV-WAM, appendix D.1, figure 7).

Each task's mean is taken off first, over both conditions, as in the paper. The picture is t-SNE (perplexity 50). A picture of
t-SNE proves nothing, so three figures stand beside it, none measured on what it was fitted to:

- AUC and accuracy of a logistic regression on standardised features, predicted for episodes that it has not seen (5 folds by
  episode; a Clean and a Random episode of one task and seed are one group). AUC is over all predictions pooled, since a fold may
  lack a task. 0.5 is chance.
- the silhouette of the two conditions in the centred features themselves (Euclidean): 1 for two tight clusters apart, about 0
  where they are intermingled.

Intervals are 95 % percentile bootstraps over groups with the predictions held as they are, so they do not hold the variance of
fitting again.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from foreact.contract.errors import DatasetError
from foreact.diagnostics.scikit import scikit

__all__ = ["Separability", "auc", "centred", "embed", "separability"]

_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Separability:
    auc: float
    auc_interval: tuple[float, float]
    accuracy: float
    accuracy_interval: tuple[float, float]
    silhouette: float
    silhouette_interval: tuple[float, float]
    samples: int
    groups: int


def _sklearn(name: str) -> Any:
    return scikit(name, purpose="telling conditions apart in features")


def centred(features: Float[np.ndarray, "samples width"], tasks: Int[np.ndarray, " samples"]) -> Float[np.ndarray, "samples width"]:
    """Each task's mean taken off."""
    x = np.asarray(features, dtype=np.float64).copy()
    for task in np.unique(tasks):
        x[tasks == task] -= x[tasks == task].mean(axis=0)
    return x


def separability(features: Float[np.ndarray, "samples width"], random: Bool[np.ndarray, " samples"], groups: Int[np.ndarray, " samples"], *,
                 resamples: int = 1000, seed: int = 0) -> Separability:
    """`features` centred by task; `random` says which samples are of the Random condition."""
    linear, selection, metrics = _sklearn("linear_model"), _sklearn("model_selection"), _sklearn("metrics")
    pipeline, preprocessing = _sklearn("pipeline"), _sklearn("preprocessing")
    names = np.unique(groups)
    if random.all() or not random.any() or len(names) < 2 * _FOLDS:
        raise DatasetError("too little to tell two conditions apart", where="separability", found=f"{len(names)} episodes, of which "
                           f"{len(np.unique(groups[random]))} Random", accepted=f"both conditions, at least {2 * _FOLDS} episodes",
                           next_step="collect more episodes")
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear.LogisticRegression(max_iter=2000, C=0.1))
    folds = selection.StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    score = selection.cross_val_predict(model, features, random, groups=groups, cv=folds, method="decision_function")
    distinct = metrics.silhouette_samples(features, random)
    right = (score > 0) == random
    drawn, generator = [], np.random.default_rng(seed)
    members = [np.flatnonzero(groups == name) for name in names]
    for _ in range(resamples):
        rows = np.concatenate([members[i] for i in generator.integers(0, len(names), len(names))])
        if random[rows].all() or not random[rows].any():
            continue
        drawn.append((auc(score[rows], random[rows]), right[rows].mean(), distinct[rows].mean()))
    low, high = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    intervals = [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    return Separability(auc=auc(score, random), auc_interval=intervals[0], accuracy=float(right.mean()), accuracy_interval=intervals[1],
                        silhouette=float(distinct.mean()), silhouette_interval=intervals[2], samples=len(features), groups=len(names))


def auc(score: Float[np.ndarray, " samples"], positive: Bool[np.ndarray, " samples"]) -> float:
    """The chance that a positive scores above a negative, ties halved (Mann-Whitney)."""
    from scipy.stats import rankdata

    ranks, count = rankdata(score), int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(score) - count)))


def embed(features: Float[np.ndarray, "samples width"], *, perplexity: float = 50.0, seed: int = 0,
          ) -> tuple[Float[np.ndarray, "samples 2"], float]:
    """t-SNE to two dimensions, and the perplexity used: at most a third of the samples, since each is to have thrice as many others."""
    used = min(perplexity, (len(features) - 1) / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = _sklearn("manifold").TSNE(n_components=2, perplexity=used, init="pca", learning_rate="auto", random_state=seed)
        return model.fit_transform(features.astype(np.float32)).astype(np.float64), float(used)
