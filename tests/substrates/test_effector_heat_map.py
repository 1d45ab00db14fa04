"""The heat lies where the calibrated camera sees the hand, has the declared width, and comes back from its tokens."""

import math
from dataclasses import replace

import pytest
import torch

from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError, SpecError
from foreact.contract.specs import Calibration, CameraSpec, ObservationSpec, StateSpec
from foreact.substrates import EffectorHeatMap

LEVEL = Calibration(position=(0.0, -1.0, 0.0), forward=(0.0, 1.0, 0.0), up=(0.0, 0.0, 1.0), fovy=90.0)
SEEN = ObservationSpec(cameras=(CameraSpec(name="scene", height=64, width=64, calibration=LEVEL),), rate_hz=10.0,
                       state=StateSpec(names=("grip", "hand_x", "hand_y", "hand_z"), units=("1", "m", "m", "m")))


def scene(*hands):
    return Scene(images={}, state=torch.tensor([[[0.5, *hand] for hand in hands]]))


def built(**options):
    return EffectorHeatMap.Config(**{"grid": (4, 4), "detail": 16} | options).build(SEEN)


def test_the_peak_lies_at_the_projected_hand():
    # one metre before a camera of 90 degrees, half a picture is one metre: 0.25 m is 8 of 32 pixels
    heat = built().heat(scene((0.0, 0.0, 0.0), (0.25 + 1 / 64, 0.0, 0.5 - 1 / 64)))[0, 1, 0, 0]
    row, column = divmod(int(heat.argmax()), 64)
    assert (row, column) == (16, 40)  # the middle of that cell is (40.5, 16.5): 0.265625 m to the right, 0.484375 m up
    assert heat.max() == pytest.approx(1.0, abs=1e-5)


def test_it_falls_off_by_the_declared_radius():
    heat = built(radius=0.125).heat(scene((0.0, 0.0, 0.0), (1 / 64, 0.0, -1 / 64)))[0, 1, 0, 0]
    assert heat[32, 32 + 8] == pytest.approx(math.exp(-0.5), rel=1e-4)  # r is 8 pixels
    assert heat[32 + 16, 32] == pytest.approx(math.exp(-2.0), rel=1e-4)


def test_twice_as_far_is_half_as_far_from_the_middle_and_behind_the_camera_there_is_nothing():
    heat = built().heat(scene((0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.5, 1.0, 0.0), (0.5, -2.0, 0.0)))[0, :, 0, 0]
    columns = [float((frame.sum(0) * torch.arange(64)).sum() / frame.sum()) + 0.5 for frame in heat[:3]]
    assert columns == pytest.approx([32, 48, 40], abs=0.01)
    assert not heat[3].any()


def test_tokens_give_the_maps_back_and_the_picture_shows_them():
    substrate = built(detail=4)
    hands = scene(*((0.1 * k, 0.0, 0.05 * k) for k in range(-5, 6)))
    assert substrate.fit([hands], steps=1, seed=0) == {"in_view": 1.0}
    values = substrate.encode(hands)
    assert torch.allclose(substrate.maps.unpack(values)[:, 1:], substrate.heat(hands)[:, 1:], atol=1e-5)
    assert values[:, 1:].mean().abs() < 1e-3 and values[:, 1:].std() == pytest.approx(1, abs=1e-2)
    shown = substrate.decode(values, {"scene": torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)})["scene"]
    red = shown[0, 1, 0].float()  # the first future: the hand is at (-0.4, -0.2), pixel (19.2, 38.4)
    row, column = divmod(int(red.argmax()), 64)
    assert abs(column + 0.5 - 19.2) <= 4 and abs(row + 0.5 - 38.4) <= 4


@pytest.mark.parametrize(("spec", "message"), [
    (replace(SEEN, state=StateSpec(names=("x", "y"), units=("m", "m"))), "does not say where the hand is"),
    (replace(SEEN, cameras=(CameraSpec(name="scene", height=64, width=64),)), "no camera of which it is known"),
])
def test_what_it_cannot_be_made_from_is_refused_by_name(spec, message):
    with pytest.raises(MisfitError, match=message):
        EffectorHeatMap.Config().form(spec)


def test_scenes_without_proprioception_are_refused():
    with pytest.raises(SpecError, match="proprioception"):
        built().encode(Scene(images={"scene": torch.zeros(1, 2, 3, 64, 64, dtype=torch.uint8)}))
