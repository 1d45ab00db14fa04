"""Cosine alignment: the direction counts, the length does not, padded tokens do not."""

import pytest
import torch

from foreact.objectives.alignment import cosine_alignment


def test_it_measures_direction_alone():
    g = torch.Generator().manual_seed(0)
    teacher, keep = torch.randn(2, 3, 5, generator=g), torch.ones(2, 3, dtype=torch.bool)
    assert cosine_alignment(7 * teacher, teacher, keep).item() == pytest.approx(0.0, abs=1e-6)
    assert cosine_alignment(-teacher, teacher, keep).item() == pytest.approx(2.0, abs=1e-6)
    other = torch.randn(2, 3, 5, generator=g)
    by_hand = 1 - (other * teacher).sum(-1) / (other.norm(dim=-1) * teacher.norm(dim=-1))
    assert cosine_alignment(other, teacher, keep).item() == pytest.approx(by_hand.mean().item(), abs=1e-6)


def test_padded_tokens_do_not_count_and_the_teacher_learns_nothing():
    teacher, predicted = torch.randn(1, 2, 4, requires_grad=True), torch.randn(1, 2, 4, requires_grad=True)
    cosine_alignment(predicted, teacher, torch.tensor([[True, False]])).backward()
    assert teacher.grad is None
    assert predicted.grad[0, 0].abs().max() > 0
    assert predicted.grad[0, 1].abs().max() == 0
    assert cosine_alignment(predicted, teacher, torch.zeros(1, 2, dtype=torch.bool)).item() == 0.0
