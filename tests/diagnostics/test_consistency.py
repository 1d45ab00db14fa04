"""What consistency says of success: figures by hand and by others' code, planted separations, and no trace of tau."""

from dataclasses import dataclass

import numpy as np
import pytest

from foreact.acting.consistency import Realised
from foreact.contract.errors import DatasetError
from foreact.diagnostics.consistency.collapse import stalled, stillness
from foreact.diagnostics.consistency.motion import spearman
from foreact.diagnostics.consistency.scores import scored
from foreact.diagnostics.consistency.separation import (
    aligned,
    area,
    auc_of,
    auc_out_of_fold,
    cohens_d,
    interval,
    roc_out_of_fold,
    separation,
    slope_sign,
)

linear = pytest.importorskip("sklearn.linear_model")
metrics = pytest.importorskip("sklearn.metrics")
selection = pytest.importorskip("sklearn.model_selection")


@dataclass
class Episode:
    task: str
    seed: int
    success: bool
    consistency: tuple[Realised, ...]
    condition: str = "clean"


def frames(distance, change=1.0, count=4, on_plan=True):
    return tuple(Realised(step=8 * i, offset=8, distance=float(distance), change=float(change), on_plan=on_plan) for i in range(count))


def episodes(gap, *, tasks=("open", "push"), seeds=40, deviation=0.2, seed=0):
    """Failures are `gap` further from what was imagined; tasks differ in how hard they are to imagine."""
    draw, found = np.random.default_rng(seed), []
    for hard, task in enumerate(tasks):
        for number in range(seeds):
            success = bool(draw.random() < 0.6)
            found.append(Episode(task, number, success, frames(abs(1 + 5 * hard + (0 if success else gap) + deviation * draw.normal()))))
    return found


def test_cohens_d_and_the_area_by_hand():
    values, success = np.array([3.0, 5.0, 4.0, 1.0, 2.0]), np.array([True, True, True, False, False])
    pooled = ((1 + 0 + 1) + (0.25 + 0.25)) / 3
    assert cohens_d(values, success) == pytest.approx((4 - 1.5) / np.sqrt(pooled))
    assert area(values, success) == 1.0
    tied = np.array([1.0, 2.0, 1.0, 2.0, 0.0])
    assert area(tied, success) == pytest.approx(metrics.roc_auc_score(success, tied))
    assert np.isnan(cohens_d(values, np.ones(5, dtype=bool))) and np.isnan(area(values, np.zeros(5, dtype=bool)))


def test_the_area_is_that_of_the_regression_of_others():
    """scikit-learn fits in each fold; areas within folds, weighted by their pairs."""
    found = scored(episodes(0.1, seeds=60, deviation=0.3))
    groups = np.unique(found.seed, return_inverse=True)[1] % 5
    won = pairs = 0.0
    for train, test in selection.LeaveOneGroupOut().split(found.z, found.success, groups):
        assert not set(found.seed[train]) & set(found.seed[test])
        fitted = linear.LogisticRegression().fit(found.z[train, None], found.success[train])
        assert np.sign(fitted.coef_[0, 0]) == slope_sign(found.z[train], found.success[train])
        count = found.success[test].sum() * (~found.success[test]).sum()
        won += count * metrics.roc_auc_score(found.success[test], fitted.decision_function(found.z[test, None]))
        pairs += count
    assert auc_of(found) == pytest.approx(won / pairs)
    rates = np.linspace(0, 1, 20001)
    assert np.trapezoid(roc_out_of_fold(found.z, found.success, found.seed, rates), rates) == pytest.approx(won / pairs, abs=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_which_way_a_regression_points_is_where_the_means_lie(seed):
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=30) ** 3, draw.random(30) < 0.4
    for penalty in (1.0, 1e-3, 1e3):
        assert np.sign(linear.LogisticRegression(C=penalty).fit(x[:, None], y).coef_[0, 0]) == slope_sign(x, y)


