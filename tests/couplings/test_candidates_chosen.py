"""What is chosen among a model's own candidates: the one that most agree with, and the coupling's own best of N."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.axes import SeededNoise
from foreact.contract.encoded import Proposal
from foreact.contract.errors import ConfigError
from foreact.selection import ActionConsensus, Consensus, Exploring, First, HighestValue, Medoid, Weighted
from tiny_members import alive, config, context


@pytest.fixture
def outvoted():
    """Each candidate imagines where its own action leads: most agree on about 1, every fourth errs by a lot, the first among them."""
    model = alive(config("JointGeneration"))
    form = model.config.dimensions(model.observation, model.action).forms["video"]

    def propose(backbone, encoded, *, noise, session=None):
        drawn = noise("where", (1,))[:, 0]
        place = torch.ones(len(drawn)) + 0.01 * drawn
        place[:: 4] = -1.0
        return Proposal(actions=place[:, None, None].expand(-1, 8, 2),
                        future={"video": place[:, None, None, None].expand(-1, 2, form.tokens, form.channels)})

    model.coupling.propose = propose
    return model


@pytest.mark.parametrize("selector", [Consensus, Medoid, ActionConsensus])
def test_the_candidate_that_errs_is_outvoted(outvoted, selector):
    def plan(chosen, **settings):
        chooses = chosen.Config(candidates=4, **settings).build()
        return outvoted.plan(context(outvoted.config), noise=SeededNoise([1, 2]), selector=chooses)

    wrong, right = plan(First), plan(selector)
    scale = outvoted.action_scaler.inverse(torch.ones(2, 8, 2))
    assert torch.allclose(wrong.actions, outvoted.action_scaler.inverse(-torch.ones(2, 8, 2)))
    assert torch.allclose(right.actions, scale, atol=0.05) and (right.candidates.chosen != 0).all()
    assert (right.candidates.scores[:, 0] < right.candidates.scores[:, 1:].amin(dim=1)).all()
    mixed = plan(Weighted, temperature=100.0).actions  # hot enough to be the plain mean, which the error pulls along
    assert torch.allclose(mixed, outvoted.action_scaler.inverse(0.5 * torch.ones(2, 8, 2)), atol=0.05)


def test_the_couplings_own_best_of_n_is_highest_value_by_the_same_candidates():
    """`LatentFrames.candidates` and `HighestValue` draw and name their noise each in its own way; given the same, they do the same."""
    many = config("LatentFrames")
    own = alive(many)
    other = alive(replace(many, coupling=replace(many.coupling, candidates=1)))
    other.load_state_dict(own.state_dict())
    rows = {name: SeededNoise([7, 8])(name, (3, *own.coupling.sequence.shape)) for name in ("sequence", "value")}

    def whole(name, shape):
        assert shape == rows[name].shape[1:]
        return rows[name]

    def apart(name, shape):
        base, _, number = name.partition(" of candidate ")
        return rows[base][:, int(number or 0)][:, None]

    found = own.plan(context(many), noise=whole)
    chosen = other.plan(context(many), noise=apart, selector=HighestValue.Config(candidates=3).build())
    assert found.candidates.chosen.tolist() == chosen.candidates.chosen.tolist()
    assert torch.allclose(found.candidates.scores.double(), chosen.candidates.scores, atol=1e-4)
    assert torch.allclose(found.actions, chosen.actions, atol=1e-4)
    for name, values in found.future.parts.items():
        assert torch.allclose(values, chosen.future.parts[name], atol=1e-3)


def test_exploring_needs_a_world():
    model = alive(config("JointGeneration"))
    with pytest.raises(ConfigError, match="can be put back"):
        model.plan(context(model.config), selector=Exploring.Config(candidates=2).build())
