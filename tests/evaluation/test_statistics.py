"""Intervals and tests against scipy and closed forms."""

import numpy as np
import pytest
from scipy import stats

from foreact.evaluation.statistics import Mean, PairedRates, Percentiles, Rate


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (57, 80), (495, 500)])
def test_wilson_agrees_with_scipy(successes, n):
    theirs = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert Rate(successes=successes, n=n).interval == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (5, 5), (12, 3), (3, 12), (30, 11)])
def test_mcnemar_is_the_binomial_test_on_discordant_pairs(first, second):
    ours = PairedRates(both=20, only_first=first, only_second=second, neither=7).p_value
    theirs = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_uncorrelated_pairs_give_the_interval_of_two_separate_samples():
    """With phi = 0, Newcombe's method 10 for pairs is his method 10 for independent samples: square and add."""
    paired = PairedRates(both=12, only_first=28, only_second=18, neither=42)
    first, second = (stats.binomtest(k, 100).proportion_ci(method="wilson") for k in (40, 30))
    low = 0.1 - np.hypot(0.4 - first.low, second.high - 0.3)
    high = 0.1 + np.hypot(first.high - 0.4, 0.3 - second.low)
    assert paired.interval() == pytest.approx((low, high), abs=1e-12)


def test_bootstrap_mean_approaches_the_normal_interval():
    x = np.random.default_rng(3).normal(2.0, 1.5, 400)
    mean = Mean.of(x, resamples=8000)
    half = 1.96 * x.std() / np.sqrt(len(x))
    assert mean.value == pytest.approx(x.mean()) and mean.n == 400
    assert (mean.low, mean.high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.02)
    assert Mean.of(x) == Mean.of(x)


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = [m.low <= 1.0 <= m.high for m in (Mean.of(rng.exponential(1.0, 60), resamples=500) for _ in range(300))]
    assert 0.89 <= np.mean(covered) <= 0.98


def test_percentiles():
    found = Percentiles.of([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (found.p50, found.p95, found.worst, found.n) == (3.0, pytest.approx(4.8), 5.0, 5)
    assert Percentiles.of([]) is None
