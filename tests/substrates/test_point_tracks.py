"""Tracks in the picture: pixels that are known, visibility, points in any order; and the simulator's tracks against its points."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.context import Scene
from foreact.contract.errors import SpecError
from foreact.contract.specs import CameraSpec, ObservationSpec, StateSpec
from foreact.envs.annotations import Annotations, Annotator
from foreact.envs.metaworld import MetaWorld
from foreact.flow.cameras import project
from foreact.substrates import PointTracks

OBSERVATION = ObservationSpec(cameras=(CameraSpec(name="front", height=40, width=60),), rate_hz=10.0,
                              state=StateSpec(names=("x",), units=("m",)))
CONFIG = PointTracks.Config(points=4)


def scene(seed=0, batch=8):
    """Four points that go three pixels right a time; the first is hidden at the end, the last lies out of the picture."""
    g = torch.Generator().manual_seed(seed)
    start = torch.rand(batch, 1, 4, 2, generator=g) * 20 + 10
    start[:, :, 3] = torch.tensor([-500.0, 10.0])
    place = start + torch.arange(3.0)[:, None, None] * torch.tensor([3.0, 0.0])
    seen = torch.ones(batch, 3, 4, 1)
    seen[:, 2, 0], seen[:, :, 3] = 0, 0
    return Scene(images={"front": torch.full((batch, 3, 3, 40, 60), 80, dtype=torch.uint8)},
                 annotations={"tracks.front": torch.cat([place, seen], dim=-1)})


@pytest.fixture(scope="module")
def fitted():
    substrate = CONFIG.build(OBSERVATION)
    return substrate, substrate.fit((scene(i) for i in range(4)), steps=4, seed=0)


def test_tokens_hold_where_points_are_how_far_they_go_and_whether_they_are_seen(fitted):
    substrate, measured = fitted
    seen = scene(9)
    tracks = seen.annotations["tracks.front"]
    start, end, sure = substrate.pixels(substrate.encode(seen)[:, 1:])
    outside = start[:, 0, 0, :, 0] < 0
    assert (outside.sum(-1) == 1).all()
    moved = torch.where(outside[:, None, :], 0.0, torch.tensor([3.0, 6.0])[None, :, None])
    assert torch.allclose((end - start)[:, :, 0, :, 0], moved, atol=1e-4)
    assert torch.cdist(tracks[:, 0, :3, :2], start[:, 0, 0]).amin(-1).max() < 1e-4
    assert ((sure[:, :, 0] > 0).sum(-1) == torch.tensor([3, 2])).all()
    assert measured["seen"] == pytest.approx(5 / 8)
    assert measured["displacement_px"] == pytest.approx((0.75 * (9 + 36) / 2) ** 0.5, rel=1e-4)


def test_the_order_in_which_points_are_listed_does_not_matter(fitted):
    seen = scene(5)
    listed = replace(seen, annotations={n: x.flip(2) for n, x in seen.annotations.items()})
    assert torch.equal(fitted[0].encode(seen), fitted[0].encode(listed))


def test_lines_end_where_points_go_green_if_seen_and_red_if_hidden(fitted):
    seen = scene(3, batch=1)
    tracks = seen.annotations["tracks.front"]
    picture = fitted[0].decode(fitted[0].encode(seen)[:, 1:], {"front": seen.images["front"][:, 0]})["front"][0, 1]
    for point, channel in ((0, 0), (1, 1)):
        column, row = tracks[0, 2, point, :2].long()
        assert picture[channel, row, column] > picture[1 - channel, row, column]


def test_too_few_points_are_refused():
    with pytest.raises(SpecError, match=r"no annotation 'tracks.front'"):
        CONFIG.build(OBSERVATION).encode(replace(scene(), annotations={}))


def test_the_simulators_tracks_are_its_points_through_the_calibrated_camera():
    env = MetaWorld(MetaWorld.Config(task="button-press-topdown", size=32))
    try:
        env.reset(seed=3)
        drawn = Annotator(env, Annotations(tracks=True)).drawn()
        camera = env.specs[0].camera("scene")
        pixels, _ = project(camera.calibration, torch.from_numpy(drawn["points"][:, :3]), height=32, width=32)
        assert torch.allclose(pixels, torch.from_numpy(drawn["tracks.scene"][:, :2]), atol=1e-2)
    finally:
        env.close()
