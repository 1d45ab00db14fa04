"""Probes give the score that is known by hand."""

import pytest
import torch

from foreact.flow.probes import nearest_score, ridge_score


def rows(count, seed):
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


def test_what_is_a_linear_map_is_found_whole_and_noise_not_at_all():
    x, held = rows(400, 0), rows(400, 1)
    mix = torch.tensor([[1.0, -2.0], [0.5, 0.0], [0.0, 3.0]])
    assert ridge_score(x, x @ mix + 5, held, held @ mix + 5, penalty=1e-9) == pytest.approx(1, abs=1e-6)
    assert abs(ridge_score(x, rows(400, 2), held, rows(400, 3))) < 0.05
    assert nearest_score(x, rows(400, 2), held, rows(400, 3)) < 0.05


def test_half_of_the_variance_is_a_half():
    x, held = rows(4000, 0), rows(4000, 1)
    assert ridge_score(x, x[:, :1] + rows(4000, 2)[:, :1], held, held[:, :1] + rows(4000, 3)[:, :1]) == pytest.approx(0.5, abs=0.03)


def test_a_bend_is_seen_by_neighbours_and_not_by_a_line():
    x, held = rows(2000, 0), rows(500, 1)
    assert abs(ridge_score(x, x[:, :1].square(), held, held[:, :1].square())) < 0.05
    assert nearest_score(x, x[:, :1].square(), held, held[:, :1].square()) > 0.8
    assert nearest_score(x, x[:, :1], x, x[:, :1], neighbours=1) == 1.0
