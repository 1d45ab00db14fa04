"""Consistency while episodes run: every frame that comes due is compared, by hand the same, and the robot does what it did without."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.acting.consistency import Awaited, Witness
from foreact.contract.axes import SeededNoise
from foreact.contract.config import encode
from foreact.contract.context import Scene
from foreact.contract.errors import ConfigError
from foreact.evaluation.controller import Seat, context_of, noise_seed
from foreact.evaluation.evaluate import EvaluationConfig, evaluate
from foreact.evaluation.policies import HoldStill
from foreact.evaluation.result import Result
from foreact.evaluation.slots import Episode, SlotRules
from foreact.evaluation.workers import in_this_process
from foreact.nets.self_distilled import SelfDistilled
from foreact.substrates.frozen_features import FrozenFeatures
from foreact.substrates.teacher_folder import cameras_of, write_teacher
from tiny_members import config

STILL = np.zeros((8, 4), np.float32)
EPISODE = Episode(condition="clean", task="drawer-open", seed=500_000)


def ran(model, environment, *, envs=1, episodes=(EPISODE,), footage=False, **rules):
    made = SlotRules(environment=environment, policy=None, footage=footage, **rules)
    return list(in_this_process(model, made, list(episodes), envs=envs, lanes=4))


def test_every_frame_that_comes_due_is_compared_and_nothing_is_done_otherwise(tiny, environment):
    (without,), (found,) = ran(tiny, environment), ran(tiny, environment, consistency="latent")
    assert replace(found.record, consistency=()).outcome == without.record.outcome
    steps, offsets = found.record.steps, tiny.config.coupling.future_offsets
    due = {(step, offset) for step in found.record.call_steps for offset in offsets if step + offset < steps}
    assert {(one.step, one.offset) for one in found.record.consistency} == due
    assert len(found.record.consistency) == len(due) > 4
    assert {one.offset for one in found.record.consistency if one.on_plan} == {4}, "a plan lasts for six steps"
    assert len(found.record.observe_ms) == found.record.calls, "only looks for a plan are timed"


def test_the_numbers_are_those_that_one_works_out_by_hand(tiny, environment):
    (found,) = ran(tiny, environment, footage=True, consistency="latent")
    seen, first = found.footage.observations, Seat(seed=EPISODE.seed, seen=[found.footage.observations[0]])
    first.seen = [{**seen[0], "instruction": found.record.instruction}]
    context = context_of([first] * 4, history=1, past=0, width=4)
    future = tiny.plan(context, noise=SeededNoise([noise_seed(EPISODE.seed, 0)] * 4)).future
    code = tiny.substrate.encode(Scene(images={name: torch.stack([torch.from_numpy(each["images"][name]) for each in seen])[None]
                                               for name in tiny.observation.camera_names}))
    by_key = {(one.step, one.offset): one for one in found.record.consistency}
    for index, offset in enumerate((4, 8)):
        one = by_key[0, offset]
        assert one.distance == pytest.approx(float((future.values[0, index] - code[0, offset]).square().mean()), rel=1e-4)
        assert one.change == pytest.approx(float((code[0, 0] - code[0, offset]).square().mean()), rel=1e-4)


def test_how_the_work_is_spread_changes_no_number(tiny, environment):
    episodes = [replace(EPISODE, seed=EPISODE.seed + i) for i in range(3)]
    alone, together = (ran(tiny, environment, envs=envs, episodes=episodes, consistency="latent") for envs in (1, 3))
    by_seed = [{one.record.seed: one.record.outcome for one in found} for found in (alone, together)]
    assert by_seed[0] == by_seed[1]
    assert all(outcome["consistency"] for outcome in by_seed[0].values())


@pytest.mark.parametrize("name", ["valued", "streamed"])
def test_joint_prediction_and_inverse_dynamics_are_measured_alike(name, request, environment):
    model = request.getfixturevalue(name)
    environment = replace(environment, cameras=model.observation.camera_names)
    (without,), (found,) = ran(model, environment), ran(model, environment, consistency="latent")
    assert found.record.actions_digest == without.record.actions_digest
    assert found.record.consistency
    assert all(one.distance > 0 and one.change >= 0 for one in found.record.consistency)


def test_pictures_are_compared_as_they_are_in_features_and_in_flow(tiny, environment, tmp_path):
    teacher = FrozenFeatures.Config(encoder=SelfDistilled.Config(width=16, depth=1, heads=2, patch=8, prototypes=16), grid=(2, 2))
    torch.manual_seed(0)
    tmp_path.joinpath("teacher").mkdir()
    write_teacher(tmp_path / "teacher", teacher.build(tiny.observation).state_dict(),
                  {"teacher": encode(teacher), "cameras": cameras_of(tiny.observation), "measures": {}})
    found = {}
    for distance, folder in (("pixel", None), ("perceptual", str(tmp_path / "teacher")), ("flow", None)):
        witness, awaited = Witness(tiny, distance, folder), Awaited()
        present, later = (look(environment, steps) for steps in (0, 12))
        context = context_of([Seat(seed=0, seen=[present])], history=1, past=0, width=4)
        with torch.no_grad():
            future = tiny.plan(context).future
            true = tiny.substrate.encode(Scene(images={n: torch.from_numpy(x)[None, None] for n, x in later["images"].items()}))
        witness.expect(awaited, 0, present, future, 0, STILL)
        perfect, still = Awaited(), Awaited()
        witness.expect(perfect, 0, present, replace(future, parts={"video": torch.cat([true, true], dim=1)}), 0, STILL)
        witness.see(awaited, 4, later)
        witness.see(perfect, 4, later)
        found[distance] = awaited.realised[0], perfect.realised[0]
        witness.expect(still, 0, present, future, 0, STILL)
        witness.see(still, 4, present)
        assert still.realised[0].change == 0.0
    for wrong, right in found.values():
        assert wrong.change == right.change > 0
    assert found["pixel"][0].distance != found["flow"][0].distance


def look(config, steps):
    """What the cameras see after some steps of one movement."""
    environment = config.build()
    environment.start(EPISODE.seed)
    for _ in range(steps):
        environment.advance(np.array([1.0, 1.0, -1.0, 1.0], np.float32))
    seen = environment.observe()
    environment.close()
    return {**seen, "instruction": "open the drawer"}


def test_it_is_kept_with_the_episode_and_part_of_what_a_folder_holds(tiny, environment, tmp_path):
    settings = EvaluationConfig(environment=environment, seeds_per_task=1, seed_start=EPISODE.seed, envs=1, consistency="latent")
    result = evaluate(tiny, settings, out=tmp_path)
    assert Result.load(tmp_path).episodes == result.episodes
    assert result.episodes[0].consistency
    told = result.summary()["consistency"]
    scores = [np.exp(-one.distance) for one in result.episodes[0].consistency]
    assert told["frames"] == len(scores) and told["mean"] == pytest.approx(np.mean(scores)) == told["not_solved"]
    assert told["solved"] is None and "consistency" not in Result.summary(replace(result, episodes=(
        replace(result.episodes[0], consistency=()),)))
    assert evaluate(tiny, replace(settings, consistency="off")).protocol == result.protocol, "it is no other protocol"
    with pytest.raises(ConfigError, match="another policy"):
        evaluate(tiny, replace(settings, consistency="off"), out=tmp_path)


def test_what_cannot_be_compared_is_refused(tiny, environment):
    specs = tiny.observation, tiny.action
    masks = config("JointGeneration", substrate="SemanticMasks").build(*specs)
    with pytest.raises(ConfigError, match="not to be seen while acting"):
        Witness(masks, "latent")
    with pytest.raises(ConfigError, match="no picture"):
        Witness(masks, "pixel")
    with pytest.raises(ConfigError, match="in whose features"):
        Witness(tiny, "perceptual")
    with pytest.raises(ConfigError, match="imagines nothing"):
        Witness(tiny.config.without_future().build(*specs), "latent")
    with pytest.raises(ConfigError, match="a control imagines nothing"):
        evaluate(HoldStill.Config(), EvaluationConfig(environment=environment, consistency="latent"))
