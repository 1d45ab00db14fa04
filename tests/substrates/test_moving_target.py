"""Joint embedding against a moving target: the average, what the context cannot see, what never flows back, no collapse."""

import pytest
import torch

from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError
from foreact.contract.specs import CameraSpec, ObservationSpec, StateSpec
from foreact.nets.moving_target import MovingTarget, _Encoder, follow
from foreact.nets.vision import Captioned
from foreact.substrates import FrozenFeatures

CONFIG = MovingTarget.Config(width=32, depth=2, heads=2, patch=8, predictor_depth=1, momentum=0.97)
CAMERA = ObservationSpec(cameras=(CameraSpec(name="a", height=32, width=32),), rate_hz=10.0, state=StateSpec(names=("x",), units=("m",)))
STEPS = 100


def images(count, seed):
    """Three squares of their own size and colour, anywhere on a slope."""
    g = torch.Generator().manual_seed(seed)
    found = torch.linspace(0, 90, 32).expand(count, 3, 32, 32).clone()
    for image in found:
        for channel, size in enumerate((6, 9, 5)):
            row, column = (int(torch.randint(0, 33 - size, (1,), generator=g)) for _ in range(2))
            image[channel, row:row + size, column:column + size] = 230
    return found.to(torch.uint8)


def test_the_target_follows_by_the_formula_and_the_context_does_not_move():
    torch.manual_seed(0)
    target, context = (_Encoder(8, 1, 2, 8, 4).double() for _ in range(2))
    before = [p.clone() for p in target.parameters()]
    held = [p.clone() for p in context.parameters()]
    follow(target, context, 0.9)
    for was, given, now in zip(before, held, target.parameters(), strict=True):
        assert torch.allclose(now, 0.9 * was + 0.1 * given, atol=1e-15)
    assert all(torch.equal(a, b) for a, b in zip(held, context.parameters(), strict=True))


def test_nothing_but_the_average_reaches_the_target():
    """With m = 1 the target stays what it was, bit by bit, whatever the context learns; with m below 1 all of it moves."""
    for momentum in (1.0, 0.9):
        torch.manual_seed(0)
        encoder = MovingTarget.Config(width=8, depth=1, heads=2, patch=8, predictor_depth=1, momentum=momentum).build(32, 32)
        before = {n: p.clone() for n, p in encoder.named_parameters()}
        encoder.fit((Captioned(images(8, s)) for s in range(5)), steps=5, seed=0)
        assert {n: torch.equal(p, before[n]) for n, p in encoder.named_parameters()} == dict.fromkeys(before, momentum == 1.0)
        assert all(p.grad is None for p in encoder.parameters())


def test_hidden_patches_do_not_exist_for_the_context():
    torch.manual_seed(0)
    encoder = CONFIG.build(32, 32)
    x = torch.rand(2, 3, 32, 32)
    shown, hidden = encoder._block(2, x.device)
    covered = torch.zeros(2, 16, dtype=torch.bool).scatter(1, hidden, True).view(2, 1, 4, 4)
    covered = covered.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    context = encoder.target
    assert torch.equal(context(x, shown), context(torch.where(covered, 0.0, x), shown))
    assert not torch.allclose(context(x, shown), context(torch.where(covered, x, 0.0), shown), atol=1e-3)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_what_is_hidden_is_one_rectangle(share):
    torch.manual_seed(0)
    encoder = MovingTarget.Config(width=8, depth=1, heads=2, patch=8, hidden=share).build(32, 64)
    areas = set()
    for _ in range(20):
        shown, hidden = encoder._block(5, torch.device("cpu"))
        assert torch.equal(torch.cat([shown, hidden], dim=1).sort(dim=1).values, torch.arange(32).expand(5, -1))
        for places in hidden:
            rows, columns = (places // 8).unique(), (places % 8).unique()
            assert len(rows) * len(columns) == len(places)
            assert torch.equal(rows, torch.arange(rows[0], rows[-1] + 1))
            assert torch.equal(columns, torch.arange(columns[0], columns[-1] + 1))
        areas.add(len(places))
    assert sum(areas) / len(areas) / 32 == pytest.approx(share, abs=0.13)
    assert max(areas) < 32


def test_it_does_not_collapse_on_a_little_data():
    """The same 256 frames again and again, 100 steps: many directions, frames apart, each known again. A collapse gives 1, 0, 1/32."""
    torch.manual_seed(0)
    substrate = FrozenFeatures.Config(encoder=CONFIG, grid=(4, 4)).build(CAMERA)
    untouched = {n: p.clone() for n, p in substrate.encoder.named_parameters()}
    scenes = [Scene(images={"a": images(32, s)[:, None]}) for s in range(9)]
    measured = substrate.fit((scenes[i % 8] if i < STEPS else scenes[8] for i in range(STEPS + 1)), steps=STEPS, seed=0)
    assert not any(torch.equal(p, untouched[n]) for n, p in substrate.encoder.named_parameters())
    assert measured["effective_rank"] > 6
    assert measured["variation"] > 0.3
    assert measured["retrieval"] > 0.9


def test_cameras_that_do_not_divide_into_patches_are_refused():
    with pytest.raises(MisfitError, match="do not fit"):
        CONFIG.build(36, 32)
