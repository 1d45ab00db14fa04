"""`foreact study consistency`: what is declared can be run, nothing is run twice, and what is cut short is whole up to there."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from foreact.cli import consistency_run, factor_report
from foreact.cli.consistency_studies import FAMILIES, GRID, VANILLA
from foreact.contract.config import apply_overrides
from foreact.contract.errors import ConfigError
from foreact.evaluation.claims import Claim
from foreact.evaluation.evaluate import EvaluationConfig
from foreact.recipes import catalogue
from foreact.training.members import import_members

ARMS = [(name, study.name, arm) for name, family in FAMILIES.items() for study in family.studies for arm in study.arms]
SMALL = replace(GRID, tasks=("button-press-topdown",), conditions=("clean",), demonstrations=2, steps=4, training_seeds=2, episodes=1,
                horizon=17, settings=("training.substrate.steps=4", "training.batch_size=2"))


@pytest.mark.parametrize(("family", "study", "arm"), ARMS, ids=lambda value: getattr(value, "name", value))
def test_the_words_of_every_arm_are_settings(family, study, arm):
    import_members()
    words = [*FAMILIES[family].acting, *arm.evaluate]
    of_model = [word.removeprefix("model.") for word in words if word.startswith("model.")]
    apply_overrides(catalogue.recipe(FAMILIES[family].recipe).run("tiny").model, of_model)
    config = apply_overrides(EvaluationConfig(), [word for word in words if not word.startswith("model.")])
    assert config.consistency == "latent"
    assert (config.selector is not None) == any("selector" in word for word in words)
    assert set(arm.spans) == ({"selector"} if config.selector is not None else set())


def test_both_families_ask_the_same():
    joint, inverse = (family.studies for family in FAMILIES.values())
    assert [study.name for study in joint] == [study.name for study in inverse]
    for one, other in zip(joint, inverse, strict=True):
        alone = {arm.name for arm in one.arms} ^ {arm.name for arm in other.arms}
        assert alone <= {"highest value of 8"}  # only one of them has a value


def test_every_evaluation_is_run_once_and_the_first_study_comes_first(tmp_path):
    places = consistency_run._places(FAMILIES, GRID, tmp_path, tmp_path)
    jobs = [job for track in consistency_run.evaluations(places) for job in track]
    assert len({job.done for job in jobs}) == len(jobs)
    evaluations = [job for job in jobs if job.words[0] == "eval"]
    first = [job for job in evaluations if "seeds_per_task=6" in job.words]
    assert evaluations[:len(first)] == first and len(first) == 2 * GRID.training_seeds
    assert all(job.name.split(":")[0] in FAMILIES for job in jobs)


def test_success_is_not_compared_with_a_number():
    with pytest.raises(ConfigError, match="compares two arms"):
        Claim(says="", first=VANILLA, than=0.5, condition="clean")
    with pytest.raises(ConfigError, match="compares two arms"):
        Claim(says="", first=VANILLA, measure="d")


@pytest.fixture(scope="module")
def cut_short(tmp_path_factory) -> tuple[dict, Path]:
    """Two trainings of the joint model on one task; then one run of the second arm goes missing."""
    out = tmp_path_factory.mktemp("study")
    early = next(study for study in FAMILIES["joint"].studies if study.name == "early")
    separability = FAMILIES["joint"].studies[0]
    watched = replace(separability, arms=(replace(separability.arms[0], evaluate=("seeds_per_task=2",)),))
    families = {"joint": replace(FAMILIES["joint"], studies=(watched, replace(early, arms=early.arms[:2], claims=early.claims[:0])))}
    families["joint"] = replace(families["joint"], collect=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREACT_CACHE", str(out / "cache"))
        found = consistency_run.run(families, SMALL, out, None)
    return {"families": families, "found": found}, out


def test_every_arm_is_run_and_the_page_holds_it(cut_short):
    given, out = cut_short
    families, found = given["families"], given["found"]
    studies = found["families"]["joint"]["studies"]
    assert [row["arm"] for row in studies["early"]["rows"]] == [VANILLA, "consensus of 8"]
    assert all(row["conditions"]["clean"]["n"] == 2 for row in studies["early"]["rows"])
    assert studies["separability"]["rows"][0]["conditions"]["clean"]["n"] == 4
    assert set(studies["separability"]["rows"][0]["measures"]) >= {"d", "AUC", "d, first 40 steps"}
    assert {claim["verdict"] for claim in studies["separability"]["claims"]} <= {"undecided at this size", "reproduced", "not reproduced"}
    pages = factor_report.publish_together(families, found, out / "pages", "consistency")
    text = (out / "pages" / "consistency-early.md").read_text()
    assert len(pages) == 2 and "## Joint: cosmos-policy" in text and "consensus of 8" in text and "fixed before the runs" in text
    assert (out / "pages" / "images" / "consistency-early-joint.png").stat().st_size > 5000


def test_an_arm_that_is_not_finished_is_named_as_missing(cut_short):
    given, out = cut_short
    for result in out.glob("joint/reference/seed-*/evaluations/*/result.json"):
        if "selector" in json.loads((result.parent / "evaluation.json").read_text())["protocol"]:
            result.unlink()
    found = consistency_run.tables(given["families"], SMALL, out)["families"]["joint"]["studies"]["early"]
    assert [row["arm"] for row in found["rows"]] == [VANILLA] and found["missing"] == ["consensus of 8"]
