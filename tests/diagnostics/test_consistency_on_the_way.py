"""Courses, collapse, the corrected score and pairs of evaluations: planted effects are found, and what was not planted is not."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from foreact.acting.consistency import Realised
from foreact.contract.errors import DatasetError
from foreact.diagnostics.consistency.collapse import Rule, floors, natural, stalls, tried
from foreact.diagnostics.consistency.correction import corrected, difficulty, with_correction, with_frozen
from foreact.diagnostics.consistency.courses import agreement, course, course_of, gap, mean_of
from foreact.diagnostics.consistency.examination import Frozen, examine
from foreact.diagnostics.consistency.motion import change_by_alignment, pearson, relation, spearman
from foreact.diagnostics.consistency.pairs import compared, paired
from foreact.diagnostics.consistency.scores import scored

stats = pytest.importorskip("scipy.stats")
SPREAD = {"resamples": 60}


@dataclass(frozen=True)
class Episode:
    task: str
    seed: int
    success: bool
    consistency: tuple[Realised, ...]
    condition: str = "clean"
    call_steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


def episode(task, seed, success, distance, change, imagined=None):
    """A frame every eighth step, eight steps ahead; entries by step."""
    imagined = change if imagined is None else imagined
    return Episode(task, seed, success, tuple(
        Realised(step=8 * i, offset=8, distance=float(d), change=float(c), imagined=float(m), on_plan=True)
        for i, (d, c, m) in enumerate(zip(distance, change, imagined, strict=True))))


def moving(seed, *, task="open", success=True, steps=8, at=None, draw=None, still=0.02, apart=0.0):
    """Change about 1 and a distance of a half of it; from entry `at` on, next to nothing of either."""
    draw = draw or np.random.default_rng(seed + (7 if task == "open" else 0))
    change = np.exp(0.2 * draw.normal(size=steps))
    distance = 0.5 * change * np.exp(0.1 * draw.normal(size=steps) + apart)
    if at is not None:
        change[at:], distance[at:] = still * change[at:], still * distance[at:]
    return episode(task, seed, success, distance, change)


def collapsing(seeds=24):
    """Failures go on for twice as long and stall after a quarter of it, which makes them easy to imagine."""
    return [moving(seed, task=task, success=seed % 3 != 0, **({} if seed % 3 else {"steps": 16, "at": 4}))
            for task in ("open", "push") for seed in range(seeds)]


# --- change -----------------------------------------------------------------------------------------------------------

def test_correlations_are_those_of_scipy_over_all_frames():
    found = scored(collapsing())
    frames = [one for record in collapsing() for one in record.consistency]
    log_c, change = [-one.distance for one in frames], [one.change for one in frames]
    assert pearson(found) == pytest.approx(stats.pearsonr(log_c, change).statistic)
    assert spearman(found) == pytest.approx(stats.spearmanr(log_c, change).statistic)
    told = relation(found, **SPREAD)
    assert told["spearman_interval"][0] < told["spearman"] < told["spearman_interval"][1] < 0


def test_misaligned_tasks_move_less_where_it_was_planted():
    quiet = [moving(seed, task="push", success=seed % 3 != 0, at=None if seed % 3 else 1) for seed in range(20)]
    loud = [moving(seed, success=seed % 3 != 0, apart=0.0 if seed % 3 else 1.0) for seed in range(20)]
    told = change_by_alignment(scored([*quiet, *loud]), **SPREAD)
    assert told["tasks"]["open"]["aligned"] and not told["tasks"]["push"]["aligned"]
    assert told["all"]["difference_interval"][1] < 0 and told["failures"]["difference"] < told["all"]["difference"]


# --- courses ----------------------------------------------------------------------------------------------------------

def test_a_course_is_told_where_enough_episodes_got():
    found = course_of(scored(collapsing()), "change")
    won = mean_of(found, found.success, **SPREAD)
    lost = mean_of(found, ~found.success, **SPREAD)
    assert won["steps"] == list(range(0, 64, 8)) and lost["steps"] == list(range(0, 128, 8))
    assert set(won["episodes"]) == {32} and max(lost["mean"][4:]) < min(won["mean"])
    assert not mean_of(found, np.arange(48) < 2, **SPREAD)["steps"]


def test_a_gap_is_taken_within_tasks():
    """One task is fast and fails, the other slow and succeeds; within neither does success tell anything."""
    draw, told = np.random.default_rng(0), []
    task, success = np.repeat(["a", "b"], 40), np.concatenate([np.arange(40) < 4, np.arange(40) < 36])
    seed = np.tile(np.arange(40), 2)
    for one in task:
        told.append((np.arange(5), draw.normal(size=5) + (5 if one == "a" else 0)))
    apart = gap(course(told, task, seed, success), **SPREAD)
    assert all(low < 0 < high for low, high in zip(apart["low"], apart["high"], strict=True))
    raised = [(steps, values + 2 * won) for (steps, values), won in zip(told, success, strict=True)]
    assert min(gap(course(raised, task, seed, success), **SPREAD)["low"]) > 0


def test_agreement_is_one_with_itself_and_minus_one_with_its_contrary():
    found = course_of(scored(collapsing()), "log_c")
    same, other = agreement(found, found, **SPREAD), agreement(found, replace(found, values=-found.values), **SPREAD)
    for name in ("over_time", "episodes"):
        assert same[name] == pytest.approx(1) and other[name] == pytest.approx(-1)
    assert same["steps"] == 8, "as far as both outcomes got"


# --- collapse ---------------------------------------------------------------------------------------------------------

def test_floors_are_a_share_of_the_median_of_other_seeds_successes():
    found, rule = scored(collapsing()), Rule(share=0.5)
    won = found.at(found.success).of("open")
    assert floors(found, rule)["open"] == pytest.approx(0.5 * np.median(won.every("change")))
    alone = scored([moving(0), moving(0, task="lost", success=False)])
    assert floors(alone, rule)["lost"] == floors(alone, rule)["open"], "a task without a success takes that of the others"
    wild = scored([*collapsing(), replace(moving(500), consistency=tuple(replace(f, change=1e6) for f in moving(500).consistency))])
    told = stalls(wild, wild, rule)
    assert not told[-1].any() and told[0].any()


def test_the_stall_of_failures_is_found_and_looks_consistent():
    told = natural(scored(collapsing()), Rule(), **SPREAD)
    assert told["failures"]["rate"] == 1 and told["successes"]["count"] == 0 and told["successes"]["interval"][1] < 0.15
    assert told["consistency_interval"][0] > 1 and told["imagined_interval"][1] < -1
    unknown = [replace(e, consistency=tuple(replace(f, imagined=None) for f in e.consistency)) for e in collapsing()]
    assert np.isnan(natural(scored(unknown), Rule(), **SPREAD)["imagined"])


def test_frozen_episodes_are_found_within_the_patience_of_the_rule():
    found = scored([e for e in collapsing() if e.success])
    frozen = scored([moving(seed, success=False, steps=12, at=6) for seed in range(12)])
    told = tried(found, frozen, 48, Rule())
    assert told["detected"]["count"] == told["detected"]["n"] == 12 and told["before"]["count"] == 0 and told["area"] == 1.0
    assert told["delay_steps"] == 3 * 8, "three changes in a row, each known when it came due"
    blind = tried(found, scored([moving(seed, steps=12) for seed in range(12)]), 48, Rule())
    assert blind["detected"]["count"] == 0 and blind["delay_steps"] is None
    short = tried(found, scored([moving(seed, steps=7, at=6) for seed in range(12)]), 48, Rule())
    assert short["too_short"] == 12 and short["detected"] is None


# --- the corrected score ----------------------------------------------------------------------------------------------

def test_a_ratio_undoes_what_change_does_to_the_distance():
    """d = c^b: the residual knows b, and leaves nothing of the change."""
    draw = np.random.default_rng(0)
    changes = np.exp(draw.normal(size=(30, 20)))
    made = scored([episode("open", i, i % 2 == 0, c ** 0.7, c) for i, c in enumerate(changes)])
    epsilon, slope = difficulty(made)
    assert slope == pytest.approx(0.7, abs=0.02) and epsilon == pytest.approx(0.01 * np.median(changes))
    assert np.ptp(corrected(made, "residual").log_c) < 0.05 * np.ptp(corrected(made, "log").log_c)
    exact = scored([episode("open", i, i % 2 == 0, 3 * c, c) for i, c in enumerate(changes)])
    assert corrected(exact, "ratio").log_c == pytest.approx(np.full(30, -np.log(3)), abs=0.1)


def test_a_correction_is_said_to_raise_the_auc_where_it_does_and_only_there():
    """How much moves is luck, how well it is imagined for that is not: only the ratio sees it."""
    draw, planted = np.random.default_rng(1), []
    for seed in range(80):
        success, level = bool(draw.random() < 0.5), np.exp(1.5 * draw.normal())
        change = level * np.exp(0.1 * draw.normal(size=6))
        planted.append(episode("open", seed, success, change * (0.4 if success else 0.6) * np.exp(0.1 * draw.normal(size=6)), change))
    told = with_correction(scored(planted), **SPREAD)
    for kind in ("ratio", "residual"):
        assert told[kind]["verdict"] == "raises" and told[kind]["auc"] > 0.95 and told[kind]["above_change_interval"][0] > 0
    assert told["change"]["verdict"] != "raises"
    stalled = with_correction(scored(collapsing()), **SPREAD)
    assert stalled["change"]["auc"] == 1.0 and stalled["ratio"]["above_change"] <= 0, "change alone says as much"
    nothing = with_correction(scored([replace(e, success=bool(draw.random() < 0.5)) for e in planted]), **SPREAD)
    assert nothing["ratio"]["verdict"] == "leaves open"


def test_standing_still_passes_for_consistency_until_it_is_divided_out():
    found = scored([e for e in collapsing() if e.success])
    frozen = scored([replace(moving(seed, success=False, steps=12, at=3), consistency=tuple(
        replace(f, distance=f.distance * (1 if i < 3 else 5)) for i, f in enumerate(moving(seed, steps=12, at=3).consistency)))
        for seed in range(12)])
    told = with_frozen(found, frozen)
    assert told["plain"]["area"] < 0.1 and told["ratio"]["area"] > 0.9


# --- pairs ------------------------------------------------------------------------------------------------------------

def test_pairs_differ_late_where_the_plain_one_stalls():
    plain = scored([moving(seed, success=False, steps=12, at=6) for seed in range(15)])
    selected = scored([moving(seed, success=seed % 2 == 0, steps=12) for seed in range(3, 18)])
    one, other = paired(selected, plain)
    assert one.seed.tolist() == other.seed.tolist() == list(range(3, 15))
    told = compared(one, other, Rule(), **SPREAD)
    assert told["pairs"] == 12 and told["success"]["difference"] == pytest.approx(0.5)
    assert told["change"]["late_interval"][0] > 0.5 and abs(told["change"]["early"]) < 1e-9
    assert told["consistency"]["late_interval"][1] < 0, "it moves, and is imagined the worse for it"
    assert told["stalled"]["plain"]["rate"] == 1.0 and told["stalled"]["selected"]["rate"] == 0.0
    with pytest.raises(DatasetError, match="no episodes of the same task and seed"):
        paired(selected, scored([moving(seed) for seed in range(100, 110)]))


# --- all of it --------------------------------------------------------------------------------------------------------

def with_values(record):
    steps = tuple(8 * i for i in range(len(record.consistency)))
    return replace(record, call_steps=steps, values=tuple(0.5 + (0.3 if record.success else -0.1) + 0.01 * i for i in range(len(steps))))


def test_no_result_of_the_whole_depends_on_tau():
    records = [with_values(record) for record in collapsing()]
    frozen = [Frozen(name="frozen", at=48, records=[moving(seed, success=False, steps=12, at=6) for seed in range(6)])]
    one, other = (examine(records, frozen=frozen, against=records, tau=tau, resamples=10) for tau in (1.0, 0.05))
    scales = ("c_successes", "c_successes_interval", "c_failures", "c_failures_interval", "episodes")
    assert one["tasks"]["open"]["c_failures"] != other["tasks"]["open"]["c_failures"], "C itself is on its scale"
    for told in (one, other):
        del told["episodes"]
        for task in told["tasks"].values():
            for name in scales[:-1]:
                del task[name]
    np.testing.assert_equal(rounded(one), rounded(other))


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") + 0.0 if isinstance(value, float) else value


def test_values_are_told_beside_where_every_plan_has_one():
    told = examine([with_values(record) for record in collapsing()], resamples=10)
    assert told["value"]["auc"] == 1.0 and min(told["value"]["gap"]["low"]) > 0
    assert examine(collapsing(), resamples=5)["value"] is None
