"""Motion vectors against pictures whose motion is known."""

import torch
from torch.nn import functional as F

from foreact.contract.context import Scene
from foreact.contract.specs import CameraSpec, ObservationSpec, StateSpec
from foreact.substrates import MotionVectors

OBSERVATION = ObservationSpec(cameras=(CameraSpec(name="front", height=64, width=80),), rate_hz=10.0,
                              state=StateSpec(names=("x",), units=("m",)))


def ground(height, width):
    g = torch.Generator().manual_seed(0)
    return (F.avg_pool2d(torch.randn(1, 3, height, width, generator=g), 5, stride=1, padding=2)[0] * 160 + 128).clamp(0, 255)


def clip(*frames):
    return Scene(images={"front": torch.stack(frames)[None].to(torch.uint8)})


def encoded(scene, grid=(4, 5)):
    return MotionVectors.Config(grid=grid).build(OBSERVATION).encode(scene)[0].unflatten(1, grid)


def test_a_shifted_picture_has_the_vectors_that_it_was_shifted_by():
    big = ground(140, 140)
    frames = [big[:, 30 - v:94 - v, 30 - u:110 - u] for u, v in ((0, 0), (4, 2), (-7, 3))]
    values = encoded(clip(*frames))
    assert not values[0].any()
    for time, (u, v) in ((1, (4, 2)), (2, (-7, 3))):
        assert torch.allclose(values[time, 1:3, 1:4], torch.tensor([float(u), float(v)]), atol=0.26)  # a quarter pixel


def test_a_square_that_moves_over_resting_ground_moves_alone():
    still, square = ground(64, 80), ground(140, 140).flip(-1)[:, :16, :16]
    before, after = still.clone(), still.clone()
    before[:, 16:32, 16:32], after[:, 16:32, 24:40] = square, square
    vectors = encoded(clip(before, after))[1]
    # the square's new place covers half of each of two blocks; what it uncovers was never seen
    assert vectors[1, 2, 0] > 3
    rest = torch.cat([vectors[2:].flatten(0, 1), vectors[0], vectors[1, 3:]])
    assert rest.abs().max() < 0.26


def test_pictures_are_scaled_to_the_grid_and_vectors_back_to_pixels():
    big = ground(140, 140)
    scene = clip(big[:, 30:94, 30:110], big[:, 30:94, 26:106])
    values = encoded(scene, grid=(8, 10))  # twice the size
    assert torch.allclose(values[1, 2:6, 2:8].mean((0, 1)), torch.tensor([4.0, 0.0]), atol=0.2)
    assert not encoded(clip(big[:, :64, :80], big[:, :64, :80])).any()
