"""Searches at test time: a known optimum is found, the formulas hold, bounds are kept, the evidence is whole."""

import itertools

import pytest
import torch

from foreact.contract.axes import SeededNoise
from foreact.contract.errors import ConfigError
from foreact.selection import BestCandidate, BestFirstTree, CrossEntropy, PathIntegral
from foreact.selection.candidates import Box, perturbed, stretched, take_best
from foreact.selection.cross_entropy import refit
from foreact.selection.path_integral import path_integral, weights
from foreact.selection.tree import best_first

WIDE = Box(low=torch.full((2, 2), -9.0), high=torch.full((2, 2), 9.0))
BEST = torch.tensor([[[0.5, -0.4]] * 4, [[-0.6, 0.2]] * 4])  # one optimum for each of two episodes
PLANNERS = {
    "BestCandidate": BestCandidate.Config(candidates=256, knots=1),
    "PathIntegral": PathIntegral.Config(candidates=64, knots=1, iterations=4, temperature=0.2),
    "CrossEntropy": CrossEntropy.Config(candidates=64, knots=1, iterations=4, elites=8),
    "BestFirstTree": BestFirstTree.Config(candidates=128, knots=1, depth=2, expansions=8),
}


def quadratic(candidates):
    return -(candidates - BEST[:, None]).square().mean(dim=(2, 3))


def searched(name, *, seeds=(1, 2), box=WIDE, score=quadratic):
    return PLANNERS[name].build(4).search(score, torch.zeros(2, 4, 2), box, SeededNoise(seeds))


@pytest.mark.parametrize("name", sorted(PLANNERS))
def test_a_known_optimum_is_found(name):
    found = searched(name)
    assert (-quadratic(torch.zeros(2, 1, 4, 2)) > 0.15).all()
    assert (found.score > -0.02).all()
    assert torch.allclose(found.actions, BEST, atol=0.3)


@pytest.mark.parametrize("name", sorted(PLANNERS))
def test_the_evidence_is_whole(name):
    """What is executed is one of the candidates, and every score is that of its candidate."""
    asked = []

    def counted(candidates):
        asked.append(candidates.shape[1])
        return quadratic(candidates)

    found = searched(name, score=counted)
    assert found.candidates.actions.shape == (2, sum(asked), 4, 2)
    assert torch.equal(found.candidates.scores, quadratic(found.candidates.actions))
    assert torch.equal(found.candidates.actions[torch.arange(2), found.candidates.chosen], found.actions)


@pytest.mark.parametrize("name", sorted(PLANNERS))
def test_bounds_are_kept_and_the_best_within_them_is_found(name):
    box = Box(low=torch.full((2, 2), -0.3), high=torch.full((2, 2), 0.3))
    found = searched(name, box=box)
    assert found.candidates.actions.abs().max() <= 0.3
    assert found.candidates.actions.abs().max() > 0.29, "the bounds were never met"
    assert torch.allclose(found.actions, BEST.clamp(-0.3, 0.3), atol=0.2)


@pytest.mark.parametrize("name", sorted(PLANNERS))
def test_noise_alone_decides_and_episodes_do_not_meet(name):
    one, again, other = searched(name), searched(name), searched(name, seeds=(1, 3))
    assert torch.equal(one.candidates.actions, again.candidates.actions)
    assert torch.equal(one.actions[0], other.actions[0])
    assert not torch.equal(one.actions[1], other.actions[1])


def test_noise_runs_straight_between_its_knots():
    knots = torch.tensor([0.0, 3.0, 0.0]).view(1, 1, 3, 1)
    assert stretched(knots, 5).flatten().tolist() == [0.0, 1.5, 3.0, 1.5, 0.0]
    assert torch.equal(stretched(knots, 3), knots)
    moved = perturbed(torch.ones(1, 5, 1), knots, 2.0, Box(low=torch.tensor([[-9.0]]), high=torch.tensor([[6.0]])))
    assert moved.flatten().tolist() == [1.0, 4.0, 6.0, 4.0, 1.0]


def test_the_first_of_equals_is_taken():
    found = take_best(torch.arange(3.0).view(1, 3, 1, 1), torch.tensor([[0.0, 1.0, 1.0]]))
    assert (found.candidates.chosen.item(), found.actions.item(), found.score.item()) == (1, 1.0, 1.0)


# --- MPPI -------------------------------------------------------------------------------------------------------------

