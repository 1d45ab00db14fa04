"""Optical flow against pictures whose motion is known."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from foreact.contract.context import Scene
from foreact.contract.errors import TrainingError
from foreact.contract.specs import CameraSpec, ObservationSpec, StateSpec
from foreact.flow.drawing import by_direction, draw_segments
from foreact.substrates import OpticalFlow

OBSERVATION = ObservationSpec(cameras=(CameraSpec(name="front", height=48, width=64),), rate_hz=10.0,
                              state=StateSpec(names=("x",), units=("m",)))
CONFIG = OpticalFlow.Config(grid=(3, 4))


def texture(height, width, seed=0):
    """Smooth noise: what a search can find again."""
    g = torch.Generator().manual_seed(seed)
    noise = F.avg_pool2d(torch.randn(1, 3, height + 16, width + 16, generator=g), 5, stride=1, padding=2)
    return (noise[0] * 160 + 128).clamp(0, 255)[:, 8:-8, 8:-8]


def shifted(moves, seed=0):
    """The same ground, moved by (u, v) pixels at each time; batch of one."""
    ground = texture(48 + 40, 64 + 40, seed)
    frames = [ground[:, 20 - v:20 - v + 48, 20 - u:20 - u + 64] for u, v in moves]
    return Scene(images={"front": torch.stack(frames)[None].to(torch.uint8)})


def test_a_shifted_picture_has_the_flow_that_it_was_shifted_by():
    moves = ((0, 0), (2, 1), (-4, 3))
    values = OpticalFlow.Config(grid=(3, 4)).build(OBSERVATION).encode(shifted(moves))
    inner = values.unflatten(2, (3, 4))[:, :, 1, 1:3]  # what came in at the border was never seen before
    assert torch.allclose(inner, torch.tensor(moves, dtype=torch.float32)[None, :, None], atol=0.1)


def test_the_cells_of_a_patch_are_its_channels_and_come_back():
    substrate = OpticalFlow.Config(grid=(3, 4), detail=2).build(OBSERVATION)
    fine = OpticalFlow.Config(grid=(6, 8)).build(OBSERVATION)
    seen = shifted(((0, 0), (3, -2)))
    cells, expected = substrate._cells(substrate.encode(seen)), fine._cells(fine.encode(seen))
    assert torch.allclose(cells, expected, atol=1e-5)
    mean = substrate.encode(seen).unflatten(-1, (2, 4)).mean(-1)
    assert torch.allclose(mean, CONFIG.build(OBSERVATION).encode(seen), atol=1e-5)


def test_after_fitting_the_measures_say_how_far_and_how_well():
    substrate = CONFIG.build(OBSERVATION)
    measured = substrate.fit((shifted(((0, 0), (3, 0), (0, 4)), seed) for seed in range(4)), steps=4, seed=0)
    assert measured["displacement_px"] == pytest.approx((25 / 2) ** 0.5, rel=0.2)
    assert measured["explained"] > 0.6
    still = CONFIG.build(OBSERVATION)
    measured = still.fit([shifted(((0, 0), (0, 0)))], steps=1, seed=0)
    assert measured["displacement_px"] == pytest.approx(0, abs=1e-3)
    assert float(still.units.scale.min()) == pytest.approx(CONFIG.floor)


def test_scenes_without_a_future_are_refused():
    with pytest.raises(TrainingError, match="no scenes with a future"):
        CONFIG.build(OBSERVATION).fit([shifted(((0, 0),))], steps=1, seed=0)


def test_what_moves_is_drawn_where_it_goes_and_what_rests_is_not():
    substrate = replace(CONFIG, grid=(1, 2)).build(OBSERVATION)
    values = torch.zeros(1, 1, 2, 2)
    values[..., 1, :] = torch.tensor([10.0, 0.0])  # the right half goes right
    picture = substrate.decode(values, {"front": torch.full((1, 3, 48, 64), 100, dtype=torch.uint8)})["front"][0, 0]
    changed = (picture != 60).any(dim=0)
    assert changed[23:25, 48:58].all()
    assert not changed[:, :46].any() and not changed[:, 61:].any()
    assert picture[0, 24, 53] > picture[1, 24, 53]  # red is to the right


def test_a_line_covers_what_it_passes_and_a_missing_one_nothing():
    images = torch.zeros(1, 3, 9, 9, dtype=torch.uint8)
    start, end = torch.tensor([[[1.0, 4.5], [0.5, 0.5]]]), torch.tensor([[[8.0, 4.5], [torch.nan, 0.5]]])
    drawn = draw_segments(images, start, end, torch.ones(1, 2, 3))
    assert (drawn[0, :, 4, 1:8] == 255).all()
    assert not drawn[0, :, :3].any()
    right, left = by_direction(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert torch.allclose(right, torch.tensor([1.0, 0.25, 0.25]))
    assert torch.allclose(right + left, torch.ones(3))
