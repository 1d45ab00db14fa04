"""Depth maps: metres that are known come back, cell by cell."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.context import Scene
from foreact.contract.errors import SpecError
from foreact.contract.specs import CameraSpec, ObservationSpec, StateSpec
from foreact.substrates import Depth

OBSERVATION = ObservationSpec(cameras=(CameraSpec(name="front", height=16, width=24),), rate_hz=10.0,
                              state=StateSpec(names=("x",), units=("m",)))
CONFIG = Depth.Config(grid=(2, 3), detail=2)


def scene(seed=0, batch=8):
    """A floor that slopes away, with a box 0.5 m nearer that moves a cell to the right at each time; nothing in the last column."""
    g = torch.Generator().manual_seed(seed)
    depth = (1 + torch.arange(16.0) / 16)[:, None].expand(batch, 3, 16, 24).clone()
    for one in depth:
        column = 4 * int(torch.randint(0, 3, (1,), generator=g))
        for time, frame in enumerate(one):
            frame[4:8, column + 4 * time:column + 4 * time + 4] -= 0.5
    depth[..., 20:] = 0
    return Scene(images={"front": torch.zeros(batch, 3, 3, 16, 24, dtype=torch.uint8)}, annotations={"depth.front": depth})


def test_metres_come_back_and_nothing_is_far():
    substrate = CONFIG.build(OBSERVATION)
    measured = substrate.fit((scene(i) for i in range(4)), steps=4, seed=0)
    seen = scene(9)
    metres = substrate.metres(substrate.encode(seen)[:, 1:])[:, :, 0]
    true = seen.annotations["depth.front"][:, 1:].unflatten(-2, (4, 4)).unflatten(-1, (6, 4)).mean(dim=(-3, -1))
    assert torch.allclose(metres[..., :5], true[..., :5], atol=1e-5)
    assert torch.allclose(metres[..., 5], torch.tensor(4.0), atol=1e-5)
    # of 24 cells two change by half a metre between one time and the next
    assert measured["change_m"] == pytest.approx((2 * 0.25 / 24) ** 0.5, rel=1e-3)
    assert substrate.encode(seen)[:, 1:].std() == pytest.approx(1, abs=0.3)


def test_near_is_bright():
    substrate = CONFIG.build(OBSERVATION)
    substrate.fit((scene(i) for i in range(4)), steps=4, seed=0)
    seen = scene(2, batch=1)
    picture = substrate.decode(substrate.encode(seen)[:, 1:], {"front": seen.images["front"][:, 0]})["front"][0, 0, 0]
    depth = seen.annotations["depth.front"][0, 1]
    near = depth[5, :20].argmin()
    assert picture[5, near] > picture[9, near] > picture[5, 22]
    assert picture[5, 22] == 0


def test_a_scene_without_depth_is_refused():
    with pytest.raises(SpecError, match="the depth of a camera is not known"):
        CONFIG.build(OBSERVATION).encode(replace(scene(), annotations={}))
