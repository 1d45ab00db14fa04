"""Laid out by columns, weights are the same numbers in the same parameters, and only those that gain are touched."""

import torch
from torch import nn

from foreact.acting.rehearsal import rehearsal
from foreact.contract.axes import SeededNoise
from foreact.evaluation.sources import ModelSource
from foreact.nets.by_columns import lay_by_columns, lies_by_columns
from tiny_members import alive, config


def test_the_same_numbers_lie_by_columns():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(48, 80), nn.GELU(), nn.Linear(80, 16)).requires_grad_(False)
    x = torch.randn(5, 48)
    before, kept, saved = net(x), list(net.parameters()), {name: value.clone() for name, value in net.state_dict().items()}
    lay_by_columns(net)
    assert all(layer.weight.t().is_contiguous() for layer in (net[0], net[2]))
    assert all(a is b for a, b in zip(net.parameters(), kept, strict=True))
    assert all(torch.equal(value, saved[name]) for name, value in net.state_dict().items())
    torch.testing.assert_close(net(x), before, rtol=1e-5, atol=1e-6)


def test_what_is_trained_or_large_or_rounded_stays_by_rows():
    trained, rounded = nn.Linear(8, 8), nn.Linear(8, 8).requires_grad_(False).to(torch.bfloat16)
    large = nn.Linear(1025, 1024).requires_grad_(False)
    for layer in (trained, rounded, large):
        lay_by_columns(layer)
        assert layer.weight.is_contiguous()


def test_other_processes_are_given_the_layout_and_the_same_identity():
    rows = alive(config("JointGeneration")).requires_grad_(False)
    columns = ModelSource.of(rows).build()
    assert not lies_by_columns(columns)
    lay_by_columns(columns)
    assert ModelSource.of(columns).identity == ModelSource.of(rows).identity
    again = ModelSource.of(columns).build()
    assert lies_by_columns(again)
    first, second = (model.plan(rehearsal(model), noise=SeededNoise([0])).actions for model in (columns, again))
    assert torch.equal(first, second)
