"""Specs are values: equal ones agree in silence, different ones name every field in which they differ."""

from dataclasses import replace

import pytest

from foreact.contract.config import decode, encode
from foreact.contract.errors import SpecError
from foreact.contract.specs import ActionSpec, CameraSpec, GripperConvention, ObservationSpec, StateSpec, require_equal

OBSERVATION = ObservationSpec(
    cameras=(CameraSpec(name="corner", height=48, width=64), CameraSpec(name="gripper", height=48, width=64)),
    state=StateSpec(names=("x", "y", "z"), units=("m", "m", "m")),
    rate_hz=20.0,
)
ACTION = ActionSpec(names=("dx", "dy", "grip"), low=(-1.0, -1.0, -1.0), high=(1.0, 1.0, 1.0), rate_hz=20.0, reference="delta",
                    frame="end-effector", gripper=GripperConvention(index=2, open=-1.0, closed=1.0))


def test_specs_survive_the_disk():
    assert decode(ObservationSpec, encode(OBSERVATION)) == OBSERVATION
    assert decode(ActionSpec, encode(ACTION)) == ACTION


def test_an_unknown_camera_names_the_known_ones():
    assert OBSERVATION.camera("gripper").width == 64
    with pytest.raises(SpecError, match="corner, gripper"):
        OBSERVATION.camera("wrist")


def test_an_action_spec_needs_as_many_bounds_as_names():
    with pytest.raises(SpecError, match="3 names, 1 low"):
        replace(ACTION, low=(0.0,))


def test_specs_that_differ_name_every_field():
    require_equal(ACTION, replace(ACTION), where="serving", next_step="")
    flipped = replace(ACTION, gripper=GripperConvention(index=2, open=1.0, closed=-1.0), rate_hz=10.0)
    with pytest.raises(SpecError) as caught:
        require_equal(ACTION, flipped, where="serving", next_step="convert at the edge")
    assert "rate_hz: 20.0 against 10.0" in str(caught.value)
    assert "gripper" in str(caught.value)
    assert "convert at the edge" in str(caught.value)
