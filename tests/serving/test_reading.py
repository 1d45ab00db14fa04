"""A stranger's bytes are a request or one clear refusal: nothing else, quickly, whatever they are."""

import time

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreact.contract.errors import SpecError
from foreact.serving.requests import Request, read_request
from foreact.serving.wire import WireLimits, pack, unpack
from tiny_members import ACTION, OBSERVATION

LIMITS = WireLimits(bytes=100_000)
GOOD = {"images": {c.name: np.zeros((c.height, c.width, 3), np.uint8) for c in OBSERVATION.cameras}, "state": np.zeros(3, np.float32),
        "prompt": "go"}
LONGEST = 1.0
"""Seconds, on a machine that does something else as well; one takes about a millisecond."""


def read(message):
    """What the server does with a frame."""
    began = time.process_time()
    try:
        return read_request(unpack(message, LIMITS), OBSERVATION, ACTION, horizon=8)
    finally:
        assert time.process_time() - began < LONGEST


def refused(message, said):
    with pytest.raises(SpecError) as caught:
        read(message)
    assert said in str(caught.value), str(caught.value)
    assert len(str(caught.value)) < 1500 and "Traceback" not in str(caught.value)


def test_a_good_one_is_read():
    request = read(pack({**GOOD, "foreact": {"seed": 3, "executed": np.zeros((2, 2), np.float32)}}))
    assert request.observation["images"]["front"].shape == (3, 16, 16) and request.seed == 3 and request.executed.shape == (2, 2)


def array(data=b"", dtype="|u1", shape=(0,)):
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}


