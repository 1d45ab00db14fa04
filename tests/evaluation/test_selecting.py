"""Selection in closed loop: the same records however the work is spread, evidence for each choice, refusals before anything runs."""

import json
from dataclasses import replace

import numpy as np
import pytest

from foreact.cli.evaluate import _selecting
from foreact.contract.config import apply_overrides, decode, encode
from foreact.contract.errors import ConfigError
from foreact.evaluation.controller import Controller, Seat
from foreact.evaluation.evaluate import EvaluationConfig, evaluate
from foreact.evaluation.policies import HoldStill
from foreact.evaluation.result import Result
from foreact.evaluation.rollout import EpisodeRecord
from foreact.evaluation.selecting import require_selectable
from foreact.selection import ActionConsensus, Consensus, HighestValue, RandomChoice, Weighted


def observations(model, count):
    rng = np.random.default_rng(0)
    return [{"images": {c.name: rng.integers(0, 256, (3, c.height, c.width), dtype=np.uint8) for c in model.observation.cameras},
             "state": rng.normal(size=model.observation.state.size).astype(np.float32), "instruction": f"do thing {i}"}
            for i in range(count)]


@pytest.fixture
def config(environment):
    return EvaluationConfig(environment=environment, tasks=("drawer-open",), seeds_per_task=3, selector=Consensus.Config(candidates=3))


def test_the_spread_of_the_work_changes_no_choice_and_the_record_tells_each(tiny, config, tmp_path):
    one = evaluate(tiny, replace(config, envs=1), out=tmp_path / "one")
    three = evaluate(tiny, replace(config, envs=3))
    assert [r.outcome for r in one.episodes] == [r.outcome for r in three.episodes]
    assert Result.load(tmp_path / "one").episodes == one.episodes
    for record in one.episodes:
        assert [c.call for c in record.choices] == list(range(record.calls)) and len(record.select_ms) == record.calls
        assert [c.step for c in record.choices] == list(record.call_steps)
        for choice in record.choices:
            assert len(choice.scores) == 3 and choice.chosen == choice.scores.index(max(choice.scores)) and choice.spread > 0
    assert any(c.chosen for r in one.episodes for c in r.choices)
    found = one.summary()["selection"]
    assert found["choices"] == found["plans"] == sum(r.calls for r in one.episodes) and found["overhead_ms"]["p50"] > 0


def test_selection_is_part_of_the_protocol_only_where_it_is(tiny, config):
    plain = replace(config, selector=None)
    assert "selector" not in plain.protocol()[0].fields
    assert config.protocol()[0].fields["selector"] == {"type": "Consensus", "candidates": 3, "until": 1.0}
    assert config.protocol()[0].fingerprint != plain.protocol()[0].fingerprint
    record = evaluate(tiny, replace(plain, seeds_per_task=1)).episodes[0]
    old = {k: v for k, v in json.loads(json.dumps(encode(record))).items() if k not in ("choices", "select_ms")}
    assert decode(EpisodeRecord, old) == record and record.choices == ()


def test_after_its_share_of_the_episode_the_plan_is_the_one_without(tiny, config):
    """Eight of 24 steps: the calls at 0 and 6 choose, those at 12 and 18 do not, side by side with seats that still do."""
    third = replace(config, selector=Consensus.Config(candidates=3, until=1 / 3))
    for record in evaluate(tiny, third).episodes:
        assert [c.step for c in record.choices] == [0, 6] and record.calls == 4
    controller = Controller(tiny, selector=third.selector, horizon=24)
    seats, seen = [Seat(seed=1), Seat(seed=2)], observations(tiny, 2)
    seats[1].memory.steps = 8
    controller.plan(seats, seen)
    assert len(seats[0].calls[0].choice.scores) == 3 and seats[1].calls[0].choice is None
    alone = Seat(seed=2)
    Controller(tiny).plan([alone], seen[1:])
    assert (alone.calls[0].actions == seats[1].calls[0].actions).all()


def test_the_value_chooses_where_there_is_one(valued, config):
    environment = replace(config.environment, cameras=("scene",))
    found = evaluate(valued, replace(config, environment=environment, seeds_per_task=1, selector=HighestValue.Config(candidates=3)))
    record = found.episodes[0]
    assert [max(c.scores) for c in record.choices] == pytest.approx(record.values, abs=1e-5)


def test_a_memory_is_carried_on_whatever_was_chosen(streamed, config):
    short = replace(config, environment=replace(config.environment, horizon=12), seeds_per_task=2)
    found = [evaluate(streamed, replace(short, envs=envs)) for envs in (1, 2)]
    assert [r.outcome for r in found[0].episodes] == [r.outcome for r in found[1].episodes]
    assert all(len(r.choices) == r.calls for r in found[0].episodes)


def test_what_cannot_choose_is_refused_before_anything_runs(tiny, config):
    for selector, word in ((HighestValue.Config(), "gives none"),):
        with pytest.raises(ConfigError, match=word):
            evaluate(tiny, replace(config, selector=selector))
    with pytest.raises(ConfigError, match="no candidates"):
        evaluate(HoldStill.Config(), config)
    blind = tiny.config.without_future().build(tiny.observation, tiny.action).eval()
    with pytest.raises(ConfigError, match="imagines none"):
        require_selectable(blind, Consensus.Config())
    for selector in (ActionConsensus, RandomChoice):
        require_selectable(blind, selector.Config())
    require_selectable(tiny, Weighted.Config())


def test_a_future_that_is_the_same_for_all_candidates_cannot_choose():
    from tiny_members import alive
    from tiny_members import config as member

    with pytest.raises(ConfigError, match="the same future for all"):
        require_selectable(alive(member("PostPredictionHead")), Consensus.Config())


def test_words_of_the_command_line():
    words = _selecting(["selector.candidates=4", "seeds_per_task=2", "selector=consensus"])
    found = apply_overrides(EvaluationConfig(), words)
    assert found.selector == Consensus.Config(candidates=4) and found.seeds_per_task == 2
    assert apply_overrides(EvaluationConfig(), _selecting(["selector=value"])).selector == HighestValue.Config()
    with pytest.raises(ConfigError, match="no such class"):
        apply_overrides(EvaluationConfig(), _selecting(["selector=Consenus"]))
