"""Masks are the segmentation's shares, contact lies where hand and object meet, and value falls off with distance from the hand."""

import math
from dataclasses import replace

import pytest
import torch

from foreact.contract.context import Scene
from foreact.contract.errors import ConfigError, MisfitError, SpecError
from foreact.contract.specs import Calibration, CameraSpec, ObservationSpec, StateSpec
from foreact.substrates import ContactMap, ReachValue, SemanticMasks

LEVEL = Calibration(position=(0.0, -1.0, 0.0), forward=(0.0, 1.0, 0.0), up=(0.0, 0.0, 1.0), fovy=90.0)
SEEN = ObservationSpec(cameras=(CameraSpec(name="scene", height=16, width=16, calibration=LEVEL),), rate_hz=10.0,
                       state=StateSpec(names=("hand_x", "hand_y", "hand_z"), units=("m",) * 3))
BACKGROUND, HAND, OBJECT = 0, 2, 3


def pictures(*frames):
    """Segmentations of a present without anything and of these futures, from {class: (rows, columns)}."""
    found = torch.zeros(1, 1 + len(frames), 16, 16, dtype=torch.uint8)
    for time, frame in enumerate(frames, start=1):
        for kind, (rows, columns) in frame.items():
            found[0, time, rows, columns] = kind
    return found


def test_masks_are_the_segmentations_share_of_every_cell():
    substrate = SemanticMasks.Config(grid=(2, 2), detail=2, classes=(HAND, OBJECT)).build(SEEN)
    drawn = pictures({HAND: (slice(0, 4), slice(0, 2)), OBJECT: (slice(8, 16), slice(8, 16))})
    scene = Scene(images={}, annotations={"segmentation.scene": drawn})
    masks = substrate.masks(scene)[0, 1, 0]
    assert masks[0].tolist() == [[0.5, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert masks[1].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    # unfitted units are one, so tokens are the shares: the first patch's hand cells, then its object cells
    values = substrate.encode(scene)[0, 1]
    assert values[0].tolist() == [0.5, 0, 0, 0, 0, 0, 0, 0]
    assert values[3].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert torch.equal(substrate.maps.unpack(substrate.encode(scene))[0, 1, 0], masks)


def test_contact_lies_between_hand_and_object_and_grows_with_the_force():
    substrate = ContactMap.Config(grid=(4, 4), detail=4, reach=1, firm=5.0).build(SEEN)
    meeting = {HAND: (slice(4, 8), slice(0, 8)), OBJECT: (slice(4, 8), slice(8, 16))}
    apart = {HAND: (slice(4, 8), slice(0, 4)), OBJECT: (slice(4, 8), slice(12, 16))}
    force = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [2.0, 5.0], [1.0, 15.0], [1.0, 15.0]]])
    maps = substrate.contacts(Scene(images={}, annotations={
        "segmentation.scene": pictures(meeting, meeting, meeting, apart), "contacts": force}))[0, :, 0]
    near = torch.zeros(16, 16)
    near[3:9, 7:9] = 1  # one pixel of reach on either side of the edge between columns 7 and 8
    for time, strength in ((1, 0.0), (2, 0.5), (3, 0.75)):
        assert torch.equal(maps[time, 0], near)
        assert torch.allclose(maps[time, 1], strength * near)
    assert not maps[4].any()


def test_value_falls_off_with_the_distance_of_what_is_seen_from_the_hand():
    substrate = ReachValue.Config(grid=(4, 4), detail=4, length=0.5).build(SEEN)
    # a wall one metre before the camera: a pixel is 2/16 m, and pixel (8, 8) shows (1/16, 0, -1/16)
    scene = Scene(images={}, state=torch.tensor([[[0.0, 0.0, 0.0], [1 / 16, 0.0, -1 / 16]]]), annotations={
        "segmentation.scene": pictures({OBJECT: (slice(8, 9), slice(8, 16))}), "depth.scene": torch.ones(1, 2, 16, 16)})
    value = substrate.value(scene)[0, 1, 0, 0]
    assert value[8, 8:].tolist() == pytest.approx([math.exp(-k * 0.125 / 0.5) for k in range(8)], rel=1e-5)
    assert not value[:8].any() and not value[9:].any() and not value[8, :8].any()
    nothing = replace(scene, annotations=scene.annotations | {"depth.scene": torch.zeros(1, 2, 16, 16)})
    assert not substrate.value(nothing).any()


def test_what_they_cannot_be_made_from_is_refused_by_name():
    with pytest.raises(ConfigError, match="not classes of a mask"):
        SemanticMasks.Config(classes=(2, 7)).form(SEEN)
    with pytest.raises(MisfitError, match="does not say where the hand is"):
        ReachValue.Config().form(replace(SEEN, state=StateSpec(names=("q",), units=("rad",))))
    with pytest.raises(SpecError, match=r"annotations\.segmentation=true"):
        SemanticMasks.Config(grid=(2, 2)).build(SEEN).encode(Scene(images={}, state=torch.zeros(1, 2, 3)))