def test_weights_are_the_softmax_of_the_scores():
    scores = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    by_hand = (scores / 0.5).exp() / (scores / 0.5).exp().sum()
    assert torch.allclose(weights(scores, 0.5), by_hand, atol=1e-12)
    assert torch.allclose(weights(scores, 0.5, relative=True), weights(scores / scores.std(correction=0), 0.5), atol=1e-12)
    assert torch.allclose(weights(1000 * scores + 5, 0.5, relative=True), weights(scores, 0.5, relative=True), atol=1e-9)
    assert weights(torch.zeros(1, 4), 0.1, relative=True).tolist() == [[0.25] * 4]


def test_the_mean_recedes_by_the_weights():
    noise = torch.randn(2, 5, 4, 2, generator=torch.Generator().manual_seed(0))
    found = path_integral(quadratic, torch.zeros(2, 4, 2), lambda i: noise * (i + 1), WIDE, spread=0.5, temperature=0.7, iterations=2,
                          decay=0.5, relative=False)
    mean = torch.zeros(2, 4, 2)
    for scale in (0.5, 0.5):  # the second draw is twice as wide and its spread half
        candidates = torch.cat([mean[:, None], mean[:, None] + scale * noise], dim=1)
        w = (quadratic(candidates) / 0.7).exp()
        mean = (w[..., None, None] * candidates).sum(1) / w.sum(1)[:, None, None]
    assert torch.allclose(found.actions, mean, atol=1e-6)
    assert found.candidates.chosen.tolist() == [12, 12]


# --- CEM --------------------------------------------------------------------------------------------------------------

def test_the_gaussian_is_refitted_to_the_elite():
    candidates = torch.tensor([1.0, 2.0, 4.0, 100.0]).view(1, 4, 1, 1)
    mean, deviation = refit(candidates, torch.tensor([[3.0, 2.0, 1.0, 0.0]]), elites=2, floor=0.1)
    assert (mean.item(), deviation.item()) == (1.5, 0.5)
    assert refit(candidates, torch.tensor([[0.0, 0.0, 0.0, 9.0]]), elites=1, floor=0.1)[1].item() == pytest.approx(0.1)


# --- tree -------------------------------------------------------------------------------------------------------------

def test_the_tree_agrees_with_brute_force():
    """Two episodes, three segments of one step, three options each: all 27 chunks by hand."""
    g = torch.Generator().manual_seed(1)
    options, wanted = torch.randn(2, 3, 3, 1, 2, generator=g), torch.randn(2, 3, 2, generator=g)

    def score(chunks):  # no sum over steps: the order of the choices matters
        return -(chunks.cumsum(dim=2) - wanted[:, None]).square().sum(dim=(2, 3)) - chunks[:, :, 0, 0] * chunks[:, :, 2, 1]

    every = torch.stack([torch.stack([options[:, d, c, 0] for d, c in enumerate(path)], dim=1)
                         for path in itertools.product(range(3), repeat=3)], dim=1)
    best = every[torch.arange(2), score(every).argmax(dim=1)]
    nominal = options[:, :, 0, 0]
    whole = best_first(score, nominal, options, WIDE, expansions=100)
    assert torch.allclose(whole.actions, best)
    assert whole.candidates.scores.shape == (2, 1 + 3 * (1 + 3 + 9))
    assert (best_first(score, nominal, options, WIDE, expansions=2).score <= whole.score).all()


def test_the_node_of_the_highest_score_is_opened_first():
    options = torch.tensor([[0.0, 1.0], [0.0, 10.0]]).view(1, 2, 2, 1, 1)
    found = best_first(lambda x: x.sum(dim=(2, 3)), torch.zeros(1, 2, 1), options,
                       Box(low=torch.tensor([[-99.0]]), high=torch.tensor([[99.0]])), expansions=2)
    # root; its children 0 and 1; then the children of the better one
    assert found.candidates.actions.flatten(2)[0].tolist() == [[0, 0], [0, 0], [1, 0], [1, 0], [1, 10]]
    assert found.actions.flatten().tolist() == [1, 10]


def test_nonsense_is_refused():
    with pytest.raises(ConfigError, match="two candidates"):
        PathIntegral.Config(candidates=1)
    with pytest.raises(ConfigError, match="more knots"):
        BestCandidate.Config(knots=5).build(4)
    with pytest.raises(ConfigError, match="segments divide"):
        BestFirstTree.Config(depth=3).build(4)
