"""Committed actions: held exactly where they are certain, let go where they are not, whatever the solver."""

import math

import pytest
import torch

from foreact.flow.inpainting import commitment, towards
from foreact.flow.samplers import integrate
from foreact.flow.schedules import sigmas
from foreact.flow.targets import interpolate, to_velocity

SOLVERS = ["euler", "heun", "adams-bashforth"]


def denoised(clean, weight, *, solver, steps=4, seen=None):
    """A net that takes every token for the mean of what it sees, so that one token bears on the others."""
    noise = torch.randn(2, 6, 1, generator=torch.Generator().manual_seed(0))

    def velocity(x, sigma):
        if seen is not None:
            seen.append((float(sigma["a"]), x["a"].clone()))
        mean = x["a"].mean(dim=1, keepdim=True).expand_as(x["a"])
        return {"a": to_velocity("sample", mean, x["a"], sigma["a"].expand(2))}

    end = integrate(towards(velocity, "a", clean, weight), {"a": noise}, sigmas(steps), solver=solver)["a"]
    return end, noise


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_is_certain_ends_as_committed_and_walks_there_straight(solver):
    clean, weight, seen = torch.full((2, 6, 1), 3.0), torch.zeros(2, 6, 1), []
    weight[:, :2] = 1.0
    end, noise = denoised(clean, weight, solver=solver, seen=seen)
    assert torch.allclose(end[:, :2], clean[:, :2], atol=1e-5)
    for level, x in seen:
        assert torch.allclose(x[:, :2], interpolate(clean, noise, torch.tensor(level).expand(2))[:, :2], atol=1e-5)
    free, _ = denoised(None, None, solver=solver)
    assert (end[:, 2:] - free[:, 2:]).mean() > 0.5  # the rest is worked out around it


@pytest.mark.parametrize("solver", SOLVERS)
def test_weights_of_zero_change_not_a_bit(solver):
    assert torch.equal(denoised(torch.ones(2, 6, 1), torch.zeros(2, 6, 1), solver=solver)[0], denoised(None, None, solver=solver)[0])


def test_the_last_step_blends_what_the_net_gives_with_what_is_committed():
    clean, weight, seen = torch.full((2, 6, 1), 3.0), torch.full((2, 6, 1), 0.25), []
    end, _ = denoised(clean, weight, solver="euler", seen=seen)
    given = seen[-1][1].mean(dim=1, keepdim=True).expand_as(clean)
    assert torch.allclose(end, 0.75 * given + 0.25 * clean, atol=1e-5)


def test_a_stream_that_stands_still_at_zero_stays():
    x = torch.ones(1, 2, 1)
    found = towards(lambda x, sigma: {"a": torch.zeros(1, 2, 1)}, "a", torch.zeros(1, 2, 1), torch.ones(1, 2, 1))(
        {"a": x}, {"a": torch.tensor(0.0)})
    assert torch.equal(found["a"], torch.zeros(1, 2, 1))


def test_the_weights_are_those_of_real_time_chunking():
    weights = commitment(2, 6, 8)
    expected = [1.0, 1.0, *(c * (math.e**c - 1) / (math.e - 1) for c in (4 / 5, 3 / 5, 2 / 5, 1 / 5)), 0.0, 0.0]
    assert weights.tolist() == pytest.approx(expected)
    assert commitment(5, 3, 8).tolist() == [1.0] * 3 + [0.0] * 5  # what is not there holds nothing
    assert commitment(8, 20, 8).tolist() == [1.0] * 8
