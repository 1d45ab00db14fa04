"""Linear probes with held-out scores: what can be read off hidden states by one matrix, on episodes that it was not fitted on.

    regression       R^2 = 1 - |y - W x - b|^2 / |y - mean y|^2,    ridge; the mean is that of the episodes it was fitted on
    within a task    the same over the mean of the task: knowing which task it is then counts for nothing
    classification   mean over classes of intersection over union; and, of one class, the area under the ROC curve

Folds are of whole episodes, even over tasks, and the ridge is chosen on other episodes among those that are fitted. Features are
brought to deviation 1; ridge reads them in their principal axes, which changes nothing of it. Intervals are 95 % percentile bootstraps
over episodes with the predictions held. `chance` is the score for labels that were exchanged between frames: what place, balance of
classes and many channels give by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from foreact.contract.errors import DatasetError
from foreact.diagnostics.manifold.separability import auc
from foreact.diagnostics.scikit import scikit

__all__ = ["Folds", "Score", "classes_probe", "folds", "regression_probe", "rotated"]

_RIDGES = tuple(float(x) for x in 10.0 ** np.arange(-5, 3))
_PURPOSE = "reading hidden states"


@dataclass(frozen=True, kw_only=True)
class Score:
    """chance: for exchanged labels. n: rows that were predicted, episodes: of so many episodes."""

    value: float
    low: float
    high: float
    chance: float
    n: int
    episodes: int


@dataclass(frozen=True, kw_only=True)
class Folds:
    """By row, the fold in which it is held out and, for each fold, the part among those fitted in which it chooses (-1: held out)."""

    outer: Int[np.ndarray, " rows"]
    inner: Int[np.ndarray, "folds rows"]
    episodes: Int[np.ndarray, " rows"]
    tasks: Int[np.ndarray, " rows"]


def folds(episodes: Int[np.ndarray, " rows"], tasks: Int[np.ndarray, " rows"], *, count: int = 5, seed: int = 0) -> Folds:
    """Raises `DatasetError` for fewer than four episodes."""
    known = len(np.unique(episodes))
    if known < 4:
        raise DatasetError("too few episodes to hold some out", where="folds", found=known, accepted="4 or more",
                           next_step="collect more episodes")
    outer = _parts(episodes, tasks, min(count, known // 2), seed)
    inner = np.full((outer.max() + 1, len(outer)), -1)
    for fold in range(len(inner)):
        fitted = outer != fold
        inner[fold, fitted] = _parts(episodes[fitted], tasks[fitted], min(3, len(np.unique(episodes[fitted]))), seed + 1 + fold)
    return Folds(outer=outer, inner=inner, episodes=np.asarray(episodes), tasks=np.asarray(tasks))


def _parts(episodes: np.ndarray, tasks: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Episodes dealt out, task by task, in a random order."""
    draw, dealt, part = np.random.default_rng(seed), 0, np.zeros(len(episodes), dtype=np.int64)
    for task in np.unique(tasks):
        for episode in draw.permutation(np.unique(episodes[tasks == task])):
            part[episodes == episode] = dealt % count
            dealt += 1
    return part


def rotated(features: Float[np.ndarray, "rows width"]) -> Float[np.ndarray, "rows axes"]:
    """Every channel at deviation 1, then the principal axes, scaled to mean square row norm 1: no more axes than rows."""
    x = np.asarray(features, dtype=np.float32)
    x = x - x.mean(axis=0)
    deviation = x.std(axis=0)
    x = x / np.maximum(deviation, max(1e-3 * float(np.sqrt(np.square(deviation).mean())), 1e-12))
    x = x.astype(np.float64)
    if x.shape[1] > x.shape[0]:
        values, vectors = np.linalg.eigh(x @ x.T)
        x = vectors * np.sqrt(np.clip(values, 0, None))
    return x / max(np.sqrt(np.square(x).sum() / len(x)), 1e-12)


# --- regression ---------------------------------------------------------------------------------------------------------