def test_a_planted_separation_is_found_and_chance_is_chance():
    planted, none = (separation(scored(episodes(gap)), resamples=100) for gap in (0.3, 0.0))
    assert planted["d"] > 1 and planted["auc"] > 0.8
    assert planted["d_interval"][0] > 0.5 and planted["auc_interval"][0] > 0.65
    assert none["d_interval"][0] < 0 < none["d_interval"][1]
    assert none["auc_interval"][0] < 0.5 < none["auc_interval"][1]
    reversed_ = scored(episodes(-0.3))
    assert separation(reversed_, resamples=1)["d"] < -1 and not aligned(reversed_)
    assert set(aligned(scored(episodes(0.3)))) == {"open", "push"}


def test_no_result_depends_on_tau():
    one, other = (scored(episodes(0.1), tau=tau) for tau in (1.0, 0.03))
    assert not np.allclose(one.log_c, other.log_c)
    assert np.allclose(one.z, other.z)
    told = separation(other, resamples=20)
    for name, value in separation(one, resamples=20).items():
        assert told[name] == pytest.approx(value, rel=1e-6), name
    assert spearman(one) == pytest.approx(spearman(other), nan_ok=True)


def test_an_episode_is_told_by_others_seeds():
    """Where success is a matter of the seed alone, two tasks of one seed never stand on both sides of a fold."""
    draw = np.random.default_rng(0)
    seeds = np.repeat(np.arange(50), 2)
    success = np.repeat(draw.random(50) < 0.5, 2)
    values = np.repeat(draw.normal(size=50), 2) + 1e-3 * draw.normal(size=100)
    assert abs(auc_out_of_fold(values, success, seeds) - 0.5) < 0.2
    assert np.isnan(auc_out_of_fold(values, np.ones(100, dtype=bool), seeds))


def test_what_stands_still_is_easy_to_imagine():
    still, moving = Episode("open", 0, False, frames(0.1, change=0.01)), Episode("open", 1, True, frames(0.9, change=1.0))
    found = scored([still, moving])
    assert spearman(found) < -0.9
    assert found.skill == pytest.approx(1 - (0.1 + 0.9) / (0.01 + 1.0))


def test_frames_count_until_which_the_plan_was_kept():
    mixed = Episode("open", 0, True, frames(0.1) + frames(9.0, on_plan=False))
    assert scored([mixed]).log_c == pytest.approx([-0.1])
    later = Episode("open", 0, True, frames(9.0, on_plan=False))
    assert scored([later]).log_c == pytest.approx([-9.0]) and not scored([later]).on_plan
    with pytest.raises(DatasetError, match="no imagined frame came due"):
        scored([Episode("open", 0, True, ())])
    with pytest.raises(DatasetError, match="no imagined frame came due"):
        scored([mixed], offset=16)


def test_all_can_be_told_from_the_same_stretch():
    """What goes wrong late, in episodes that go on, is not held against their beginning."""
    short, long = Episode("open", 0, True, frames(0.1, count=2)), Episode("open", 1, False, frames(0.1, count=2) + tuple(
        Realised(step=100, offset=8, distance=5.0, change=1.0, on_plan=True) for _ in range(3)))
    assert scored([short, long]).log_c[1] < -1
    assert scored([short, long], before=100).log_c == pytest.approx([-0.1, -0.1])


def test_episodes_of_one_seed_are_drawn_together():
    """Two copies of every episode say no more than one."""
    once = episodes(0.2, tasks=("open",))
    twice = scored([*once, *[Episode("push", e.seed, e.success, e.consistency) for e in once]])
    narrow, wide = (interval(x, lambda one: float(one.z[one.success].mean())) for x in (twice, scored(once)))
    assert narrow[1] - narrow[0] == pytest.approx(wide[1] - wide[0], rel=0.05)


def test_an_episode_is_stalled_where_the_world_stands_still_for_long_enough():
    changes = np.array([1.0, 0.1, 0.1, 0.9, 0.1, 0.2, 0.1, 0.1, 1.0])
    assert stalled(changes, floor=0.5).tolist() == [False] * 6 + [True, True, False]
    assert stalled(changes, floor=0.5, patience=1).sum() == 6
    assert not stalled(changes, floor=0.2).any(), "0.2 does not lie below 0.2"
    assert stillness(changes) == 0.2 and stalled(changes, floor=0.2 + 1e-9).any()
    assert stillness(changes[:2]) == np.inf and not stalled(changes[:0], floor=1.0).any()
