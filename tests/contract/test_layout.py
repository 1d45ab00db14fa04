"""Masks against tables written by hand, and the groups that a cache may keep."""

import pytest
import torch

from foreact.contract.errors import MisfitError
from foreact.contract.layout import Layout, Sight, Stream


def stream(name, *times):
    return Stream(name=name, channels=4, expert=name, positions=tuple((float(t), 0.0, 0.0) for t in times))


def table(text):
    return torch.tensor([[cell == "1" for cell in row.split()] for row in text.strip().splitlines()])


def test_the_mask_equals_the_table():
    layout = Layout(
        streams=(stream("context", 0, 0), stream("video", 1, 2), stream("action", 0.5, 1, 1.5)),
        sees={"context": (Sight("context"),),
              "video": (Sight("context"), Sight("video")),
              "action": (Sight("context"), Sight("video", "causal"), Sight("action", "past"))})
    expected = table("""
        1 1  0 0  0 0 0
        1 1  0 0  0 0 0
        1 1  1 1  0 0 0
        1 1  1 1  0 0 0
        1 1  0 0  0 0 0
        1 1  1 0  1 0 0
        1 1  1 0  1 1 0
    """)
    assert torch.equal(layout.mask(), expected)


def test_a_clock_says_when_a_token_is_known_whatever_its_time():
    chunks = Stream(name="action", channels=4, expert="action", positions=tuple((t, 0.0, 0.0) for t in (0.25, 0.75, 1.25, 1.75)),
                    clock=(0.0, 0.0, 1.0, 1.0))
    layout = Layout(streams=(stream("seen", 0, 1), chunks), sees={"action": (Sight("seen", "past"), Sight("action", "same"))})
    assert torch.equal(layout.mask()[2:], table("""
        0 0  1 1 0 0
        0 0  1 1 0 0
        1 0  0 0 1 1
        1 0  0 0 1 1
    """))
    later = layout.within({"seen": None, "action": (1.0,)})
    assert (later.names, later["action"].length, later.times("action").tolist()) == (("seen", "action"), 2, [1.25, 1.75])
    assert torch.equal(later.mask()[2:], table("1 0 1 1\n1 0 1 1"))
    assert layout.within({"action": None}).sees == {"action": (Sight("action", "same"),)}
    with pytest.raises(MisfitError, match="one reading for each token"):
        Stream(name="a", channels=1, expert="a", positions=((0.0, 0.0, 0.0),), clock=(0.0, 1.0))


def test_a_stream_sees_nothing_that_is_not_said():
    assert not Layout(streams=(stream("alone", 0, 1),)).mask().any()


@pytest.mark.parametrize(("sees", "rounds"), [
    ({"a": "a", "b": "ab", "c": "abc"}, (("a",), ("b",), ("c",))),
    ({"a": "ab", "b": "ab", "c": "abc"}, (("a", "b"), ("c",))),
    ({"a": "abc", "b": "b", "c": "bc"}, (("b",), ("c",), ("a",))),
    ({"a": "ac", "b": "ab", "c": "ca"}, (("a", "c"), ("b",))),
    ({"a": "b", "b": "c", "c": "a"}, (("a", "b", "c"),)),
    ({"a": "", "b": "", "c": "ab"}, (("a",), ("b",), ("c",))),
])
def test_rounds_put_mutual_sight_together_and_what_is_seen_first(sees, rounds):
    layout = Layout(
        streams=tuple(stream(name, 0) for name in "abc"), sees={n: tuple(Sight(m) for m in seen) for n, seen in sees.items()}
    )
    assert layout.rounds() == rounds


def test_a_layout_refuses_streams_that_it_does_not_have():
    with pytest.raises(MisfitError, match="vidoe"):
        Layout(streams=(stream("video", 0),), sees={"video": (Sight("vidoe"),)})
    with pytest.raises(MisfitError):
        Layout(streams=(stream("video", 0), stream("video", 1)))


def test_some_streams_alone_keep_their_tokens_and_see_what_is_left():
    layout = Layout(streams=(stream("context", 0, 0), stream("video", 1, 2), stream("action", 1)),
                    sees={"context": (Sight("context"),), "video": (Sight("context"), Sight("video")),
                          "action": (Sight("video"), Sight("context"))})
    part = layout.only({"action", "context", "elsewhere"})
    assert part.names == ("context", "action")
    assert part.streams == (layout["context"], layout["action"])
    assert part.sees == {"context": (Sight("context"),), "action": (Sight("context"),)}