def regression_probe(features: Float[np.ndarray, "rows axes"], targets: Float[np.ndarray, "rows entries"], parts: Folds, *,
                     groups: Mapping[str, slice] | None = None, resamples: int = 1000, seed: int = 0) -> dict[str, Score | float] | None:
    """{"all": R^2, "within": R^2 within a task, "error": median distance}; None where nothing is known in enough episodes.

    `features` as `rotated` gives them. targets: NaN where not known; entries are fitted apart where that differs. groups: of these entries
    by themselves, R^2 within a task too.
    """
    known = np.isfinite(targets)
    truth, fitted = np.full((2, *targets.shape), np.nan), np.full((2, *targets.shape), np.nan)
    means = {"all": truth.copy(), "within": truth.copy()}
    for pattern in np.unique(known, axis=1).T:
        entries = np.flatnonzero((known == pattern[:, None]).all(axis=0))
        rows = np.flatnonzero(pattern)
        if len(np.unique(parts.episodes[rows])) < 4:
            continue
        own = targets[np.ix_(rows, entries)]
        y = np.stack([own, own[np.random.default_rng(seed).permutation(len(rows))]])
        predicted = _ridge(features[rows], np.concatenate(list(y), axis=1), parts, rows)
        place = np.ix_(range(2), rows, entries)
        truth[place], fitted[place] = y, np.stack(np.split(predicted, 2, axis=1))
        for name, tasks in (("all", np.zeros_like(parts.tasks)), ("within", parts.tasks)):
            means[name][place] = np.stack([_means(one, parts.outer[rows], tasks[rows]) for one in y])
    if not np.isfinite(fitted).any():
        return None
    wrong = np.square(truth - fitted)
    plain = {name: np.square(truth - mean) for name, mean in means.items()}
    found: dict[str, Score | float] = {name: _r2(wrong, own, parts, resamples, seed) for name, own in plain.items()}
    for name, entries in (groups or {}).items():
        if np.isfinite(wrong[0][:, entries]).any():
            found[name] = _r2(wrong[:, :, entries], plain["within"][:, :, entries], parts, resamples, seed)
    pairs = np.sqrt(wrong[0].reshape(len(targets), -1, min(2, targets.shape[1])).sum(axis=2))
    return found | {"error": float(np.nanmedian(pairs))}


def _ridge(x: np.ndarray, y: np.ndarray, parts: Folds, rows: np.ndarray) -> np.ndarray:
    """Held-out predictions; of each column its own ridge."""
    model = scikit("linear_model", purpose=_PURPOSE).Ridge
    outer, found = parts.outer[rows], np.full_like(y, np.nan)
    for fold in np.unique(outer):
        fit, inner = outer != fold, parts.inner[fold][rows]
        wrong = np.zeros((len(_RIDGES), y.shape[1]))
        for part in np.unique(inner[fit]):
            learn, judge = fit & (inner != part), fit & (inner == part)
            if not learn.any():
                continue
            for i, ridge in enumerate(_RIDGES):
                told = model(alpha=ridge * learn.sum()).fit(x[learn], y[learn]).predict(x[judge])
                wrong[i] += np.square(y[judge] - told.reshape(-1, y.shape[1])).sum(axis=0)
        best = np.array(_RIDGES)[wrong.argmin(axis=0)] * fit.sum()
        found[~fit] = model(alpha=best).fit(x[fit], y[fit]).predict(x[~fit]).reshape(-1, y.shape[1])
    return found


