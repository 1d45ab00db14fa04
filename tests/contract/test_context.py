"""Context, Window and the fake data that specs yield."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.context import Cost, fake_context, fake_window
from foreact.contract.errors import SpecError
from foreact.contract.specs import ActionSpec, CameraSpec, ObservationSpec, StateSpec

OBSERVATION = ObservationSpec(
    cameras=(CameraSpec(name="front", height=8, width=12), CameraSpec(name="wrist", height=8, width=12)),
    state=StateSpec(names=("x", "y"), units=("m", "m")),
    rate_hz=20.0,
)
ACTION = ActionSpec(names=("dx", "dy"), low=(-1.0, 0.0), high=(1.0, 0.5), rate_hz=20.0, reference="delta", frame="end-effector")


def test_fake_data_keeps_what_the_spec_promises_and_its_seed():
    context = fake_context(OBSERVATION, batch=3, history=2, seed=4)
    context.check(OBSERVATION)
    again, other = fake_context(OBSERVATION, batch=3, history=2, seed=4), fake_context(OBSERVATION, batch=3, history=2, seed=5)
    assert torch.equal(context.images["wrist"], again.images["wrist"])
    assert not torch.equal(context.images["wrist"], other.images["wrist"])


def test_a_fake_window_has_the_offsets_asked_for_and_actions_inside_the_bounds():
    window = fake_window(OBSERVATION, ACTION, horizon=5, future_offsets=(4, 8), batch=2)
    assert window.future_images["front"].shape == (2, 2, 3, 8, 12)
    assert window.actions.shape == (2, 5, 2)
    assert (window.actions[..., 1] >= 0).all()
    assert (window.actions[..., 1] <= 0.5).all()


@pytest.mark.parametrize(("damage", "said"), [
    (lambda c: replace(c, images={"front": c.images["front"]}), ("context.images.wrist", "front, wrist")),
    (lambda c: replace(c, images={**c.images, "wrist": c.images["wrist"][..., :6, :]}), ("context.images.wrist", "8, 12")),
    (lambda c: replace(c, state=c.state[..., :1]), ("context.state", "x, y")),
    (lambda c: replace(c, instruction=("push",)), ("context.instruction",)),
])
def test_a_context_that_is_not_the_spec_is_refused(damage, said):
    with pytest.raises(SpecError) as caught:
        damage(fake_context(OBSERVATION)).check(OBSERVATION)
    assert all(part in str(caught.value) for part in said)


def test_repeat_keeps_the_elements_together():
    context = fake_context(OBSERVATION, batch=2)
    repeated = context.repeat(3)
    assert repeated.instruction == (context.instruction[0],) * 3 + (context.instruction[1],) * 3
    assert torch.equal(repeated.state[2], context.state[0])
    assert torch.equal(repeated.images["front"][3], context.images["front"][1])


def test_cost_adds_up():
    assert Cost(evaluations={"backbone": 4, "coupling.head": 1}).total == 5


def test_shapes_are_enforced_under_test():
    """The import hook is on: a state without its time axis does not even become a context."""
    with pytest.raises(TypeError, match="state"):
        replace(fake_context(OBSERVATION), state=torch.zeros(2, 2))
