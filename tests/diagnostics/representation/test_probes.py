"""Probes and likeness on data that is built to have, or to lack, the property."""

import numpy as np
import pytest

from foreact.contract.errors import DatasetError
from foreact.diagnostics.representation.probes import classes_probe, folds, regression_probe, rotated
from foreact.diagnostics.representation.similarity import cka, cka_matrix, without_places


def made(seed=0, episodes=20, frames=10, width=96):
    draw = np.random.default_rng(seed)
    names = np.repeat(np.arange(episodes), frames)
    where = np.cumsum(draw.normal(size=(episodes, frames, 2)), axis=1).reshape(-1, 2)
    return draw, names, names % 2, where, width


def test_a_position_that_the_states_hold_linearly_is_read():
    draw, episodes, tasks, where, width = made()
    states = where @ draw.normal(size=(2, width)) + 0.01 * draw.normal(size=(len(where), width))
    found = regression_probe(rotated(states), where, folds(episodes, tasks))
    assert found["all"].value > 0.99 and found["within"].value > 0.99
    assert found["all"].low <= found["all"].value <= found["all"].high
    assert found["all"].chance < 0.1 and found["error"] < 0.1
    assert found["all"].n == len(where) and found["all"].episodes == 20


def test_from_noise_nothing_is_read():
    draw, episodes, tasks, where, width = made()
    found = regression_probe(rotated(draw.normal(size=(len(where), width))), where, folds(episodes, tasks))
    assert abs(found["all"].value) < 0.15 and abs(found["all"].chance) < 0.15


def test_frames_of_one_episode_never_stand_on_both_sides():
    """States that name their episode and nothing else: split by frame they would tell where its object is."""
    draw, episodes, tasks, _, _ = made()
    where = draw.normal(size=(20, 2))[episodes]
    states = np.eye(20)[episodes] + 0.01 * draw.normal(size=(len(episodes), 20))
    dealt = folds(episodes, tasks)
    assert regression_probe(rotated(states), where, dealt)["all"].value < 0.1
    for fold in range(dealt.outer.max() + 1):
        assert not set(episodes[dealt.outer == fold]) & set(episodes[dealt.outer != fold])
        inner = dealt.inner[fold]
        assert ((inner == -1) == (dealt.outer == fold)).all()
        assert all(len(np.unique(inner[episodes == e])) == 1 for e in np.unique(episodes))


def test_knowing_the_task_counts_for_nothing_within_a_task():
    draw, episodes, tasks, where, width = made()
    found = regression_probe(rotated(tasks[:, None] * draw.normal(size=width)), where + 30.0 * tasks[:, None], folds(episodes, tasks))
    assert found["all"].value > 0.9
    assert abs(found["within"].value) < 0.1


def test_what_is_not_known_is_left_out():
    draw, episodes, tasks, where, width = made()
    states = where @ draw.normal(size=(2, width))
    hidden = where.copy()
    hidden[::3] = np.nan
    both = np.concatenate([where, hidden], axis=1)
    found = regression_probe(rotated(states), both, folds(episodes, tasks), groups={"seen": slice(0, 2), "hidden": slice(2, 4)})
    assert found["all"].value > 0.99 and found["seen"].n == 200 and found["hidden"].n == 133
    assert regression_probe(rotated(states), np.full_like(where, np.nan), folds(episodes, tasks)) is None


def test_the_rotation_leaves_ridge_as_it_is():
    from sklearn.linear_model import Ridge

    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 100))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    x /= np.sqrt(np.square(x).sum() / len(x))
    y, turned = draw.normal(size=40), rotated(x)
    assert turned.shape == (40, 40)
    told = [Ridge(alpha=0.1).fit(part[:30], y[:30]).predict(part[30:]) for part in (x, turned)]
    np.testing.assert_allclose(*told, atol=1e-5)


def test_classes_are_read_where_tokens_tell_them():
    draw, episodes, tasks, _, _ = made(frames=30)
    labels = draw.integers(0, 3, len(episodes))
    tokens = np.eye(3)[labels] @ draw.normal(size=(3, 12)) + 0.05 * draw.normal(size=(len(labels), 12))
    exchanged = draw.permutation(labels)
    found = classes_probe(tokens, labels, exchanged, folds(episodes, tasks), positive=2, resamples=50)
    assert found["iou"].value > 0.97 and found["auc"].value > 0.99
    assert found["iou"].chance < 0.4 and abs(found["auc"].chance - 0.5) < 0.1
    noise = classes_probe(draw.normal(size=tokens.shape), labels, exchanged, folds(episodes, tasks), positive=2, resamples=50)
    assert noise["iou"].value < 0.4 and abs(noise["auc"].value - 0.5) < 0.1


def test_too_few_episodes_are_refused():
    with pytest.raises(DatasetError, match="too few episodes"):
        folds(np.array([0, 0, 1, 2]), np.zeros(4, dtype=int))


# --- likeness -----------------------------------------------------------------------------------------------------------

def test_a_turned_copy_is_alike_and_noise_is_not():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(300, 40)) * np.linspace(0.2, 2, 40)
    turn = np.linalg.qr(draw.normal(size=(40, 40)))[0]
    assert cka(x, 3.0 * x @ turn + draw.normal(size=40)) == pytest.approx(1.0, abs=1e-9)
    assert abs(cka(x, draw.normal(size=(300, 25)))) < 0.05


def test_more_channels_than_samples_are_not_alike_by_chance():
    draw = np.random.default_rng(1)
    found = [cka(draw.normal(size=(60, 500)), draw.normal(size=(60, 500))) for _ in range(10)]
    assert abs(np.mean(found)) < 0.05  # without the correction it is about 0.9


def test_the_estimate_is_that_of_the_kernels():
    """Song et al., equation 5, written with the kernels themselves."""
    draw = np.random.default_rng(2)
    x, y = draw.normal(size=(30, 4)), draw.normal(size=(30, 6))
    y[:, :4] += x

    def hsic(a, b):
        k, m = ((v - v.mean(axis=0)) @ (v - v.mean(axis=0)).T for v in (a, b))
        n = len(k)
        np.fill_diagonal(k, 0)
        np.fill_diagonal(m, 0)
        return (np.trace(k @ m) + k.sum() * m.sum() / (n - 1) / (n - 2) - 2 / (n - 2) * (k @ m).sum()) / n / (n - 3)

    assert cka(x, y) == pytest.approx(hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y)), rel=1e-9)


def test_what_never_changes_at_a_place_makes_no_likeness():
    draw = np.random.default_rng(3)
    places = 50.0 * draw.normal(size=(16, 8))
    a, b = (places @ draw.normal(size=(8, 8)) + draw.normal(size=(40, 16, 8)) for _ in range(2))
    assert abs(cka(without_places(a), without_places(b))) < 0.1
    constant = cka_matrix({"a": without_places(a), "still": without_places(np.ones((40, 16, 3)))})
    assert np.isnan(constant[0, 1]) and constant[0, 0] == pytest.approx(1.0)
