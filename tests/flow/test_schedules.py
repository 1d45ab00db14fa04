"""Noise levels: ends, order, shift and the densities that training draws from."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from scipy.special import logit
from scipy.stats import kstest, norm

from foreact.flow.schedules import draw_sigma, shifted, sigmas


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 4, 10])
def test_levels_fall_from_noise_to_data(steps, shift):
    levels = sigmas(steps, shift=shift)
    assert len(levels) == steps + 1
    assert levels[0] == 1.0
    assert levels[-1] == 0.0
    assert (levels.diff() < 0).all()


def test_shift_has_its_closed_form_and_its_inverse():
    sigma = torch.linspace(0, 1, 11, dtype=torch.float64)
    assert torch.equal(shifted(sigma, 1.0), sigma)
    torch.testing.assert_close(
        shifted(torch.tensor([0.5], dtype=torch.float64), 3.0), torch.tensor([0.75], dtype=torch.float64)
    )
    torch.testing.assert_close(shifted(shifted(sigma, 3.0), 1 / 3.0), sigma)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_shift_equals_diffusers(shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    unshifted = torch.linspace(1, 1000, 1000).flip(0) / 1000
    # float32 through numpy on their side: a few units in the last place
    torch.testing.assert_close(shifted(unshifted, shift), scheduler.sigmas, rtol=0, atol=3e-7)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize(("density", "cdf"), [("uniform", lambda s: s), ("logit-normal", lambda s: norm.cdf(logit(s)))])
def test_draws_follow_their_density(density, cdf, shift):
    drawn = draw_sigma(4000, torch.Generator().manual_seed(0), density=density, shift=shift)
    assert drawn.min() > 0
    assert drawn.max() < 1
    assert kstest(shifted(drawn.double(), 1 / shift).numpy(), cdf).pvalue > 0.01


def test_draws_repeat_under_their_seed():
    first, second = (draw_sigma(8, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
