"""3D point flow: metres that are known, points in any order, the picture agrees with the tracks of the simulator."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.context import Scene
from foreact.contract.errors import SpecError
from foreact.contract.specs import Calibration, CameraSpec, ObservationSpec, StateSpec
from foreact.nets.anchors import Anchors
from foreact.substrates import PointFlow

ABOVE = Calibration(position=(0.0, 0.0, 1.0), forward=(0.0, 0.0, -1.0), up=(0.0, 1.0, 0.0), fovy=90.0)
OBSERVATION = ObservationSpec(cameras=(CameraSpec(name="above", height=32, width=32, calibration=ABOVE),
                                       CameraSpec(name="hand", height=32, width=32)),
                              rate_hz=10.0, state=StateSpec(names=("x",), units=("m",)))
CONFIG = PointFlow.Config(points=6)


def scene(seed=0, batch=8, move=(0.03, 0.0, -0.01)):
    """Three points on a hand, which moves, over three on an object, which rests; listed in another order in each scene."""
    g = torch.Generator().manual_seed(seed)
    place = torch.rand(batch, 6, 3, generator=g) * 0.2
    hand = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]).expand(batch, -1)
    later = torch.arange(3.0)[None, :, None, None] * torch.tensor(move) * hand[:, None, :, None]
    points = torch.cat([place[:, None] + later, hand[:, None, :, None].expand(-1, 3, -1, -1)], dim=-1)
    order = torch.stack([torch.randperm(6, generator=g) for _ in range(batch)])
    points = points.take_along_dim(order[:, None, :, None], dim=2)
    images = {c.name: torch.full((batch, 3, 3, 32, 32), 80, dtype=torch.uint8) for c in OBSERVATION.cameras}
    return Scene(images=images, annotations={"points": points})


@pytest.fixture(scope="module")
def fitted():
    substrate = CONFIG.build(OBSERVATION)
    return substrate, substrate.fit((scene(i) for i in range(4)), steps=4, seed=0)


def test_tokens_hold_where_points_are_and_how_far_they_go(fitted):
    substrate, measured = fitted
    seen = scene(9)
    values = substrate.encode(seen)
    place, move = substrate.metres(values[:, 1:])
    hand = values[:, 1:, :, 6] > 0
    assert (hand.sum(-1) == 3).all()
    expected = torch.arange(1.0, 3.0)[None, :, None, None] * torch.tensor([0.03, 0.0, -0.01]) * hand[..., None]
    assert torch.allclose(move, expected, atol=1e-6)
    points = seen.annotations["points"][:, 0, :, :3]
    assert torch.cdist(place[:, 0], points).amin(-1).max() < 1e-6  # every token is a point, and no point is two tokens
    assert torch.cdist(place[:, 0], points).amin(-2).max() < 1e-6
    moves = (0.03**2 + 0.01**2) ** 0.5 * ((1 + 4) / 2 / 2) ** 0.5
    assert measured["displacement_m"] == pytest.approx(moves, rel=1e-4)


def test_the_order_in_which_points_are_listed_does_not_matter(fitted):
    substrate, _ = fitted
    seen = scene(5)
    listed = replace(seen, annotations={"points": seen.annotations["points"].flip(2)})
    assert torch.equal(substrate.encode(seen), substrate.encode(listed))


def test_a_token_is_of_the_hand_or_of_an_object_in_every_scene(fitted):
    kinds = fitted[0].encode(scene(7, batch=32))[:, 1, :, 6]
    assert (kinds == kinds[:1]).all()


def test_lines_are_drawn_in_calibrated_cameras_from_point_to_point(fitted):
    substrate, _ = fitted
    seen = scene(3, batch=2, move=(0.3, 0.0, 0.0))
    pictures = substrate.decode(substrate.encode(seen)[:, 1:], {n: x[:, 0] for n, x in seen.images.items()})
    assert set(pictures) == {"above"}
    points = seen.annotations["points"]
    focal = 16.0
    for b in range(2):
        column = 16 + focal * points[b, 1, :, 0] / (1 - points[b, 1, :, 2])
        row = 16 - focal * points[b, 1, :, 1] / (1 - points[b, 1, :, 2])
        for p in torch.nonzero(points[b, 1, :, 3])[:, 0]:
            assert (pictures["above"][b, 0, :, int(row[p]), int(column[p])] != 48).any()
    assert (pictures["above"][:, :, :, 20:] == 48).all()  # no point is below the middle


def test_too_few_points_are_refused():
    few = replace(scene(), annotations={"points": scene().annotations["points"][:, :, :5]})
    with pytest.raises(SpecError, match="too few points"):
        CONFIG.build(OBSERVATION).encode(few)
    with pytest.raises(SpecError, match="no annotation 'points'"):
        CONFIG.build(OBSERVATION).encode(replace(scene(), annotations={}))


def test_anchors_lie_in_the_middle_of_clusters_and_take_one_point_each():
    g = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    anchors = Anchors(3, 2)
    anchors.fit(centres + 0.1 * torch.randn(64, 3, 2, generator=g), seed=1)
    assert torch.cdist(anchors.places, centres).amin(1).max() < 0.1
    taken = anchors.take(torch.zeros(1, 5, 2) + torch.arange(5.0)[None, :, None])
    assert len(set(taken[0].tolist())) == 3
