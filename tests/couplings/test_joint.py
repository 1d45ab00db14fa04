"""Joint generation: who sees whom as a table, the shared clock, the reuse of the video's keys and values."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.axes import Dimensions, SeededNoise, SubstrateForm
from foreact.contract.errors import ConfigError
from foreact.couplings import JointGeneration
from foreact.flow.schedules import draw_sigma
from tiny_members import alive, config, losses, window

FORM = SubstrateForm(grid=(1, 1, 1), channels=4)
SMALL = Dimensions(view=FORM, forms={"video": FORM}, state=3, action=2, text=8)


def layout(**options):
    return JointGeneration.Config(**{"horizon": 2, "future_offsets": (1, 2)} | options).layout(SMALL)


def test_who_sees_whom():
    # frame, video, video, state, action, action
    assert layout().mask().int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
    ]


def test_who_sees_whom_without_a_future():
    # frame, state, action, action
    assert layout(future_offsets=()).mask().int().tolist() == [[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_the_order_in_which_a_cache_can_be_filled():
    assert layout().rounds() == (("frame",), ("video",), ("state", "action"))


def test_action_steps_and_frames_share_one_clock():
    shared = layout(horizon=8, future_offsets=(4, 8))
    assert shared.times("video").tolist() == [1.0, 2.0]
    assert shared.times("action").tolist() == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]  # four steps on one frame
    assert shared.times("frame").tolist() == shared.times("state").tolist() == [0.0]


def test_cameras_lie_side_by_side():
    form = SubstrateForm(grid=(2, 2, 2), channels=4)
    stream = JointGeneration.Config().layout(Dimensions(view=form, forms={"video": form}, state=3, action=2, text=8))["frame"]
    assert stream.positions == form.positions(0.0)
    assert [(r, c) for _, r, c in stream.positions] == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]


@pytest.mark.parametrize(("levels", "groups"), [("shared", ("joint",)), ("independent", ("video", "action"))])
def test_noise_groups(levels, groups):
    assert layout(levels=levels).noise_groups == groups


@pytest.mark.parametrize("future", [True, False])
@pytest.mark.parametrize("solver", ["euler", "heun", "adams-bashforth"])
def test_cached_and_uncached_sampling_agree(solver, future):
    c = config("JointGeneration")
    c = replace(c, coupling=replace(c.coupling, solver=solver))
    model = alive(c if future else c.without_future())
    with torch.no_grad():
        e = model.encode_window(window(model.config))
        one, other = (model.coupling.propose(model.backbone, e, noise=SeededNoise([1, 2, 3, 4]), cached=cached) for cached in (True, False))
    # the same sums over the same keys, blocked differently: float32 rounding carried through three steps, measured below 1e-5
    assert torch.allclose(one.actions, other.actions, atol=1e-4)
    if future:
        assert torch.allclose(one.future["video"], other.future["video"], atol=1e-4)


def test_the_action_uses_the_imagined_video():
    """Another dream, by other noise for the video alone, gives another action."""
    model = alive(config("JointGeneration"))
    seeded = SeededNoise([1, 2, 3, 4])

    def dream(factor):
        return lambda name, shape: seeded(name, shape) * (factor if name == "video" else 1.0)

    with torch.no_grad():
        e = model.encode_window(window(model.config))
        one, other = (model.coupling.propose(model.backbone, e, noise=dream(factor)) for factor in (1.0, -1.0))
    assert not torch.allclose(one.future["video"], other.future["video"], atol=1e-3)
    assert not torch.allclose(one.actions, other.actions, atol=1e-3)


def test_the_video_does_not_use_the_action():
    model = alive(config("JointGeneration"))
    seeded = SeededNoise([1, 2, 3, 4])
    with torch.no_grad():
        e = model.encode_window(window(model.config))
        one = model.coupling.propose(model.backbone, e, noise=seeded)
        other = model.coupling.propose(model.backbone, e, noise=lambda n, shape: seeded(n, shape) * (-1.0 if n == "action" else 1.0))
    assert torch.equal(one.future["video"], other.future["video"])
    assert not torch.equal(one.actions, other.actions)


@pytest.mark.parametrize(("kind", "weight"), [("sample", lambda s: s**-2), ("noise", lambda s: (1 - s)**-2), ("velocity", lambda s: 1.0)])
def test_a_loss_in_velocity_space_weighs_the_error_of_what_is_predicted(kind, weight):
    """MV-WAM, equation 7: the square over velocities is the square over clean samples times 1/sigma^2."""
    def lost(**options):
        c = config("JointGeneration")
        c = replace(c, coupling=replace(c.coupling, video_target=kind, action_target=kind, **options))
        return losses(alive(c), window(c, batch=1))

    plain, video, both = lost(), lost(video_loss="velocity"), lost(video_loss="velocity", action_loss="velocity")
    level = draw_sigma(1, torch.Generator().manual_seed(0)).item()  # one element, one level: the weight is one number
    assert 0.05 < level < 0.95
    assert video["action"] == plain["action"]
    for name in ("video", "action"):
        assert (both[name] / plain[name]).item() == pytest.approx(weight(level), rel=1e-3)


def test_nonsense_is_refused():
    with pytest.raises(ConfigError, match="future offsets must rise"):
        JointGeneration.Config(future_offsets=(8, 8))
    with pytest.raises(ConfigError, match="horizon and steps"):
        JointGeneration.Config(steps=0)
