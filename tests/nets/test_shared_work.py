"""What is computed once and used often equals what is computed each time."""

import torch

from foreact.flow.rotary import angles, house, turn, wan, waves
from foreact.nets.attention import attend
from foreact.nets.blocks import CrossAttention
from foreact.nets.once import once, once_per_plan


def test_what_is_looked_at_is_read_once_as_long_as_it_is_the_same():
    asked, text, other = [], torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)

    def make(looked_at):
        asked.append(looked_at)
        return len(asked)

    with once_per_plan():
        assert [once("video", text, make) for _ in range(3)] == [1, 1, 1]
        assert once("action", text, make) == 2
        assert once("action", text, make) == 2
        assert once("video", other, make) == 3
        assert once("video", text, make) == 1
    with once_per_plan():
        assert once("video", text, make) == 4


def test_remembered_keys_and_values_give_what_the_memory_gives():
    torch.manual_seed(0)
    look, x, memory = CrossAttention(16, 12, 2), torch.randn(3, 5, 16), torch.randn(3, 7, 12)
    mask = torch.ones(3, 7, dtype=torch.bool)
    remembered = look.remember(memory)
    assert torch.equal(look.look(x, *remembered, mask), look(x, memory, mask))
    assert torch.allclose(look.look(x, *remembered, None), look(x, memory, mask), atol=1e-4)


def test_acting_attends_as_training_does():
    """Two kernels, which add up in different orders."""
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8, generator=g) for n in (5, 9, 9))
    mask = torch.arange(9).expand(2, 1, 1, 9) < torch.tensor([4, 9])[:, None, None, None]
    for seen in (None, mask):
        taught = attend(q, k, v, seen)
        with torch.no_grad():
            assert torch.allclose(attend(q, k, v, seen), taught, atol=1e-4)


def test_waves_turn_each_pair_by_its_angle():
    places = tuple((t / 2, float(r), float(t * r)) for t in range(3) for r in range(2))
    x = torch.randn(2, 3, 6, 24, generator=torch.Generator().manual_seed(0))
    for rotary in (house(24), wan(24)):
        angle = angles(places, rotary)
        found = turn(x, waves(angle, adjacent=rotary.adjacent), adjacent=rotary.adjacent)
        pairs = x.unflatten(-1, (-1, 2)) if rotary.adjacent else x.unflatten(-1, (2, -1)).transpose(-1, -2)
        wanted = torch.view_as_complex(pairs.contiguous()) * torch.polar(torch.ones_like(angle), angle)
        real = torch.view_as_real(wanted)
        assert torch.allclose(found, (real if rotary.adjacent else real.transpose(-1, -2)).flatten(-2), atol=1e-5)
