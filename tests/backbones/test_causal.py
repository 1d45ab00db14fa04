"""The causal trunk: what comes later changes nothing to the last bit, and what was run is not run again."""

from dataclasses import replace

import pytest
import torch

from foreact.backbones import CausalTransformer
from foreact.contract.axes import Tap
from foreact.contract.errors import MisfitError
from foreact.contract.layout import Layout, Sight, Stream

TIMES = 5
TEXT = {"text": torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(9)),
        "text_mask": torch.tensor([[True, True, False, False]] * 2)}


def stream(name, times, per_time, **options):
    return Stream(name=name, channels=3, expert="video", positions=tuple((float(t), float(p), 0.0) for t in times for p in range(per_time)),
                  **options)


def layout(times=range(TIMES)):
    """Observations, each followed in time by a query for the next one: two tokens and one per time."""
    streams = (stream("seen", times, 2), stream("next", times, 1, query=True, target="sample"))
    return Layout(streams=streams, sees={"seen": (Sight("seen", "causal"),), "next": (Sight("seen", "causal"), Sight("next", "causal"))})


def trunk(seed=0):
    torch.manual_seed(seed)
    made = CausalTransformer.Config(width=16, depth=3, heads=2).build(layout(), 6).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def seen(seed=1):
    return torch.randn(2, 2 * TIMES, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("time", range(1, TIMES))
def test_a_later_observation_leaves_earlier_predictions_as_they_were_to_the_bit(time):
    made, x = trunk(), seen()
    changed = x.clone()
    changed[:, 2 * time:] += 3
    with torch.no_grad():
        tap, other = Tap(("seen",), (3,)), Tap(("seen",), (3,))
        before = made({"seen": x}, layout(), sigma={}, tap=tap, **TEXT)["next"]
        after = made({"seen": changed}, layout(), sigma={}, tap=other, **TEXT)["next"]
    assert torch.equal(before[:, :time], after[:, :time])
    assert torch.equal(tap.states["seen", 3][:, : 2 * time], other.states["seen", 3][:, : 2 * time])
    assert (before[:, time:] - after[:, time:]).abs().amax(dim=(0, 2)).min() > 1e-3


def test_step_by_step_with_a_cache_is_the_same_as_all_at_once():
    made, x = trunk(), seen()
    with torch.no_grad():
        whole = made({"seen": x}, layout(), sigma={}, **TEXT)["next"]
        cache = made.new_cache()
        found = [made({"seen": x[:, 2 * t:2 * t + 2]}, layout((t,)), sigma={}, cache=cache, **TEXT)["next"] for t in range(TIMES)]
    # the same products over the same rows, though in other shapes: float32 rounding, measured below 2e-6
    assert torch.allclose(whole, torch.cat(found, dim=1), atol=2e-5)
    assert len(cache.times["seen"]) == 2 * TIMES


def test_with_a_cache_only_new_tokens_are_computed():
    made, x = trunk(), seen()
    cache, computed = made.new_cache(), []
    made.layers[0].feed_forward.register_forward_hook(lambda module, given, out: computed.append(out.shape[1]))
    with torch.no_grad():
        made({"seen": x[:, :8]}, layout(range(4)), sigma={}, cache=cache, **TEXT)
        made({"seen": x[:, 8:]}, layout((4,)), sigma={}, cache=cache, **TEXT)
    assert computed == [12, 3]


def test_run_again_at_the_same_times_a_stream_takes_the_place_of_what_was_kept():
    made, x = trunk(), seen()
    cache = made.new_cache()
    with torch.no_grad():
        made({"seen": x + 1, "next": x}, layout(), sigma={}, cache=cache, **TEXT)
        again = made({"seen": x, "next": x}, layout(), sigma={}, cache=cache, **TEXT)["next"]
        fresh = made({"seen": x}, layout(), sigma={}, **TEXT)["next"]
    assert torch.equal(again, fresh)
    assert len(cache.times["seen"]) == 2 * TIMES


def test_what_the_future_is_past_of_must_be_kept_or_run():
    made = trunk()
    with pytest.raises(KeyError, match="seen"):
        made({}, layout(), sigma={}, cache=made.new_cache(), **TEXT)


@pytest.mark.parametrize("wrong", [{"noise": "joint"}, {"target": "velocity"}])
def test_noise_has_no_place_in_it(wrong):
    streams = tuple(replace(s, **wrong) if s.name == "next" else s for s in layout().streams)
    with pytest.raises(MisfitError, match="stream 'next'"):
        CausalTransformer.Config(width=16, depth=1, heads=2).build(replace(layout(), streams=streams), 6)


def test_a_token_that_sees_nothing_is_refused():
    blind = replace(layout(), sees=layout().sees | {"seen": (Sight("seen", "past"),)})
    with pytest.raises(MisfitError, match="sees nothing"):
        CausalTransformer.Config(width=16, depth=1, heads=2).build(blind, 6)
