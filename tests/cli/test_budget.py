"""`foreact budget`: the grid finds each recipe's knobs, what cannot be run is told, and what is done is not done again."""

import json
import os
from dataclasses import replace

import pytest

from foreact.cli import budget, budget_run
from foreact.cli.budget_grid import BudgetGrid, points
from foreact.cli.budget_policies import policies
from foreact.cli.budget_table import findings, text
from foreact.cli.main import run as command
from foreact.contract.config import apply_overrides, encode
from foreact.contract.errors import ConfigError
from foreact.envs.metaworld import MetaWorld
from foreact.evaluation.evaluate import EvaluationConfig
from foreact.recipes import catalogue
from foreact.training.checkpoint_folder import Content, write
from foreact.training.members import import_members
from foreact.training.specs import specs_text

SPECS = MetaWorld.describe(MetaWorld.Config(task="window-open"))
GRID = BudgetGrid(denoising=(1,), candidates=(), replan=(), tasks=("drawer-close",), demonstrations=2, steps=2, episodes=1,
                  horizon=16, rounds=1, training=("training.substrate.steps=2", "training.batch_size=2"))


def of(name, grid, **more):
    import_members()
    run = catalogue.recipe(name).run("tiny")
    return run, *points(run.model, grid, SPECS, **more)


@pytest.mark.parametrize("name", catalogue.names())
def test_the_words_of_every_point_are_settings_and_move_what_they_say(name):
    run, found, skipped = of(name, BudgetGrid(chunk=(8,), cross=True, denoising=(2,), replan=(4,), precision=("int8",)))
    assert found[0].name == "own" and not found[0].moved
    assert len({point.name for point in found}) == len(found)
    for point in found:
        model = apply_overrides(run.model, [word.removeprefix("model.") for word in (*point.training, *point.model)])
        assert (model == run.model) == (not point.training and not point.model)
        for axis, place in (("replan", "regime.replan"), ("chunk", "coupling.horizon")):
            if axis in point.moved:
                head, leaf = place.split(".")
                assert getattr(getattr(model, head), leaf) == point.moved[axis]
        config = apply_overrides(EvaluationConfig(), list(point.evaluation))
        assert (config.selector is not None) == ("candidates" in point.moved and name != "cosmos-policy")
        assert config.precision == point.moved.get("precision", "float32")
    assert all(one.why for one in skipped)


def test_one_axis_at_a_time_or_all_crossed():
    grid = BudgetGrid(denoising=(1, 2, 4), candidates=(4,), replan=(4, 99))
    _, found, skipped = of("uwm", grid)
    assert [point.name for point in found] == ["own", "denoising-1", "denoising-2", "candidates-4", "replan-4"]
    assert [(one.axis, one.value) for one in skipped] == [("replan", "99")] and "chunk" in skipped[0].why
    _, crossed, _ = of("uwm", replace(grid, cross=True, replan=(4,)))
    assert len(crossed) == 3 * 2 * 2


def test_a_recipe_is_not_varied_along_a_knob_that_it_lacks():
    _, found, skipped = of("gr-1", BudgetGrid(denoising=(1,), candidates=(), replan=(4,)))
    assert [point.name for point in found] == ["own"]
    assert {one.axis for one in skipped} == {"denoising", "replan"} and all("no such knob" in one.why for one in skipped)
    _, found, skipped = of("joint", BudgetGrid(denoising=(), candidates=(), replan=(), chunk=(8,)), retrain=False)
    assert len(found) == 1 and "another training" in skipped[0].why


def test_own_candidates_are_the_couplings_own():
    _, found, _ = of("cosmos-policy", BudgetGrid(denoising=(), candidates=(1, 4), replan=()))
    assert [point.model for point in found[1:]] == [("model.coupling.candidates=1",), ("model.coupling.candidates=4",)]


@pytest.mark.parametrize(("words", "grid", "match"), [
    (["jont"], {}, "no such recipe"), (["joint", "joint"], {}, "name of its own"), (["joint"], {"size": "huge"}, "no such size")])
def test_errors_teach(words, grid, match):
    with pytest.raises(ConfigError, match=match):
        policies(words, BudgetGrid(**grid))


def test_a_folder_without_a_run_and_values_that_are_none_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no trained run"):
        policies([str(tmp_path)], BudgetGrid())
    for word in ("denoising=[0]", "episodes=0"):
        with pytest.raises(ConfigError, match="at least 1"):
            apply_overrides(BudgetGrid(), [word])


def test_the_list_says_what_would_be_run(capsys):
    assert command(["budget", "lingbot-va", "--list", "denoising=[1]", "candidates=[]", "replan=[4]"]) == 0
    told = capsys.readouterr().out
    assert "lingbot-va: own, denoising-1" in told and "replan 4 is not tried: the history" in told and "no-future: own" in told


