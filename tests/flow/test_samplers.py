"""Solvers: orders of accuracy by regression, exactness on straight paths, and parity with diffusers."""

import math

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler

from foreact.flow.samplers import integrate
from foreact.flow.schedules import sigmas

ORDERS = {"euler": 1, "heun": 2, "adams-bashforth": 2}


def curved(state, sigma):
    """dx/dsigma = -2 sigma x, y' = cos(3 sigma) y: solved by exp(-sigma^2) and exp(sin(3 sigma) / 3)."""
    return {"x": -2 * sigma["x"] * state["x"], "y": torch.cos(3 * sigma["y"]) * state["y"]}


def error_of(solver, steps):
    start = {
        "x": torch.full((1,), math.exp(-1.0), dtype=torch.float64),
        "y": torch.full((1,), math.exp(math.sin(3.0) / 3), dtype=torch.float64),
    }
    # stop above zero: heun takes its last slope at sigma = 0 from the left, which is a rule of its own (see below)
    grid = torch.linspace(1.0, 0.1, steps + 1, dtype=torch.float64)
    end = integrate(curved, start, grid, solver=solver)
    return abs(end["x"].item() - math.exp(-0.01)) + abs(end["y"].item() - math.exp(math.sin(0.3) / 3))


@pytest.mark.parametrize(("solver", "order"), ORDERS.items())
def test_order_of_accuracy(solver, order):
    steps = [16, 32, 64, 128]
    errors = [error_of(solver, n) for n in steps]
    x, y = torch.log(torch.tensor(steps, dtype=torch.float64)), torch.log(torch.tensor(errors, dtype=torch.float64))
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    assert -slope.item() == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("solver", ORDERS)
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_straight_path_is_walked_exactly_in_any_number_of_steps(solver, shift):
    x0, x1 = torch.tensor([0.5, -2.0], dtype=torch.float64), torch.tensor([1.0, 3.0], dtype=torch.float64)
    for steps in (1, 3):
        end = integrate(lambda state, sigma: {"x": x1 - x0}, {"x": x1}, sigmas(steps, shift=shift).double(), solver=solver)
        torch.testing.assert_close(end["x"], x0, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("solver", "evaluations"), [("euler", 5), ("adams-bashforth", 5), ("heun", 9)])
def test_evaluations_are_what_the_solver_promises(solver, evaluations):
    seen = []

    def velocity(state, sigma):
        seen.append(float(sigma["x"]))
        return {"x": state["x"]}

    integrate(velocity, {"x": torch.ones(1)}, sigmas(5), solver=solver)
    assert len(seen) == evaluations
    assert min(seen) > 0, "the network is never asked at sigma = 0, where a clean-sample target has no velocity"


def test_streams_move_together_and_the_start_is_left_alone():
    start = {"a": torch.ones(1), "b": torch.ones(1)}
    end = integrate(lambda state, sigma: {"a": state["b"], "b": -state["a"]}, start, sigmas(4))
    assert end["a"].item() != end["b"].item()
    assert start["a"].item() == 1.0


def network(x, sigma):
    """Stands for a trained model: smooth in both arguments."""
    return torch.tanh(x) * (1 + sigma) - 0.3


def with_diffusers(scheduler, x, steps):
    scheduler.set_timesteps(steps)
    for time in scheduler.timesteps:
        x = scheduler.step(network(x, time / scheduler.config.num_train_timesteps), time, x).prev_sample
    return x


def same_levels(scheduler, steps):
    """diffusers spreads its levels over [1/1000, 1] and appends 0; parity is about the solver on equal levels."""
    scheduler.set_timesteps(steps)
    return scheduler.sigmas.double()


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
def test_euler_equals_diffusers(shift):
    x = torch.randn(64, generator=torch.Generator().manual_seed(0))
    levels = same_levels(FlowMatchEulerDiscreteScheduler(shift=shift), 10)
    ours = integrate(lambda state, sigma: {"x": network(state["x"], sigma["x"].float())}, {"x": x}, levels)["x"]
    theirs = with_diffusers(FlowMatchEulerDiscreteScheduler(shift=shift), x, 10)
    # float32, ten steps: each rounds once in the update and once in timestep = sigma * 1000 / 1000
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_heun_equals_diffusers():
    x = torch.randn(64, generator=torch.Generator().manual_seed(0))
    scheduler = FlowMatchHeunDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(10)
    levels = torch.cat([scheduler.sigmas[:1], scheduler.sigmas[1:-1:2], scheduler.sigmas[-1:]]).double()
    ours = integrate(lambda state, sigma: {"x": network(state["x"], sigma["x"].float())}, {"x": x}, levels, solver="heun")["x"]
    theirs = with_diffusers(FlowMatchHeunDiscreteScheduler(shift=3.0), x, 10)
    # float32, nineteen evaluations, rounded as above
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


@pytest.mark.parametrize("solver", ORDERS)
def test_streams_walk_down_at_their_own_times(solver):
    """One finished in the first half, one held at noise, one held at data: each moves where its level does and nowhere else."""
    levels = {"early": torch.tensor([1.0, 0.5, 0.0, 0.0, 0.0]), "noise": torch.ones(5), "data": torch.zeros(5)}
    start, seen = {name: torch.tensor([2.0]) for name in levels}, []

    def velocity(state, sigma):
        seen.append({name: float(value) for name, value in sigma.items()})
        return {name: torch.tensor([3.0]) for name in state}

    end = integrate(velocity, start, levels, solver=solver)
    assert {name: value.item() for name, value in end.items()} == {"early": -1.0, "noise": 2.0, "data": 2.0}
    assert {call["noise"] for call in seen} == {1.0} and {call["data"] for call in seen} == {0.0}
