"""`foreact study mv-wam` on a grid of one task, a few steps and one episode: every part runs, and what is done is not done again."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.cli import agra_studies, consistency_studies, factor_report, factor_run, mv_wam_studies, representation_studies
from foreact.cli.factor_run import Place, tracks
from foreact.cli.factor_study import Arm, FactorStudy, Grid, Measure, select
from foreact.cli.main import run
from foreact.contract.config import apply_overrides, encode
from foreact.contract.errors import ConfigError
from foreact.envs.metaworld import MetaWorld
from foreact.evaluation.claims import Claim
from foreact.recipes import catalogue
from foreact.training.members import import_members

WORDS = ['only=["steps"]', 'tasks=["button-press-topdown"]', "demonstrations=4", "steps=4", "training_seeds=2", "episodes=1", "horizon=8",
         'conditions=["clean"]', 'settings=["training.substrate.steps=4","training.batch_size=4"]']


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREACT_CACHE", str(folder / "cache"))
        assert run(["study", "mv-wam", "--out", str(folder / "mv-wam"), *WORDS]) == 0
    return folder / "mv-wam"


def test_every_arm_is_run_and_every_claim_is_judged(study):
    found = json.loads((study / "results.json").read_text())["studies"]["steps"]
    assert [row["arm"] for row in found["rows"]] == ["5 steps", "1 step", "2 steps", "3 steps", "10 steps"]
    assert all(row["conditions"]["clean"]["n"] == 2 for row in found["rows"])
    assert {row["fingerprint"] for row in found["rows"]} == {found["rows"][0]["fingerprint"]}
    assert len(found["claims"]) == 2  # of the three, one is about Random
    assert {claim["verdict"] for claim in found["claims"]} == {"undecided at this size"}
    evaluations = study / "reference" / "seed-0" / "evaluations"
    assert sum((folder / "result.json").exists() for folder in evaluations.iterdir()) == 5


def test_the_page_says_how_it_was_judged(study):
    page = (study / "pages" / "mv-wam-steps.md").read_text()
    assert "undecided at this size" in page
    assert "fixed before the runs" in page
    assert (study / "pages" / "images" / "mv-wam-steps.png").stat().st_size > 5000


def test_what_is_done_is_not_done_again(study, capsys):
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*.safetensors")}
    assert run(["study", "mv-wam", "--out", str(study), *WORDS]) == 0
    assert "undecided at this size" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in study.rglob("*.safetensors")}


FAMILIES = (mv_wam_studies.FAMILY, agra_studies.FAMILY, representation_studies.REPRESENTATION, representation_studies.IMAGINATION)
STUDIES = mv_wam_studies.FAMILY.studies
ARMS = [(family.recipe, arm) for family in FAMILIES for study in family.studies for arm in study.arms if arm.train]
RUN_WITH = [(family.recipe, arm) for family in (*FAMILIES, *consistency_studies.FAMILIES.values()) for study in family.studies
            for arm in study.arms
            if any(word.startswith("model.") for word in arm.evaluate)]


@pytest.mark.parametrize(("recipe", "arm"), ARMS, ids=lambda value: getattr(value, "name", value))
def test_the_words_of_every_arm_change_the_recipe(recipe, arm):
    import_members()
    plain = catalogue.recipe(recipe).run("tiny")
    changed = apply_overrides(plain, list(arm.train))
    assert changed != plain
    changed.model.check(*MetaWorld.describe(MetaWorld.Config(task="door-open", size=64)))


@pytest.mark.parametrize(("recipe", "arm"), RUN_WITH, ids=lambda value: getattr(value, "name", value))
def test_settings_for_running_leave_every_weight_in_its_place(recipe, arm):
    import_members()
    plain, specs = catalogue.recipe(recipe).run("tiny").model, MetaWorld.describe(MetaWorld.Config(task="door-open", size=64))
    changed = apply_overrides(plain, [word.removeprefix("model.") for word in arm.evaluate if word.startswith("model.")])
    assert changed != plain
    with torch.device("meta"):
        ours, theirs = (config.build(*specs).state_dict() for config in (plain, changed))
    assert {name: x.shape for name, x in ours.items()} == {name: x.shape for name, x in theirs.items()}


def test_the_reference_of_every_study_is_the_recipe_as_it_stands():
    studies = [study for family in FAMILIES for study in family.studies]
    assert all(study.arms[0].folder == "reference" for study in studies)
    assert all(study.arms[0].evaluation == ("held-out" if study.name == "shots" else "main") for study in studies)


def test_a_study_of_equal_compute_gives_every_arm_the_operations_of_the_first(tmp_path):
    """The whole engine: budgets in operations, a measure of each training, a claim about it."""
    small = replace(representation_studies.REPRESENTATION, studies=(FactorStudy(
        name="small", title="Small", factor="the branches", equal="flops", needs=("depth", "segmentation"),
        measures=(Measure(name="heat in mask", diagnosis="intervention", path="figures.ratio.value", words=("stream=frame", "frames=2")),),
        arms=(Arm(name="both"), Arm(name="none", train=("model.beside=[]",))),
        claims=(Claim(says="both are better", first="both", second="none", condition="clean"),
                Claim(says="both are looked at more", first="both", second="none", measure="heat in mask"))),))
    grid = Grid(tasks=("button-press-topdown",), held_out=(), demonstrations=4, steps=6, training_seeds=2, episodes=1, horizon=8,
                conditions=("clean",), settings=("training.substrate.steps=4", "training.batch_size=4", "training.validation.fraction=0.3"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREACT_CACHE", str(tmp_path / "cache"))
        found = factor_run.run(small, grid, tmp_path / "out", None)["studies"]["small"]
    both, none = found["rows"]
    assert both["training"]["steps"] == 7  # one of the video, six of both
    assert none["training"]["steps"] > 7  # pictures alone cost less, so there are more steps of them
    assert none["training"]["flops"] == pytest.approx(both["training"]["flops"], rel=0.3)
    assert none["training"]["flops"] >= both["training"]["flops"]
    assert all(len(row["measures"]["heat in mask"]["by_training_seed"]) == 2 for row in found["rows"])
    assert found["claims"][0]["verdict"] == "undecided at this size"
    assert found["claims"][1]["difference"] == pytest.approx(
        np.mean(both["measures"]["heat in mask"]["by_training_seed"]) - np.mean(none["measures"]["heat in mask"]["by_training_seed"]))
    page = factor_report.page(small, {"recipe": "geosem-wam", "grid": encode(grid), "studies": {"small": found}}, "small", "x.png")
    assert "processor seconds" in page
    assert "heat in mask" in page


def test_a_claim_about_a_measure_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="heat"):
        FactorStudy(name="x", title="", factor="", arms=(Arm(name="one"), Arm(name="two")),
                    claims=(Claim(says="", first="one", second="two", measure="heat"),))


def test_few_shots_go_on_from_the_reference_on_tasks_that_it_has_not_seen(tmp_path):
    shots = next(study for study in STUDIES if study.name == "shots")
    grid = Grid(training_seeds=2)
    found = list(tracks(Place(mv_wam_studies.FAMILY, grid, tmp_path / "demos", tmp_path), (shots,)))
    assert len(found) == 2  # one for each training seed, in order: the reference, then what is made of it
    names = [job.name for job in found[1]]
    arms = ("zero-shot", "1 shot", "5 shots", "10 shots")
    assert names == [f"{what} {arm}, seed 1" for arm in arms for what in ("training", "evaluating")]
    words = {job.name: job.words for job in found[1]}
    tuning = words["training 5 shots, seed 1"]
    assert tuning[tuning.index("--start-from") + 1] == str(tmp_path / "reference" / "seed-1")
    assert tuning[tuning.index("--data") + 1] == str(tmp_path / "demonstrations-5")
    assert words["training zero-shot, seed 1"][words["training zero-shot, seed 1"].index("--data") + 1] == str(tmp_path / "demos")
    assert all(task in words["evaluating zero-shot, seed 1"] for task in grid.held_out)


def test_arms_that_watch_another_arm_take_the_video_that_is_collected_once(tmp_path):
    study, grid = agra_studies.VIDEO, Grid(training_seeds=2)
    place = Place(agra_studies.FAMILY, grid, tmp_path, tmp_path)  # its demonstrations are there
    (collected,) = factor_run.collecting(place, (study,), ())
    assert "embodiment=tubes" in collected.words and str(place.video) in collected.words
    assert not list(factor_run.collecting(place, (agra_studies.TEACHER,), ()))
    jobs = {job.name: job.words for track in tracks(place, (study,)) for job in track}
    for arm in study.arms:
        words = jobs[f"training {arm.name}, seed 0"]
        assert (words[-2:] == ["--video", str(place.video)]) == arm.video
    assert len({arm.folder for arm in study.arms}) == 4


def test_a_task_cannot_be_both_seen_and_held_out():
    with pytest.raises(ConfigError, match="held out"):
        Grid(held_out=("window-open",))


def test_a_study_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        select(Grid(only=("step",)), STUDIES)


def test_a_claim_about_an_arm_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="two"):
        FactorStudy(name="x", title="", factor="", arms=(Arm(name="one"),),
                    claims=(Claim(says="", first="one", second="two", condition="clean"),))