def test_all_trainings_are_of_as_many_steps_and_a_folder_holds_those_of_one_budget(tmp_path):
    compared, grid = policies(["joint", "mv-wam"], GRID), replace(GRID, steps=20, chunk=(8,))
    place = budget_run.Place(grid=grid, out=tmp_path, demos=tmp_path / "demos")
    jobs = list(budget_run._trainings(place, budget_run.planned(compared, grid)))
    names = [f"{name}{chunk}" for name in ("no-future", "joint", "mv-wam") for chunk in ("", "-chunk-8")]
    assert [job.name for job in jobs] == [f"training {name}" for name in names]
    for job in jobs:
        settings = [word for word in job.words[2:] if "=" in word]
        run = apply_overrides(catalogue.recipe(job.words[1]).run("tiny"), settings)
        assert sum(stage.steps for stage in run.training.stages) == 20
        assert ("--baseline" in job.words) == job.name.startswith("training no-future")
        assert run.model.coupling.horizon == (8 if "chunk" in job.name else 16)
    budget_run._require_same_trainings(place)
    budget_run._require_same_trainings(place)
    with pytest.raises(ConfigError, match="another budget"):
        budget_run._require_same_trainings(replace(place, grid=replace(grid, steps=3)))


def test_points_that_compute_the_same_plans_are_measured_once(tmp_path):
    (policy,) = policies(["joint"], replace(GRID, baseline=""))
    grid = replace(GRID, replan=(4,), precision=("int8",))
    place = budget_run.Place(grid=grid, out=tmp_path, demos=tmp_path)
    seats = {point.name: place.seat(policy, point) for point in policy.points(grid, SPECS)[0]}
    assert budget_run._first_of_each(seats) == {"own": "own", "denoising-1": "denoising-1", "replan-4": "own",
                                                "precision-int8": "precision-int8"}


def test_over_ray_every_evaluation_is(tmp_path):
    (policy,) = policies(["joint"], replace(GRID, baseline=""))
    for on in ("local", "ray"):
        place = budget_run.Place(grid=replace(GRID, on=on), out=tmp_path, demos=tmp_path)
        for point in policy.points(GRID, SPECS)[0]:
            words = budget_run._evaluating(place, policy, point).words
            settings = [word for word in words if "=" in word and not word.startswith("model.")]
            assert apply_overrides(EvaluationConfig(), settings).on == on


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run of the no-future baseline that learnt nothing, at its own point, also charged, on one episode."""
    out = tmp_path_factory.mktemp("budget")
    run = catalogue.baseline(catalogue.recipe("joint").run("tiny"))
    texts = {"config.json": json.dumps(encode(run)), "specs.json": specs_text(*SPECS)}
    write(out / "still" / "checkpoints", Content(step=1, model=run.model.build(*SPECS).state_dict(), state={}, progress={}, texts=texts))
    grid = replace(GRID, baseline="", denoising=(), charge="own")
    compared = policies([str(out / "still")], grid)
    return compared, grid, out, budget_run.run(compared, grid, out, None, "cpu")


def test_every_point_is_measured(measured):
    told = json.loads(json.dumps(findings(measured[3])))
    (policy,) = told["policies"]
    (row,) = policy["points"]
    assert row["success"]["n"] == 1 and row["seeds"] == [1_000_000, 1_000_000] and row["against_baseline"] is None
    assert row["latency_ms"]["mean"] == pytest.approx(sum(lap["mean"] for lap in row["latency_ms"]["laps"].values()), rel=1e-4)
    assert row["memory_mb"]["whole"] > row["memory_mb"]["idle"] > 0
    assert sum(row["failures"].values()) == 1 - row["success"]["successes"] and "unknown" not in row["failures"]
    assert row["charged"]["ms"] == round(row["latency_ms"]["p50"], 1) and row["charged"]["success"]["n"] == 1
    assert "still/own *" in text(told) and told["front"] == ["still/own"]


def test_what_is_done_is_not_done_again(measured):
    compared, grid, out, _ = measured

    def stamps():
        names = ("result.json", "latency.json", "memory.json")
        return {path: os.stat(path).st_mtime_ns for name in names for path in out.rglob(name)}

    before = stamps()
    budget_run.run(compared, grid, out, None, "cpu")
    assert stamps() == before and len(before) == 4
    missing = out / "points" / "still" / "own" / "result.json"
    missing.unlink()
    budget_run.run(compared, grid, out, None, "cpu")
    assert {path for path, stamp in stamps().items() if before[path] != stamp} == {missing}


def test_the_settings_of_the_help_are_the_grids():
    assert set(budget.KEYS) == set(BudgetGrid.__dataclass_fields__)
