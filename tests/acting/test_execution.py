"""Plans in another precision are near those in float32, and what they are made of stays as it was."""

import shutil

import pytest
import torch

from foreact.acting.execution import Execution
from foreact.acting.rehearsal import rehearsal
from foreact.contract.axes import SeededNoise
from foreact.contract.errors import ConfigError
from foreact.nets.int8 import Int8Linear
from tiny_members import COUPLINGS, alive, config


@pytest.fixture(scope="module")
def model():
    return alive(config("JointGeneration"))


def plan(model, batch=2):
    return model.plan(rehearsal(model, batch), noise=SeededNoise(range(batch)))


def test_by_default_nothing_is_copied(model):
    assert Execution().prepare(model) is model


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_the_given_model_is_left_as_it_is_and_what_stays_is_shared(model, precision):
    before, kept = plan(model), {name: (id(x), x.clone()) for name, x in model.state_dict(keep_vars=True).items()}
    made = Execution(precision=precision).prepare(model)
    assert not torch.equal(plan(made).actions, before.actions)
    assert torch.equal(plan(model).actions, before.actions)
    assert all(id(x) == kept[name][0] and torch.equal(x, kept[name][1]) for name, x in model.state_dict(keep_vars=True).items())
    own = {id(x) for x in model.state_dict(keep_vars=True).values()}
    taken = [name for name, x in made.state_dict(keep_vars=True).items() if id(x) not in own]
    assert taken
    assert all(name.startswith(("backbone.", "coupling.")) for name in taken)


@pytest.mark.parametrize("coupling", [name for name in COUPLINGS if not name.startswith("ConditionedRollout")])
def test_plans_are_near_those_in_float32(coupling):
    """Random weights 16 wide, so rounding weighs more than in a trained model; a rollout chooses, and may choose another candidate."""
    model = alive(config(coupling))
    exact = plan(model).actions
    for precision in ("bfloat16", "int8"):
        near = plan(Execution(precision=precision).prepare(model)).actions
        assert (near - exact).norm() < 0.3 * exact.norm(), precision


def test_eight_bits_round_each_weight_by_half_a_step_at_most():
    layer = torch.nn.Linear(7, 5)
    with torch.no_grad():
        layer.weight[0] = 0.0  # no largest weight to divide by
    made, x = Int8Linear(layer), torch.randn(3, 7)
    rounded = made.weight.float() * made.scale[:, None]
    assert ((rounded - layer.weight).abs() <= 0.5001 * made.scale[:, None]).all()
    torch.testing.assert_close(made(x), torch.nn.functional.linear(x, rounded, layer.bias), rtol=1e-4, atol=1e-4)


def test_what_this_machine_cannot_do_is_refused(model, monkeypatch):
    with pytest.raises(ConfigError, match="accepted: off, default"):
        Execution(compile="graphs").prepare(model)
    with pytest.raises(ConfigError, match="float32, bfloat16, int8"):
        Execution(precision="float16")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="C\\+\\+ compiler"):
        Execution(compile="default").prepare(model)
