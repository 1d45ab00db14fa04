"""The direct decoder knows the future and the state, and learns what they say from few rows."""

from dataclasses import replace

import pytest
import torch

from foreact.contract.errors import MisfitError
from foreact.couplings import DirectDecoder, PostPredictionHead
from foreact.nets.head import Readable, Reading
from tiny_members import COUPLINGS, alive, config, window


def built(noise=0.0, batch=4):
    model = alive(config("PostPredictionHead:direct"))
    head = DirectDecoder.Config(hidden=(32,), noise=noise).build(model.coupling.head.readable)
    return head, model.encode_window(window(model.config, batch=batch))


def test_it_sees_neither_picture_nor_word():
    head, encoded = built()
    act = lambda seen: head.act(Reading(context=seen, futures=encoded.future), noise=lambda name, shape: None)  # noqa: E731
    other = replace(encoded, frame=encoded.frame.flip(0), text=encoded.text + 1)
    assert torch.equal(act(encoded), act(other))
    assert not torch.allclose(act(encoded), act(replace(encoded, state=encoded.state.flip(0))), atol=1e-4)
    flipped = head.act(Reading(context=encoded, futures={n: x.flip(0) for n, x in encoded.future.items()}), noise=lambda name, shape: None)
    assert not torch.allclose(act(encoded), flipped, atol=1e-4)


def test_it_learns_what_the_future_says_from_the_rows_that_are_known():
    head, encoded = built(batch=64)
    rows = torch.Generator().manual_seed(0)
    futures = {n: torch.randn(64, *x.shape[1:], generator=rows) for n, x in encoded.future.items()}
    state = torch.randn(64, encoded.state.shape[1], generator=rows)
    context = replace(encoded, state=state)
    actions = torch.stack([futures["video"][:, 0, 0, :2] * (i + 1) / 8 + state[:, :2] for i in range(8)], dim=1)
    known = (torch.arange(64) < 40)[:, None].expand(-1, 8)
    wrong = torch.where(known[..., None], actions, -actions)
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = head.loss(Reading(context=context, futures=futures), wrong, known, generator=rows)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]
    found = head.act(Reading(context=context, futures=futures), noise=lambda name, shape: None)
    assert (found - actions)[:40].square().mean() < 0.1 * actions.square().mean()


def test_noise_on_the_future_is_drawn_from_the_generator_and_not_when_acting():
    head, encoded = built(noise=0.5)
    reading = Reading(context=encoded, futures=encoded.future)
    losses = [head.loss(reading, encoded.actions, encoded.known_actions, generator=torch.Generator().manual_seed(seed)).item()
              for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    assert torch.equal(*(head.act(reading, noise=lambda name, shape: None) for _ in range(2)))


def test_it_refuses_to_be_blind():
    head, _ = built()
    blind = Readable(dimensions=head.readable.dimensions, horizon=8)
    with pytest.raises(MisfitError, match="reads finished futures"):
        DirectDecoder.Config().build(blind)
    bare: PostPredictionHead.Config = COUPLINGS["PostPredictionHead:direct"].without_future()
    assert bare.head.sees_present
