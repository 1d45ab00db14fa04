"""Projection in tensors against the one that records tracks, and there and back."""

import numpy as np
import torch

from foreact.contract.specs import Calibration
from foreact.envs.cameras import Fixed, calibration
from foreact.envs.cameras import project as recorded
from foreact.flow.cameras import project, unproject

FIXED = Fixed(position=(0.9, -1.1, 0.8), target=(0.0, 0.6, 0.1), fovy=50.0)
AHEAD = Calibration(position=(0.0, 0.0, 0.0), forward=(0.0, 1.0, 0.0), up=(0.0, 0.0, 1.0), fovy=90.0)


def test_a_camera_that_looks_along_y_sees_what_it_should():
    points = torch.tensor([[0.0, 2.0, 0.0], [1.0, 2.0, 0.0], [0.0, 2.0, 1.0], [0.0, -1.0, 0.0]])
    pixels, depth = project(AHEAD, points, height=100, width=200)
    assert torch.allclose(pixels[:3], torch.tensor([[100.0, 50.0], [125.0, 50.0], [100.0, 25.0]]))
    assert torch.equal(depth, torch.tensor([2.0, 2.0, 2.0, -1.0]))


def test_it_agrees_with_the_projection_that_records_tracks():
    points = np.random.default_rng(0).normal(size=(50, 3))
    pixels, depth = recorded(FIXED.pose(), points, height=48, width=64)
    ours, distance = project(calibration(FIXED), torch.from_numpy(points), height=48, width=64)
    # a calibration is rounded to nine digits
    assert np.allclose(distance.numpy(), depth, atol=1e-7)
    front = np.abs(depth) > 0.1
    assert np.allclose(ours.numpy()[front], pixels[front], atol=1e-3)


def test_unprojecting_undoes_it_and_gradients_pass():
    g = torch.Generator().manual_seed(0)
    points = (torch.rand(3, 7, 3, generator=g, dtype=torch.float64) - torch.tensor([0.5, -0.5, 0.5])).requires_grad_()
    camera = calibration(FIXED)
    pixels, depth = project(camera, points, height=48, width=64)
    assert (depth > 0).all()
    assert torch.allclose(unproject(camera, pixels, depth, height=48, width=64), points, atol=1e-7)
    pixels.sum().backward()
    assert points.grad.abs().min() > 0