@pytest.mark.parametrize(("message", "said"), [
    (b"", "no msgpack"),
    (b"\x82\xa1a", "no msgpack"),
    (b"\xc1", "no msgpack"),
    (pack(GOOD)[:-3], "no msgpack"),
    (pack(GOOD) + b"\x00", "no msgpack"),
    (b"\x91" * 2000, "no msgpack"),
    (b"\x91" * 900 + b"\x00", "map with words for keys"),
    (b"\xdd\xff\xff\xff\xff", "no msgpack"),
    (b"\xdd\x00\x01\x86\x9f" * 600, "no msgpack"),
    (b"\xdf\xff\xff\xff\xff", "no msgpack"),
    (b"\xc6\xff\xff\xff\xffx", "no msgpack"),
    (b"\x9f" + b"\x80" * 5000, "no msgpack"),
    (b"\xdc\x10\x00" + b"\x80" * 4096, "too many maps"),
    (msgpack.packb({"a": msgpack.ExtType(1, b"x")}), "no msgpack"),
    (msgpack.packb(msgpack.Timestamp(1)), "no msgpack"),
    (b"\x81\xa4\xff\xff\xff\xff\x01", "no msgpack"),
    (b"\x81\x01\x02", "no msgpack"),
    (msgpack.packb([1, 2]), "map with words for keys"),
    (msgpack.packb({}), "the message is empty"),
    (b"x" * 100_001, "too large"),
    (msgpack.packb({"state": array(b"\x00" * 8, "O", (1,))}), "plain numbers"),
    (msgpack.packb({"state": array(b"\x00" * 8, "|O8", (1,))}), "plain numbers"),
    (msgpack.packb({"state": array(b"\x00" * 8, "V8", (1,))}), "plain numbers"),
    (msgpack.packb({"state": array(b"\x00" * 8, "f4,f4", (1,))}), "plain numbers"),
    (msgpack.packb({"state": array(b"\x00" * 8, "M8[s]", (1,))}), "plain numbers"),
    (msgpack.packb({"state": array(b"\x00" * 8, {"names": ["a"]}, (1,))}), "plain numbers"),
    (msgpack.packb({"state": array(b"\x00" * 8, "<f4", (2**62, 2**62))}), "no such shape"),
    (msgpack.packb({"state": array(b"\x00" * 8, "<f4", (-1, -2))}), "no such shape"),
    (msgpack.packb({"state": array(b"\x00" * 8, "<f4", (True, 2))}), "no such shape"),
    (msgpack.packb({"state": array(b"\x00" * 8, "<f4", (1,) * 40)}), "no such shape"),
    (msgpack.packb({"state": array(b"\x00" * 8, "<f4", (3,))}), "do not fill"),
    (msgpack.packb({"state": array("text", "<f4", (1,))}), "are bytes"),
    (msgpack.packb({"state": {b"__npgeneric__": True, b"data": b"x", b"dtype": "<f4"}}), "holds one number"),
    (msgpack.packb({"state": {b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}}), "does not fit"),
    (pack({**GOOD, "extra": 1}), "was not trained with this"),
    (pack({**GOOD, "images": {"frontal": GOOD["images"]["front"], "hand": GOOD["images"]["hand"]}}), "did you mean 'front'?"),
    (pack({**GOOD, "images": {"front": GOOD["images"]["front"]}}), "images.hand: a camera is missing"),
    (pack({**GOOD, "images": {**GOOD["images"], "front": np.zeros((16, 16, 3), np.float32)}}), "an array of uint8"),
    (pack({**GOOD, "images": {**GOOD["images"], "front": np.zeros((224, 16, 3), np.uint8)}}), "another size than in training"),
    (pack({**GOOD, "observation/images/front": GOOD["images"]["front"]}), "there twice"),
    (pack({**GOOD, "state": np.zeros(4, np.float32)}), "(3,): x, y, z"),
    (pack({**GOOD, "state": np.float32([0, np.nan, 0])}), "not finite"),
    (pack({**GOOD, "state": np.float64([0, 1e300, 0])}), "not finite"),
    (pack({**GOOD, "state": "text"}), "another form"),
    (pack({**GOOD, "prompt": "x" * 3000}), "up to 2000 characters"),
    (pack({"images": GOOD["images"], "state": GOOD["state"]}), "what is the robot to do?"),
    (pack({**GOOD, "foreact": 3}), "a map is needed"),
    (pack({**GOOD, "foreact": {"sed": 3}}), "did you mean 'seed'?"),
    (pack({**GOOD, "foreact": {"seed": -1}}), "whole number"),
    (pack({**GOOD, "foreact": {"reset": 1}}), "true or false?"),
    (pack({**GOOD, "foreact": {"executed": 9}}), "no executed actions"),
    (pack({**GOOD, "foreact": {"executed": np.zeros((2, 3))}}), "no executed actions"),
    (pack({**GOOD, "foreact": {"resume": "x" * 201}}), "up to 200 characters"),
    (pack({"images": {"images": {"images": {"images": {"images": {}}}}}}), "nested too deep"),
], ids=lambda x: str(x)[:30] if isinstance(x, str) else "")
def test_what_is_wrong_is_said(message, said):
    refused(message, said)


SIZES = st.lists(st.one_of(st.integers(-3, 8), st.integers(0, 2**63)), max_size=8)
KINDS = st.one_of(st.sampled_from(["|u1", "<f4", "O", "<c8", "|S4", ""]), st.text(max_size=4))
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=8), st.binary(max_size=8),
                   st.builds(array, st.binary(max_size=16), KINDS, SIZES))
WORDS = st.sampled_from(["images", "front", "hand", "state", "prompt", "foreact", "seed", "executed", "resume", "observation/state",
                         "observation", "task", b"__ndarray__", b"data", b"dtype", b"shape", b"__npgeneric__"])
MESSAGES = st.recursive(LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.one_of(WORDS, st.text(max_size=4)),
                                                                                                    inner, max_size=6)), max_leaves=16)


def survives(message):
    try:
        assert isinstance(read(message), Request)
    except SpecError as error:
        assert len(str(error)) < 1500


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(message):
    survives(message)


@settings(max_examples=150, deadline=None)
@given(MESSAGES)
def test_any_message(message):
    survives(msgpack.packb(message))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_good_message_with_a_piece_spoilt(place, piece, cut):
    good = pack({**GOOD, "foreact": {"seed": 1, "executed": 2, "request": 3, "episode": "e"}})
    place = place % len(good)
    survives(good[:place] + piece + (b"" if cut else good[place + len(piece):]))
