"""Actions from the motion in a rendered plan: the hand is found again in space, and no action label is ever read."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.contract.axes import SeededNoise
from foreact.contract.context import fake_window
from foreact.contract.errors import MisfitError
from foreact.contract.normalisation import FeatureStatistics
from foreact.contract.specs import ActionSpec, Calibration, CameraSpec, GripperConvention, ObservationSpec, StateSpec
from foreact.contract.unified_actions import Embodiment
from foreact.couplings import ActionExpert, Denoised, PostPredictionHead, RigidMotion
from foreact.model import WorldActionModel
from foreact.nets.correspondence import Projection, sampled
from foreact.nets.text import HashedWords
from foreact.regimes import OpenLoop
from foreact.substrates import Decoded, PixelLatents
from tiny_members import BACKBONES

SIDE = 96
LOOK = Calibration(position=(0.0, -1.0, 0.0), forward=(0.0, 1.0, 0.0), up=(0.0, 0.0, 1.0), fovy=45.0)
CAMERA = CameraSpec(name="scene", height=SIDE, width=SIDE, calibration=LOOK)
OBSERVATION = ObservationSpec(cameras=(CAMERA,), rate_hz=80.0,
                              state=StateSpec(names=("hand_x", "hand_y", "hand_z", "opening"), units=("m", "m", "m", "1")))
ACTION = ActionSpec(names=("x", "y", "z", "gripper"), low=(-1.0,) * 4, high=(1.0,) * 4, rate_hz=80.0, reference="delta", frame="base",
                    gripper=GripperConvention(index=3, open=-1.0, closed=1.0), unit_metres=0.01)
MODEL = WorldActionModel.Config(
    substrate=Decoded.Config(inner=PixelLatents.Config(channels=8, patch=16, width=8, depth=1)), backbone=BACKBONES["DiffusionTransformer"],
    coupling=PostPredictionHead.Config(horizon=24, future_offsets=(8, 24), head=RigidMotion.Config(), learns_on="true",
                                       imagination=Denoised.Config(steps=2)),
    regime=OpenLoop.Config(), text=HashedWords.Config(width=8, buckets=32, words=8), action_scaling="none")
TEXTURE = np.random.default_rng(0).uniform(0, 1, (5, 5, 3))


def picture(hand):
    """A patterned board of 14 cm that faces the camera at `hand`, before a grey slope."""
    view = Projection.of(CAMERA)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5
    depth = hand[1] + 1.0
    across = (pixels - view.pixels(view.seen(np.asarray(hand)))) * depth / view.focal
    board = sampled(TEXTURE, 2.5 + across / 0.07 * 2.5)
    background = np.linspace(0.3, 0.6, SIDE)[:, None, None].repeat(SIDE, 1).reshape(-1, 1).repeat(3, 1)
    inside = (np.abs(across) < 0.07).all(axis=1)[:, None]
    return np.where(inside, board, background).reshape(SIDE, SIDE, 3)


def build(seed=0):
    torch.manual_seed(seed)
    return MODEL.build(OBSERVATION, ACTION)


def window(seed=0):
    return fake_window(OBSERVATION, ACTION, horizon=24, future_offsets=(8, 24), batch=2, seed=seed)


def test_projection_is_undone_by_lifting():
    view = Projection.of(CAMERA)
    points = view.seen(np.array([[0.1, 0.2, -0.1], [-0.2, 0.2, 0.15]]))
    assert np.allclose(view.lifted(view.pixels(points), 1.2), points)
    assert np.allclose(view.pixels(view.seen(np.zeros((1, 3)))), SIDE / 2)


def test_a_body_is_found_again_where_it_went_along_the_view_too():
    true = np.array([[0.0, 0.0, 0.0], [0.06, 0.05, 0.05], [0.10, 0.15, -0.04]])
    found = build().coupling.head.path(np.stack([picture(p) for p in true]), true[0])
    # 1 pixel is 0.9 cm at 1 m; along the view only the size tells, 16 pixels of which 5 cm are less than one
    assert np.abs(found - true)[:, [0, 2]].max() < 0.012
    assert np.abs(found - true)[:, 1].max() < 0.05


def test_a_path_becomes_equal_steps_in_the_units_of_the_action_within_its_bounds():
    head = build().coupling.head
    commands = head._commands(np.array([[0.0, 0.0, 0.0], [0.04, 0.0, -0.02], [0.04, 0.32, -0.02]]))
    assert commands.shape == (24, 4)
    assert np.allclose(commands[:8, :3], [0.5, 0.0, -0.25])
    assert np.allclose(commands[8:, :3], [0.0, 1.0, 0.0]), "2 cm a step are more than the robot takes"
    assert np.allclose(commands[:, 3], 1.0)


def test_training_never_looks_at_an_action():
    """Bit by bit the same weights whatever the demonstrator did."""
    def trained(window, statistics):
        model = build()
        model.fit_normalisation(statistics, statistics)
        optimiser = torch.optim.SGD([p for _, p in model.parameters_to_train()], lr=0.1)
        for step in range(3):
            optimiser.zero_grad()
            losses = model.losses(window, train=frozenset({"video", "action"}), generator=torch.Generator().manual_seed(step))
            assert set(losses) == {"video"}
            losses["video"].backward()
            optimiser.step()
        return model.state_dict()

    state = FeatureStatistics.of(np.random.default_rng(1).normal(size=(50, 4)))
    plain, g = window(), torch.Generator().manual_seed(9)
    noisy = replace(plain, actions=torch.randn(plain.actions.shape, generator=g))
    one, other = trained(plain, state), trained(noisy, state)
    assert all(torch.equal(one[n], other[n]) for n in one)
    scaled = replace(MODEL, action_scaling="none").build(OBSERVATION, ACTION)
    scaled.fit_normalisation(state, state)
    assert torch.equal(scaled.action_scaler.scale, torch.ones(4))
    assert torch.equal(scaled.action_scaler.centre, torch.zeros(4))


def test_a_plan_reads_the_rendered_future_through_the_reader():
    model = build().eval()
    model.substrate.fit((window(seed=i).scene.at(slice(0, 1)) for i in range(60)), steps=12, seed=0)
    context = replace(window().context, state=torch.zeros(2, 1, 4))
    noise = SeededNoise([1, 2])
    plain = model.plan(context, noise=noise)
    assert plain.actions.shape == (2, 24, 4)
    assert dict(plain.cost.evaluations) == {"backbone": 3, "coupling.head": 1}  # the present once, then two steps

    def still(name, values, sigma):
        return model.eye.encode(context.scene).expand_as(values)

    stays = model.plan(context, noise=noise, through=still)
    assert torch.equal(stays.actions[..., :3], torch.zeros(2, 24, 3)), "a plan in which nothing moves is no motion"


@pytest.mark.parametrize(("observation", "action"), [
    (replace(OBSERVATION, cameras=(replace(CAMERA, calibration=None),)), ACTION), (OBSERVATION, replace(ACTION, unit_metres=None))])
def test_specs_that_do_not_say_enough_are_refused(observation, action):
    with pytest.raises(MisfitError, match="cannot be turned into commands"):
        MODEL.build(observation, action)


def test_its_baseline_is_a_policy_that_learns():
    bare = MODEL.without_future()
    assert isinstance(bare.coupling.head, ActionExpert.Config)
    assert bare.build(OBSERVATION, ACTION).coupling.head.learns_from_actions


def test_in_a_space_that_robots_share_the_commands_stand_in_this_robots_slots():
    robot = Embodiment(name="hand", action={axis: f"right.position.{axis}" for axis in "xyz"} | {"gripper": "right.gripper.1"},
                       state={"hand_x": "right.position.x", "hand_y": "right.position.y", "hand_z": "right.position.z",
                              "opening": "right.gripper.1"})
    torch.manual_seed(0)
    own, shared = build(), replace(MODEL, action_space="unified", embodiment=robot).build(OBSERVATION, ACTION)
    shared.load_state_dict({n: x for n, x in own.state_dict().items() if "scaler" not in n}, strict=False)
    w = window()
    assert torch.equal(shared.plan(w.context).actions, own.plan(w.context).actions)