def _means(y: np.ndarray, outer: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """What the mean of the fitted episodes of the group predicts; that of all where there are none."""
    found = np.empty_like(y)
    for fold in np.unique(outer):
        for group in np.unique(groups):
            fitted, told = (outer != fold) & (groups == group), (outer == fold) & (groups == group)
            found[told] = y[fitted if fitted.any() else outer != fold].mean(axis=0)
    return found


def _r2(wrong: np.ndarray, plain: np.ndarray, parts: Folds, resamples: int, seed: int) -> Score:
    rows = np.isfinite(wrong[0]).any(axis=1)
    names = np.unique(parts.episodes[rows])
    own = np.stack([[np.nansum(wrong[:, parts.episodes == e], axis=(1, 2)), np.nansum(plain[:, parts.episodes == e], axis=(1, 2))]
                    for e in names])  # episode, wrong or plain, true or exchanged
    drawn = own[:, :, 0][np.random.default_rng(seed).integers(0, len(names), (resamples, len(names)))].sum(axis=1)
    low, high = np.quantile(1 - drawn[:, 0] / np.maximum(drawn[:, 1], 1e-12), [0.025, 0.975])
    value, chance = 1 - own.sum(axis=0)[0] / np.maximum(own.sum(axis=0)[1], 1e-12)
    return Score(value=float(value), low=float(low), high=float(high), chance=float(chance), n=int(rows.sum()), episodes=len(names))


# --- classification -----------------------------------------------------------------------------------------------------

def classes_probe(features: Float[np.ndarray, "rows width"], labels: Int[np.ndarray, " rows"], exchanged: Int[np.ndarray, " rows"],
                  parts: Folds, *, positive: int, resamples: int = 300, seed: int = 0) -> dict[str, Score | None]:
    """{"iou": over the classes that are there, "auc": of the class `positive`}; rows are tokens, `exchanged` their labels for chance.

    Multinomial logistic regression, C = 0.1.
    """
    linear, pipeline, preprocessing = (scikit(name, purpose=_PURPOSE) for name in ("linear_model", "pipeline", "preprocessing"))
    classes = np.unique(labels)
    told = []
    for y in (labels, exchanged):
        scores = np.full((len(y), len(classes)), -np.inf)
        for fit in _fits(parts):
            if len(np.unique(y[fit])) < 2:
                scores[~fit, np.searchsorted(classes, y[fit][0])] = 0.0
                continue
            model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear.LogisticRegression(C=0.1, max_iter=200, tol=1e-3))
            model.fit(features[fit], y[fit])
            scores[np.ix_(~fit, np.searchsorted(classes, model.classes_))] = model.predict_log_proba(features[~fit])
        told.append((y, scores))
    draws = list(_draws(parts.episodes, resamples, seed))
    found: dict[str, Score | None] = {"iou": _iou(told, classes, parts.episodes, resamples, seed), "auc": None}
    if (labels == positive).any() and (labels != positive).any():
        at = int(np.searchsorted(classes, positive))
        value, chance = (_area(scores[:, at], y == positive) for y, scores in told)
        y, scores = told[0]
        drawn = [_area(scores[rows, at], y[rows] == positive) for rows in draws]
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        found["auc"] = Score(value=value, low=float(low), high=float(high), chance=chance, n=len(labels),
                             episodes=len(np.unique(parts.episodes)))
    return found


def _fits(parts: Folds) -> Iterator[np.ndarray]:
    for fold in np.unique(parts.outer):
        yield parts.outer != fold


def _draws(episodes: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    names, draw = np.unique(episodes), np.random.default_rng(seed)
    members = [np.flatnonzero(episodes == name) for name in names]
    for _ in range(resamples):
        yield np.concatenate([members[i] for i in draw.integers(0, len(names), len(names))])


def _iou(told: list[tuple[np.ndarray, np.ndarray]], classes: np.ndarray, episodes: np.ndarray, resamples: int, seed: int) -> Score:
    names, count = np.unique(episodes, return_inverse=True)
    counts = []
    for y, scores in told:
        table = np.zeros((len(names), len(classes), len(classes)))
        np.add.at(table, (count, np.searchsorted(classes, y), scores.argmax(axis=1)), 1)
        counts.append(table)
    draws = np.random.default_rng(seed).integers(0, len(names), (resamples, len(names)))
    drawn = [_mean_iou(counts[0][rows].sum(axis=0)) for rows in draws]
    low, high = np.quantile(drawn, [0.025, 0.975])
    value, chance = (_mean_iou(table.sum(axis=0)) for table in counts)
    return Score(value=value, low=float(low), high=float(high), chance=chance, n=len(episodes), episodes=len(names))


def _mean_iou(table: Float[np.ndarray, "truth told"]) -> float:
    """Over the classes that are there."""
    both, either = np.diag(table), table.sum(axis=0) + table.sum(axis=1) - np.diag(table)
    there = table.sum(axis=1) > 0
    return float((both[there] / either[there]).mean())


def _area(score: np.ndarray, positive: np.ndarray) -> float:
    """NaN where a draw of episodes holds one kind alone."""
    return auc(score, positive) if positive.any() and not positive.all() else float("nan")
