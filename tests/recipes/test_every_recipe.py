"""One suite over every recipe in the catalogue: its card, its sizes, a few steps of learning, a plan."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.config import decode, encode
from foreact.contract.errors import ConfigError
from foreact.contract.specs import CameraSpec
from foreact.recipes.catalogue import baseline, names, recipe
from foreact.recipes.recipe import parameters
from foreact.training.run import Run
from recipe_windows import fitted, metaworld_specs, recipe_window
from tiny_members import ACTION, OBSERVATION

EVERY = names()
SIZED_RECIPES = [(name, size) for name in EVERY for size in recipe(name).sizes]
LABEL_FREE = {"avdc"}
"""Recipes that learn from no action: what they act by is worked out from the picture."""
SIZED = replace(ACTION, names=("x", "y", "z", "gripper"), low=(-1.0,) * 4, high=(1.0,) * 4, unit_metres=0.01)


def seen_by(run):
    """What Meta-World shows, in pictures of the size that the run is for, square or not."""
    (height, width), shown = run.windows.image_size, metaworld_specs(run)[0]
    return replace(shown, cameras=tuple(replace(camera, height=height, width=width) for camera in shown.cameras))


def test_the_catalogue_has_what_the_folder_has():
    assert {"joint", "jepa"} <= set(EVERY)


def test_a_misspelt_recipe_or_size_is_told_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'joint'"):
        recipe("jont")
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        recipe("joint").run("tny")


@pytest.mark.parametrize("name", EVERY)
def test_the_card_says_what_the_classes_say(name):
    found = recipe(name)
    card = found.card
    assert found.name == name
    assert {"tiny", "paper"} <= set(found.sizes) <= {"tiny", "base", "paper"}
    for size in found.sizes:
        model = found.run(size).model
        coupling, regime = (type(p).owner for p in (model.coupling, model.regime))
        assert regime.name in card.axes["regime"]
        assert coupling.family in card.axes["coupling"] or name in ("fast-wam", "geosem-wam")
    assert all(sentence.endswith(".") for sentence in (card.philosophy, *card.deviations))
    assert str(card.year) in card.bibtex
    assert card.arxiv in card.bibtex


def test_the_first_two_recipes_differ_on_all_four_axes():
    one, other = recipe("joint").card.axes, recipe("jepa").card.axes
    assert all(one[axis] != other[axis] for axis in one)


@pytest.mark.parametrize(("name", "size"), SIZED_RECIPES)
def test_a_run_is_data_that_reads_back_identically(name, size):
    run = recipe(name).run(size)
    assert (run.recipe, run.size) == (name, size)
    assert decode(Run, encode(run)) == run
    trained = {s for stage in run.training.stages for s in stage.train}
    assert trained == ({"video"} if name in LABEL_FREE else {"video", "action"})


@pytest.mark.parametrize("name", EVERY)
def test_the_full_size_is_as_large_as_stated(name):
    """Counted on the meta device. When a network changes on purpose, so does the number in the recipe."""
    found = recipe(name)
    run = found.run("paper")
    counts = parameters(run.model, seen_by(run), SIZED)
    assert set(found.without) < set(counts)
    assert sum(count for part, count in counts.items() if part not in found.without) == found.parameters


@pytest.mark.parametrize("name", [name for name, size in SIZED_RECIPES if size == "base"])
def test_the_base_size_is_about_a_hundred_million(name):
    run = recipe(name).run("base")
    assert 60e6 < sum(parameters(run.model, seen_by(run), SIZED).values()) < 200e6


@pytest.mark.parametrize("future", [True, False], ids=["future", "no-future"])
@pytest.mark.parametrize("name", EVERY)
def test_the_smallest_size_learns_and_plans(name, future):
    run = recipe(name).run("tiny")
    run = run if future else baseline(run)
    torch.manual_seed(0)
    model = fitted(run.model.build(*metaworld_specs(run)))
    window, train = recipe_window(model), frozenset(run.training.stages[-1].train)
    optimiser = torch.optim.AdamW([p for _, p in model.parameters_to_train()], lr=1e-3)
    totals = []
    for _ in range(4):
        losses = model.losses(window, train=train, generator=torch.Generator().manual_seed(0))
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
        totals.append({n: float(v.detach()) for n, v in losses.items()})
    assert set(totals[0]) == {"action"} or future
    assert sum(totals[-1].values()) < sum(totals[0].values())
    plan = model.eval().plan(window.context)
    assert plan.actions.shape == (2, run.model.coupling.horizon, 4)
    assert plan.actions.isfinite().all()
    if plan.future is not None:
        assert future
        assert plan.future.offsets == run.model.coupling.future_offsets
        assert plan.future.values.shape[1] == len(plan.future.offsets)


@pytest.mark.parametrize(("name", "size"), SIZED_RECIPES)
def test_the_baseline_has_the_whole_budget_for_the_action_alone(name, size):
    run = recipe(name).run(size)
    other = baseline(run)
    assert sum(s.steps or 0 for s in other.training.stages) == sum(s.steps or 0 for s in run.training.stages)
    assert sum(s.seconds or 0 for s in other.training.stages) == sum(s.seconds or 0 for s in run.training.stages)
    assert all("action" in s.train for s in other.training.stages)
    assert other.model == run.model.without_future()
    assert decode(Run, encode(other)) == other


def test_the_tiny_observation_of_the_other_tests_is_not_a_recipes():
    """Cameras that a recipe cannot take are refused by name before anything is built."""
    with pytest.raises(ConfigError, match="do not fit"):
        recipe("joint").run("tiny").model.check(replace(OBSERVATION, cameras=(CameraSpec(name="front", height=60, width=60),)), ACTION)
