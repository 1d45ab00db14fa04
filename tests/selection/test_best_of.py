"""Best of N gives back all the evidence, and what belongs to the choice."""

import torch

from foreact.selection.best_of import best_of, of_the_chosen


def test_the_highest_score_is_chosen_for_each_element_and_the_evidence_kept():
    actions, scores = torch.arange(12.0).view(2, 3, 2, 1), torch.tensor([[0.1, 0.7, 0.3], [0.9, 0.2, 0.9]])
    found = best_of(actions, scores)
    assert found.chosen.tolist() == [1, 0]  # the first of equals
    assert torch.equal(found.actions, actions)
    assert torch.equal(found.scores, scores)
    own = of_the_chosen({"actions": actions, "scores": scores}, found.chosen)
    assert own["actions"].flatten(1).tolist() == [[2.0, 3.0], [6.0, 7.0]]
    assert torch.equal(own["scores"], torch.tensor([0.7, 0.9]))
