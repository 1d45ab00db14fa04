"""The path of the hand in the picture, and its pose: closed forms."""

import pytest
import torch

from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError, SpecError
from foreact.contract.specs import Calibration, CameraSpec, ObservationSpec, StateSpec
from foreact.substrates import Polyline, PoseStream

ABOVE = Calibration(position=(0.0, 0.0, 2.0), forward=(0.0, 0.0, -1.0), up=(0.0, 1.0, 0.0), fovy=90.0)
OBSERVATION = ObservationSpec(cameras=(CameraSpec(name="wrist", height=40, width=40),
                                       CameraSpec(name="above", height=40, width=40, calibration=ABOVE)), rate_hz=10.0,
                              state=StateSpec(names=("gripper", "hand_x", "hand_y", "hand_z"), units=("", "m", "m", "m")))


def scene(batch=6, seed=0):
    """The hand goes right and up in the picture, 0.2 m a time, a meter below the camera, and closes."""
    g = torch.Generator().manual_seed(seed)
    start = torch.cat([torch.ones(batch, 1), torch.rand(batch, 2, generator=g) * 0.4 - 0.2, torch.ones(batch, 1)], dim=1)
    state = start[:, None] + torch.arange(3.0)[:, None] * torch.tensor([-0.5, 0.2, 0.1, 0.0])
    images = {c.name: torch.full((batch, 3, 3, 40, 40), 80, dtype=torch.uint8) for c in OBSERVATION.cameras}
    return Scene(images=images, state=state)


def test_vertices_are_the_pixels_of_the_hand():
    substrate = Polyline.Config().build(OBSERVATION)
    assert substrate.form.grid == (1, 1, 1)
    measured = substrate.fit((scene(seed=i) for i in range(4)), steps=4, seed=0)
    seen = scene(seed=9)
    start, vertex = substrate.pixels(substrate.encode(seen)[:, 1:])
    x, y = seen.state[..., 1], seen.state[..., 2]
    expected = torch.stack([20 + 20 * x, 20 - 20 * y], dim=-1)  # a meter away, 90 degrees over 40 pixels
    assert torch.allclose(vertex[:, :, 0], expected[:, 1:], atol=1e-4)
    assert torch.allclose(start[:, :, 0], expected[:, :1].expand(-1, 2, -1), atol=1e-4)
    assert measured["displacement_px"] == pytest.approx(20 * (0.05 * (1 + 4) / 2) ** 0.5, rel=1e-4)


def test_the_path_is_drawn_as_far_as_the_future_goes():
    substrate = Polyline.Config().build(OBSERVATION)
    seen = scene(batch=1)
    pictures = substrate.decode(substrate.encode(seen)[:, 1:], {n: i[:, 0] for n, i in seen.images.items()})
    assert set(pictures) == {"above"}
    drawn = (pictures["above"][0] != 80).any(dim=1)
    ends = torch.stack([20 + 20 * seen.state[0, 1:, 1], 20 - 20 * seen.state[0, 1:, 2]], dim=-1).long()
    assert drawn[0, ends[0, 1], ends[0, 0]] and drawn[1, ends[1, 1], ends[1, 0]]
    assert not drawn[0, ends[1, 1], ends[1, 0]]
    assert (drawn[1] | ~drawn[0]).all()


def test_a_stream_of_poses_is_the_change_of_each_entry_in_its_own_scale():
    substrate = PoseStream.Config(names=("hand_x", "gripper")).build(OBSERVATION)
    substrate.fit((scene(seed=i) for i in range(2)), steps=2, seed=0)
    values = substrate.encode(scene())
    assert torch.allclose(substrate.units.inverse(values)[0, :, 0], torch.tensor([[0.0, 0.0], [0.2, -0.5], [0.4, -1.0]]), atol=1e-5)
    assert torch.allclose(values[:, 1:].square().mean((0, 1, 2)), torch.ones(2), atol=1e-4)
    with pytest.raises(SpecError, match="no decoder"):
        substrate.decode(values, {})
    with pytest.raises(SpecError, match="state of the future is not known"):
        substrate.encode(Scene(images=scene().images))


def test_a_camera_that_is_not_calibrated_and_an_unknown_entry_are_refused():
    with pytest.raises(MisfitError, match=r"wrist, not calibrated\n  accepted: above"):
        Polyline.Config(cameras=("wrist",)).form(OBSERVATION)
    with pytest.raises(MisfitError, match="found:    elbow"):
        PoseStream.Config(names=("hand_x", "elbow")).form(OBSERVATION)
