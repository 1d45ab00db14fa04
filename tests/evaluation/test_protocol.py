"""Protocols: one fingerprint for one content, and no comparison across a difference that nobody named."""

import json

import pytest

from foreact.contract.errors import ConfigError, ProtocolMismatchError
from foreact.contract.specs import CameraSpec
from foreact.evaluation.protocol import Protocol, require_same

FIELDS = {"suite": "metaworld", "tasks": ("drawer-open", "door-open"), "condition": ["clean"], "horizon": 150,
          "cameras": (CameraSpec(name="corner", height=64, width=64),), "versions": {"mujoco": "3.3.0", "metaworld": "3.1.1"}}


def test_fingerprint_depends_on_content_alone():
    a = Protocol.of(FIELDS)
    b = Protocol.of(dict(reversed(FIELDS.items())))
    read_back = Protocol(json.loads(a.canonical))
    assert a.fingerprint == b.fingerprint == read_back.fingerprint and len(a.fingerprint) == 64
    assert a == read_back
    assert Protocol.of({**FIELDS, "horizon": 151}).fingerprint != a.fingerprint


def test_every_differing_field_is_shown():
    other = Protocol.of({**FIELDS, "horizon": 200, "versions": {"mujoco": "3.4.0", "metaworld": "3.1.1"}, "extra": 1})
    with pytest.raises(ProtocolMismatchError) as error:
        require_same(Protocol.of(FIELDS), other)
    text = str(error.value)
    assert "horizon: 150 against 200" in text and "versions.mujoco: '3.3.0' against '3.4.0'" in text
    assert "extra: '(absent)' against 1" in text and "metaworld:" not in text


def test_a_span_must_be_named():
    clean, random = Protocol.of(FIELDS), Protocol.of({**FIELDS, "condition": ["random"]})
    with pytest.raises(ProtocolMismatchError, match="condition"):
        require_same(clean, random)
    require_same(clean, random, across=("condition",))
    with pytest.raises(ConfigError, match="did you mean 'condition'"):
        require_same(clean, random, across=("conditions",))
