"""Clean against Random in features: what is separable is found, what is not is at chance, and no episode is learnt from twice."""

import numpy as np
import pytest

from foreact.contract.errors import DatasetError, MissingExtraError
from foreact.diagnostics.manifold import separability as module
from foreact.diagnostics.manifold.separability import centred, embed, separability


def features(rng, *, shift=0.0, own=0.0, episodes=40, frames=5, width=24):
    """own: how far each episode lies from the others, in its own direction."""
    groups = np.repeat(np.arange(episodes), frames)
    random = groups % 2 == 1
    x = rng.standard_normal((episodes * frames, width)) + own * rng.standard_normal((episodes, width))[groups]
    x[random, 0] += shift
    return x, random, groups


def test_a_shift_is_found_and_none_is_at_chance():
    rng = np.random.default_rng(0)
    apart, same = (separability(*features(rng, shift=shift), resamples=200) for shift in (5.0, 0.0))
    assert apart.auc > 0.97 and apart.accuracy > 0.93 and apart.auc_interval[0] > 0.9 and apart.silhouette > same.silhouette + 0.05
    assert same.auc_interval[0] < 0.5 < same.auc_interval[1] and 0.4 < same.accuracy < 0.6
    assert abs(same.silhouette) < 0.03 and same.groups == 40 and same.samples == 200


def test_knowing_an_episode_does_not_help_with_another():
    """Frames of an episode are alike; a classifier that had seen some would know the rest."""
    rng = np.random.default_rng(1)
    found = separability(*features(rng, own=6.0, width=60), resamples=100)
    assert 0.25 < found.auc < 0.75
    x, random, _ = features(rng, own=6.0, width=60)
    leaking = separability(x, random, np.arange(len(x)), resamples=20)
    assert leaking.auc > 0.9, "the same features with every frame a group of its own"


def test_the_area_under_the_curve_is_scikit_learns():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(2)
    score, positive = rng.integers(0, 6, 50).astype(float), rng.random(50) < 0.4
    assert module.auc(score, positive) == pytest.approx(roc_auc_score(positive, score))


def test_each_tasks_mean_is_taken_off():
    rng = np.random.default_rng(3)
    tasks = np.repeat([0, 1, 2], 10)
    x = rng.standard_normal((30, 4)) + 100 * tasks[:, None]
    found = centred(x, tasks)
    for task in range(3):
        np.testing.assert_allclose(found[tasks == task].mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(np.diff(found[tasks == task], axis=0), np.diff(x[tasks == task], axis=0))


def test_the_picture_keeps_clusters_apart_and_caps_its_perplexity():
    rng = np.random.default_rng(4)
    x, random, _ = features(rng, shift=12.0, episodes=16)
    points, used = embed(x)
    assert used == pytest.approx((80 - 1) / 3) and points.shape == (80, 2)
    between = np.linalg.norm(points[random].mean(axis=0) - points[~random].mean(axis=0))
    assert between > 1.5 * points[random].std()
    again, _ = embed(x)
    np.testing.assert_array_equal(points, again)


def test_too_little_is_refused():
    rng = np.random.default_rng(5)
    x, random, groups = features(rng, episodes=8)
    with pytest.raises(DatasetError, match="too little"):
        separability(x, random, groups)
    with pytest.raises(DatasetError, match="too little"):
        separability(x, np.zeros_like(random), groups)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.linear_model", None)
    x, random, groups = features(np.random.default_rng(6))
    with pytest.raises(MissingExtraError, match=r'foreact\[diagnose\]'):
        separability(x, random, groups)
