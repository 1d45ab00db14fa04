"""Each selector against its equation in plain numpy, and what it gives back as evidence."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from foreact.contract.axes import SeededNoise
from foreact.contract.errors import ConfigError, SpecError
from foreact.contract.specs import ActionSpec
from foreact.selection import ActionConsensus, Consensus, First, HighestValue, Medoid, RandomChoice, Weighted
from foreact.selection.rotations import mean_action, rotation_entries
from foreact.selection.selectors import Drawn, Measures

B, N, H, A = 3, 5, 4, 2


def spec(*names, rotation="none"):
    return ActionSpec(names=names, low=(-9.0,) * len(names), high=(9.0,) * len(names), rate_hz=10.0, reference="delta",
                      frame="end-effector", rotation=rotation)


def drawn(seed=0):
    g = torch.Generator().manual_seed(seed)
    return Drawn(actions=torch.randn(B, N, H, A, generator=g), value=torch.rand(B, N, generator=g),
                 future={"video": torch.randn(B, N, 2, 3, 4, generator=g)})


def measures(seeds=range(B)):
    def futures(one, other):
        return (one["video"] - other["video"]).square().mean(dim=(-2, -1)).mean(dim=-1)

    return Measures(futures=futures, actions=lambda one, other: (one - other).square().mean(dim=(-2, -1)), noise=SeededNoise(seeds),
                    spec=spec("x", "y"))


def select(selector, of=None):
    of, asked = drawn() if of is None else of, []

    def draw(count):
        asked.append(count)
        return of

    found = selector.Config(candidates=N).build().select(draw, measures())
    assert asked == [N]
    return found


FUTURE = drawn().future["video"].double().numpy().reshape(B, N, -1)
CHUNK = drawn().actions.double().numpy().reshape(B, N, -1)
CONSENSUS = np.exp(-((FUTURE - FUTURE.mean(1, keepdims=True)) ** 2).mean(-1))
APART = np.sqrt(((FUTURE[:, :, None] - FUTURE[:, None]) ** 2).mean(-1))
EXPECTED = {
    First: np.zeros((B, N)),
    Consensus: CONSENSUS,
    Weighted: CONSENSUS,
    HighestValue: drawn().value.double().numpy(),
    Medoid: np.exp(-APART.sum(-1) / (N - 1)),
    ActionConsensus: np.exp(-((CHUNK - CHUNK.mean(1, keepdims=True)) ** 2).mean(-1)),
}


@pytest.mark.parametrize("selector", EXPECTED)
def test_scores_are_those_of_the_equation_and_the_highest_is_chosen(selector):
    found = select(selector)
    assert np.allclose(found.candidates.scores.numpy(), EXPECTED[selector], atol=1e-6)
    chosen = EXPECTED[selector].argmax(1)
    assert found.candidates.chosen.tolist() == chosen.tolist()
    rows = torch.arange(B)
    assert torch.equal(found.candidates.actions, drawn().actions)
    assert torch.equal(found.future["video"], drawn().future["video"][rows, chosen])
    assert torch.equal(found.value, drawn().value[rows, chosen])
    if selector is not Weighted:
        assert torch.equal(found.actions, drawn().actions[rows, chosen])
    spread = np.sqrt(((CHUNK - CHUNK.mean(1, keepdims=True)) ** 2).mean(-1).mean(-1))
    assert np.allclose(found.candidates.spread.numpy(), spread, atol=1e-6)
    assert found.candidates.overhead_ms > 0


def test_weighted_averages_by_the_softmax_of_the_scores():
    weights = np.exp(CONSENSUS / 0.1)
    weights /= weights.sum(1, keepdims=True)
    assert np.allclose(select(Weighted).actions.numpy().reshape(B, -1), (weights[..., None] * CHUNK).sum(1), atol=1e-5)


def test_random_takes_all_equally_often_and_repeats_itself():
    of = Drawn(actions=torch.zeros(2000, 4, 1, 1))
    found = RandomChoice.Config(candidates=4).build().select(lambda count: of, measures(range(2000)))
    counts = np.bincount(found.candidates.chosen.numpy(), minlength=4)
    assert (abs(counts - 500) < 4 * np.sqrt(2000 * 3 / 16)).all()
    again = RandomChoice.Config(candidates=4).build().select(lambda count: of, measures(range(2000)))
    assert torch.equal(found.candidates.chosen, again.candidates.chosen)


def test_of_two_ways_the_medoid_takes_the_commoner_and_consensus_what_lies_between():
    places = torch.tensor([[0.0, 0.1, 0.05, 3.0, 1.2]])
    of = Drawn(actions=places[..., None, None], future={"video": places[..., None, None, None]})
    ways = {s: s.Config(candidates=5).build().select(lambda count: of, measures([0])).candidates.chosen.item() for s in (Medoid, Consensus)}
    assert ways == {Medoid: 1, Consensus: 4}


@pytest.mark.parametrize("settings", [{"candidates": 0}, {"until": 0.0}, {"until": 1.5}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ConfigError, match="at least one candidate"):
        Consensus.Config(**settings)
    with pytest.raises(ConfigError, match="above zero"):
        Weighted.Config(temperature=0.0)


# --- rotations ----------------------------------------------------------------------------------------------------

KINDS = {"euler-xyz": ("roll", "pitch", "yaw"), "axis-angle": ("axis_angle_x", "axis_angle_y", "axis_angle_z"),
         "quaternion-wxyz": ("qw", "qx", "qy", "qz"), "6d": tuple(f"rotation_{i}" for i in range(6))}


def numbers(rotation, kind):
    return {"euler-xyz": lambda: rotation.as_euler("xyz"), "axis-angle": lambda: rotation.as_rotvec(),
            "quaternion-wxyz": lambda: rotation.as_quat()[..., [3, 0, 1, 2]],
            "6d": lambda: np.concatenate([rotation.as_matrix()[..., 0], rotation.as_matrix()[..., 1]], axis=-1)}[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_two_turns_is_halfway_between_them_and_no_average_of_numbers(kind):
    """Turns of 170 and of 190 degrees about one axis: numbers average to anything, the mean is 180 degrees."""
    axis = np.array([0.6, 0.0, 0.8])
    pair = [numbers(Rotation.from_rotvec(np.radians(angle) * axis), kind) for angle in (170.0, 190.0)]
    actions = torch.tensor(np.stack([np.concatenate([[x], turn, [1.0]]) for x, turn in zip((0.0, 1.0), pair, strict=True)]))[None, :, None]
    names = ("x", *KINDS[kind], "gripper")
    found = mean_action(actions, torch.tensor([[0.5, 0.5]]), spec(*names, rotation=kind))[0, 0].numpy()
    wanted = Rotation.from_rotvec(np.pi * axis)
    back = {"euler-xyz": lambda v: Rotation.from_euler("xyz", v), "axis-angle": Rotation.from_rotvec,
            "quaternion-wxyz": lambda v: Rotation.from_quat(v[[1, 2, 3, 0]]),
            "6d": lambda v: Rotation.from_matrix(np.stack([v[:3], v[3:], np.cross(v[:3], v[3:])], axis=1))}[kind](found[1:-1])
    assert (back * wanted.inv()).magnitude() < 1e-6
    assert found[0] == 0.5 and found[-1] == 1.0


def test_weights_and_several_steps_agree_with_scipy():
    turns = Rotation.random(6, random_state=0).as_rotvec().reshape(1, 3, 2, 3)
    weights = np.array([[0.5, 0.3, 0.2]])
    found = mean_action(torch.tensor(turns), torch.tensor(weights), spec("rx", "ry", "rz", rotation="axis-angle"))[0].numpy()
    for step in range(2):
        wanted = Rotation.from_rotvec(turns[0, :, step]).mean(weights=weights[0])
        assert (Rotation.from_rotvec(found[step]) * wanted.inv()).magnitude() < 1e-6


def test_rotations_are_found_by_their_names_for_one_arm_and_for_two():
    assert rotation_entries(spec("x", "y")) == ()
    assert rotation_entries(spec("x", "roll", "pitch", "yaw", "gripper", rotation="euler-xyz")) == ((1, 2, 3),)
    names = [f"{side}_{n}" for side in ("left", "right") for n in ("x", "rx", "ry", "rz")]
    assert rotation_entries(spec(*names, rotation="axis-angle")) == ((1, 2, 3), (5, 6, 7))
    for names in (("a", "b", "c"), ("roll", "pitch", "x", "yaw")):
        with pytest.raises(SpecError, match="names do not tell"):
            rotation_entries(spec(*names, rotation="euler-xyz"))
