"""Every candidate is executed and the world put back: in a world in which only that can tell, it wins, and it leaves no trace."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.acting.lanes import noise_seed
from foreact.contract.axes import SeededNoise
from foreact.contract.encoded import Proposal
from foreact.contract.errors import ConfigError
from foreact.couplings.joint import JointGeneration
from foreact.envs.metaworld import MetaWorld
from foreact.evaluation.evaluate import EvaluationConfig, evaluate
from foreact.evaluation.policies import ScriptedExpert
from foreact.evaluation.selecting import require_selectable
from foreact.evaluation.slots import Episode, SlotRules, vector
from foreact.regimes.chunked import Chunked
from foreact.selection import Consensus, Exploring, First, RandomChoice
from foreact.substrates import Depth, PoseStream
from tiny_members import SUBSTRATES, config

SEED, REACH = 500_000, MetaWorld.Config(task="reach", size=32, cameras=("scene",), horizon=64)


def goal():
    """Where the hand is to go: where the expert brings it."""
    world, expert = REACH.build(), ScriptedExpert.Config().build()
    world.start(SEED)
    expert.start(world, 0)
    for _ in range(60):
        world.advance(np.clip(expert.act(world), -1, 1).astype(np.float32))
    place = world.observe()["state"][:3]
    world.close()
    return torch.from_numpy(place)


@pytest.fixture(scope="module")
def dreamer():
    """Imagines under every action that the hand comes nearer to the goal; what the action does is left to chance."""
    made = replace(config("JointGeneration"), substrate=PoseStream.Config(names=("hand_x", "hand_y", "hand_z")),
                   view=SUBSTRATES["PixelLatents"], regime=Chunked.Config(replan=4),
                   coupling=JointGeneration.Config(horizon=8, future_offsets=(4, 8), steps=1))
    model, place = made.build(*MetaWorld.describe(REACH)).eval(), goal()

    def propose(backbone, encoded, *, noise, session=None):
        way = torch.nn.functional.normalize(noise("way", (3,)), dim=-1)
        left = place - encoded.raw_state[:, :3]
        step = left * (0.04 / left.norm(dim=-1, keepdim=True)).clamp(max=1)
        return Proposal(actions=torch.cat([way, -torch.ones(len(way), 1)], dim=-1)[:, None].expand(-1, 8, -1),
                        future={"video": torch.stack([step, 2 * step], dim=1)[:, :, None]})

    model.coupling.propose = propose
    return model


@pytest.fixture
def reach():
    return EvaluationConfig(environment=REACH, tasks=("reach",), seeds_per_task=1, seed_start=SEED, consistency="latent")


def test_only_who_sees_what_comes_of_candidates_arrives(dreamer, reach):
    found = {s: evaluate(dreamer, replace(reach, selector=s.Config(candidates=12))).episodes[0] for s in (Exploring, First, RandomChoice)}
    assert [found[s].success for s in found] == [True, False, False]
    assert np.mean([r.distance for r in found[Exploring].consistency]) < np.mean([r.distance for r in found[First].consistency])
    record = found[Exploring]
    # the frame that each plan's first four steps lead to is the one that was seen while choosing, so its score is what is recorded
    due = {r.step: r.distance for r in record.consistency if r.offset == 4}
    for choice in record.choices:
        if choice.step in due:
            assert max(choice.scores) == pytest.approx(np.exp(-due[choice.step]), abs=1e-4)


def test_trying_out_leaves_the_world_as_it_was_and_does_not_depend_on_the_spread(dreamer, reach):
    short = replace(reach, environment=replace(REACH, horizon=16), seeds_per_task=2, selector=Exploring.Config(candidates=3),
                    stop_after_success=False)
    one = evaluate(dreamer, replace(short, envs=1)).episodes
    assert [r.outcome for r in one] == [r.outcome for r in evaluate(dreamer, replace(short, envs=2, vector="async")).episodes]
    record, actions = one[0], []
    for choice in record.choices:  # the chosen chunks, executed without trying anything out
        name = "way" if choice.chosen == 0 else f"way of candidate {choice.chosen}"
        way = torch.nn.functional.normalize(SeededNoise([noise_seed(record.seed, choice.call)])(name, (3,)), dim=-1)[0]
        actions += [np.float32([*way.tolist(), -1.0])] * 4
    world, places = replace(REACH, horizon=16).build(), []
    world.start(record.seed)
    for action in actions:
        places.append(world.observe()["state"][:3])
        world.advance(action)
    world.close()
    assert record.steps == len(actions) == 16
    assert record.actions_digest == hashlib.sha256(np.stack(actions).tobytes()).hexdigest()[:16]
    left = goal().numpy() - places[8]
    error = left * min(0.04 / np.linalg.norm(left), 1) - (places[12] - places[8])
    (due,) = [r for r in record.consistency if (r.step, r.offset) == (8, 4)]
    assert due.distance == pytest.approx(np.square(error).mean(), rel=1e-3)


def test_a_seat_looks_after_each_candidate_and_stands_where_it_stood():
    rules = SlotRules(environment=REACH, policy=None)
    seats = vector(rules, Episode(condition="clean", task="reach", seed=SEED), 2)
    episode = Episode(condition="clean", task="reach", seed=SEED)
    before, _ = seats.reset(options={"reset_mask": np.ones(2, bool), "episodes": {0: episode, 1: episode}})
    up, down = np.float32([[0, 0, 1, -1]] * 4), np.float32([[0, 0, -1, -1]] * 4)
    none, seen = seats.call("try_out", {1: np.stack([up, down, up])})
    assert none is None
    heights = [each["state"][2] for each in seen]
    assert heights[0] > before["state"][1][2] > heights[1] and heights[0] == heights[2]
    still = {"actions": np.zeros((2, REACH.horizon, 4), np.float32), "count": np.array([4, 4]), "recall": np.array([-1, -1]),
             "held": np.full((2, 1), -1)}
    still["actions"][:, :4] = up
    after, *_ = seats.step(still)
    assert np.array_equal(after["state"][0], after["state"][1]) and after["state"][1][2] == heights[0]
    seats.close()


def test_who_cannot_see_what_comes_is_refused(dreamer):
    blind = replace(dreamer.config, substrate=Depth.Config(grid=(2, 2), detail=2)).build(dreamer.observation, dreamer.action)
    with pytest.raises(ConfigError, match="not to be seen while acting"):
        require_selectable(blind, Exploring.Config())
    require_selectable(dreamer, Consensus.Config(candidates=1))
