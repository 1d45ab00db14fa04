"""Point maps: surfaces that are known come back in the robot's world, and an action is read from them alone."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError, SpecError
from foreact.contract.specs import Calibration, CameraSpec, ObservationSpec, StateSpec
from foreact.couplings.imagination import Denoised
from foreact.couplings.post_head import PostPredictionHead
from foreact.model import Part
from foreact.nets.action_expert import ActionExpert
from foreact.nets.head import Reading
from foreact.substrates import PointMaps
from tiny_members import SUBSTRATES, alive, config, window

LOOK = Calibration(position=(0.5, -2.0, 0.4), forward=(0.0, 1.0, 0.0), up=(0.0, 0.0, 1.0), fovy=90.0)
OBSERVATION = ObservationSpec(cameras=(CameraSpec(name="front", height=16, width=24, calibration=LOOK), CameraSpec(name="hand", height=16,
                              width=16)), rate_hz=10.0, state=StateSpec(names=("x",), units=("m",)))
CONFIG = PointMaps.Config(grid=(2, 3), detail=2)
HEAD = ActionExpert.Config(width=16, depth=2, heads=2, expansion=2, steps_per_token=2, steps=3, sees_present=False, sees_text=False)


def scene(seed=0, batch=8):
    """A wall 2 m before the camera, and before it a box at 1 m that moves a cell to the right at each time; nothing in the last column."""
    g = torch.Generator().manual_seed(seed)
    depth = torch.full((batch, 3, 16, 24), 2.0)
    for one in depth:
        column = 4 * int(torch.randint(0, 3, (1,), generator=g))
        for time, frame in enumerate(one):
            frame[4:8, column + 4 * time:column + 4 * time + 4] = 1.0
    depth[..., 20:] = 0
    return Scene(images={name: torch.zeros(batch, 3, 3, 16, side, dtype=torch.uint8) for name, side in (("front", 24), ("hand", 16))},
                 annotations={"depth.front": depth})


def fitted():
    substrate = CONFIG.build(OBSERVATION)
    return substrate, substrate.fit((scene(i) for i in range(4)), steps=4, seed=0)


def test_points_come_back_in_the_world():
    """Focal length 8 px: at depth d a pixel spans d / 8 m, so the middle of cell (r, c), 4 px wide, is known by hand."""
    substrate, measured = fitted()
    seen = scene(9)
    points = substrate.metres(substrate.encode(seen)[:, 1:])[:, :, 0]
    depth = seen.annotations["depth.front"][:, 1:, 2::4, 2::4]  # every cell lies at one depth
    depth = torch.where(depth == 0, 4.0, depth)
    column, row = torch.arange(6) * 4 + 2.0, torch.arange(4)[:, None] * 4 + 2.0
    x, y, z = 0.5 + depth * (column - 12) / 8, depth - 2.0, 0.4 + depth * (8 - row) / 8
    assert torch.allclose(points, torch.stack([x, y, z], dim=2), atol=1e-5)
    assert set(depth[..., :5].unique().tolist()) == {1.0, 2.0}
    assert measured["change_m"] > 0.1


def test_a_camera_that_rides_has_no_map():
    assert CONFIG.form(OBSERVATION).grid == (1, 2, 3)
    assert CONFIG.needs(OBSERVATION) == ("depth.front",)
    with pytest.raises(MisfitError, match="one calibrated camera or more"):
        CONFIG.form(replace(OBSERVATION, cameras=OBSERVATION.cameras[1:]))


def test_near_and_far_have_other_colours():
    substrate, _ = fitted()
    seen = scene(2, batch=1)
    pictures = substrate.decode(substrate.encode(seen)[:, 1:], {n: x[:, 0] for n, x in seen.images.items()})
    assert set(pictures) == {"front"}
    green = pictures["front"][0, 0, 1]
    near = seen.annotations["depth.front"][0, 1] == 1.0
    assert (green[near] == 0).all() and (green[:, 20:] == 255).all()


def test_a_scene_without_depth_is_refused():
    with pytest.raises(SpecError, match=r"annotations.depth=true"):
        CONFIG.build(OBSERVATION).encode(replace(scene(), annotations={}))


# --- points as the interface of action --------------------------------------------------------------------------------

def model(**changes):
    made = PostPredictionHead.Config(horizon=8, future_offsets=(4, 8), head=HEAD, shown=("points",), imagination=Denoised.Config(steps=3))
    whole = replace(config("PostPredictionHead:denoised"), coupling=replace(made, **changes),
                    beside=(Part(name="points", substrate=SUBSTRATES["PointMaps"]),))
    return alive(whole), whole


def test_the_action_follows_the_points_and_not_the_frames():
    """Bit by bit: other frames, now and later, and other words change nothing; other points change the chunk."""
    built, whole = model()
    encoded = built.encode_window(window(whole))
    noise = torch.randn(4, 8, 2, generator=torch.Generator().manual_seed(0))

    def act(encoded, futures):
        return built.coupling.head.act(Reading(context=encoded, futures=futures), noise=lambda name, shape: noise)

    plain = act(encoded, encoded.future)
    other = replace(encoded, frame=encoded.frame.flip(0), text=encoded.text + 1, text_mask=~encoded.text_mask)
    assert torch.equal(plain, act(other, encoded.future | {"video": encoded.future["video"].flip(0)}))
    assert not torch.allclose(plain, act(encoded, encoded.future | {"points": encoded.future["points"].flip(0)}), atol=1e-3)
    assert not torch.allclose(plain, act(replace(encoded, state=encoded.state.flip(0)), encoded.future), atol=1e-3)


def test_frames_and_points_are_predicted_together_and_only_points_are_handed_on():
    built, whole = model()
    seen = window(whole)
    read = []

    def through(name, values, sigma):
        read.append(name)
        return values

    plan = built.plan(seen.context, through=through)
    assert list(plan.future.parts) == ["video", "points"]
    assert set(read) == {"points"}
    layout = built.coupling.layout
    assert all({sight.stream for sight in layout.sees[part]} == {"frame", "video", "points"} for part in ("video", "points"))


def test_a_part_that_no_future_has_is_refused_by_name():
    with pytest.raises(MisfitError, match="did you mean 'points'"):
        model(shown=("point",))
