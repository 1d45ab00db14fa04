"""Prediction targets: closed forms, and conversions that undo each other in float64."""

import pytest
import torch

from foreact.flow.targets import interpolate, spread, target, to_noise, to_sample, to_velocity

KINDS = ("velocity", "sample", "noise")
READ = {"velocity": to_velocity, "sample": to_sample, "noise": to_noise}


@pytest.fixture
def path():
    """x0, x1, sigma and x_t in float64; sigma keeps away from both ends, where one of the targets is undefined."""
    g = torch.Generator().manual_seed(0)
    x0, x1 = torch.randn(2, 8, 5, 3, generator=g, dtype=torch.float64).unbind(0)
    sigma = torch.linspace(0.02, 0.98, 8, dtype=torch.float64)
    return x0, x1, sigma, interpolate(x0, x1, sigma)


def test_the_path_runs_from_data_to_noise(path):
    x0, x1, _, _ = path
    assert torch.equal(interpolate(x0, x1, torch.zeros(8, dtype=torch.float64)), x0)
    assert torch.equal(interpolate(x0, x1, torch.ones(8, dtype=torch.float64)), x1)


@pytest.mark.parametrize("given", KINDS)
@pytest.mark.parametrize("wanted", KINDS)
def test_a_perfect_prediction_of_one_kind_is_a_perfect_prediction_of_every_kind(path, given, wanted):
    x0, x1, sigma, xt = path
    torch.testing.assert_close(
        READ[wanted](given, target(given, x0, x1), xt, sigma), target(wanted, x0, x1), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("given", KINDS)
@pytest.mark.parametrize("through", KINDS)
def test_conversions_are_inverse_pairs_for_any_prediction(path, given, through):
    _, _, sigma, xt = path
    prediction = torch.randn(xt.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    there = READ[through](given, prediction, xt, sigma)
    torch.testing.assert_close(READ[given](through, there, xt, sigma), prediction, rtol=1e-11, atol=1e-11)


def test_the_printed_form_of_table_6_holds_only_at_sigma_one(path):
    x0, x1, sigma, xt = path
    wrong_guess = x0 + 0.1
    right = to_velocity("sample", wrong_guess, xt, sigma)
    assert not torch.allclose(right, x1 - wrong_guess, atol=1e-3)
    one = torch.ones(8, dtype=torch.float64)
    torch.testing.assert_close(to_velocity("sample", wrong_guess, x1, one), x1 - wrong_guess)


def test_the_denominator_is_clipped_where_it_vanishes():
    zero, x = torch.zeros(1), torch.ones(1, 2)
    assert to_velocity("sample", x - 1e-3, x, zero, floor=1e-3).abs().max() == pytest.approx(1.0, rel=1e-3)
    assert to_velocity("noise", x + 1e-3, x, zero + 1, floor=1e-3).abs().max() == pytest.approx(1.0, rel=1e-3)


def test_spread_adds_trailing_axes():
    assert spread(torch.zeros(4), torch.zeros(4, 2, 3)).shape == (4, 1, 1)
