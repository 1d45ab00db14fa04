"""Whatever one client does, the others are served: in time, with the same actions, and nothing of it stays."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from foreact.serving.background import serving
from foreact.serving.settings import ServerSettings
from foreact.serving.wire import WireLimits, pack, unpack
from foreact_client import Client, Refused
from served import frame, get, opened, until
from tiny_members import ACTION, OBSERVATION, alive, config

ROOT = Path(__file__).resolve().parents[2]
LIMITS = WireLimits(bytes=1 << 20)
DELAYED = 15
"""A plan beside the crowd takes so many times as long as the slowest alone, at most; measured, about four times, on two cores that others
were using as well. A client that is starved waits for ever."""


def gauge(address, name):
    _, page = get(address, "/metrics")
    return float(next(line for line in page.splitlines() if line.startswith(name + " ")).split()[1])


@contextlib.contextmanager
def crowd(address):
    """Clients of the worst kind, in a process of their own; yields what they did, once they are told to stop."""
    paths = [str(ROOT / "clients" / "foreact-client" / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen([sys.executable, ROOT / "tests" / "serving" / "crowd.py", address], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))})
    assert process.stdout.readline().strip() == "begun"
    done = {}
    try:
        yield done
        told, _ = process.communicate("stop\n", timeout=30)
        done.update(json.loads(told))
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0


def descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def plans(client, episode):
    """The actions of an episode, and how long its slowest plan took."""
    actions, longest = [], 0.0
    client.reset(seed=0)
    for seen in episode:
        began = time.monotonic()
        actions.append(client.plan(seen).actions)
        longest = max(longest, time.monotonic() - began)
    return actions, longest


def test_others_are_served_as_if_nothing_were(model, episode):
    with serving(model, ServerSettings(port=0, mistakes=20, batch=4)) as address, Client(address) as client:
        alone, longest_alone = plans(client, episode(1, 8))
        threads, before = threading.active_count(), descriptors()
        with crowd(address) as done:
            beside, longest = plans(client, episode(1, 8))
        assert all(np.array_equal(a, b) for a, b in zip(alone, beside, strict=True))
        assert longest < DELAYED * longest_alone, f"{longest:.2f} s, and {longest_alone:.2f} s alone"
        assert all(n > 0 for n in done.values()), done
        assert get(address, "/healthz") == (200, "OK\n")
        until(lambda: gauge(address, "foreact_sessions_connected") == 1)
        until(lambda: threading.active_count() <= threads and descriptors() <= before + 1)


def test_who_only_sends_mistakes_is_let_go(address):
    with connect(address, compression=None) as evil:
        evil.recv()
        for _ in range(8):
            evil.send(b"\xc1")
            assert "no msgpack" in evil.recv()
        with pytest.raises(ConnectionClosed) as caught:
            evil.recv()
    assert caught.value.rcvd.code == 1008


def test_a_message_past_the_cap_ends_its_connection_only(address, episode):
    with Client(address) as client, connect(address, compression=None) as evil:
        evil.recv()
        with pytest.raises(ConnectionClosed) as caught:
            evil.send(b"x" * (client.metadata["message_bytes"] + 1))
            evil.recv()
        assert caught.value.rcvd is None or caught.value.rcvd.code == 1009
        assert client.plan(episode(1)[0]).actions.shape == (8, 2)


def test_who_does_not_read_is_let_go():
    """Asks again and again for an answer with pictures, which is made once, and reads none."""
    large = replace(OBSERVATION, cameras=tuple(replace(camera, height=64, width=64) for camera in OBSERVATION.cameras))
    seen = {"images": {c.name: np.zeros((64, 64, 3), np.uint8) for c in large.cameras}, "state": np.zeros(3, np.float32), "prompt": "go"}
    model = config("JointGeneration").build(large, ACTION).eval()
    with serving(model, ServerSettings(port=0, send_seconds=0.3, lanes=1, batch=1)) as address, Client(address) as client:
        evil = opened(address)
        evil.settimeout(60)
        asked = frame(2, pack({**seen, "foreact": {"imagine": True, "request": 1}}))

        def flood():
            with contextlib.suppress(ConnectionError):
                while True:
                    evil.sendall(asked)

        thread = threading.Thread(target=flood)
        thread.start()
        assert client.plan(seen).actions.shape == (8, 2)
        thread.join(60)
        assert not thread.is_alive(), "the server hung up"
        evil.close()
        assert 'outcome="slow"' in get(address, "/metrics")[1]


def test_silence_ends_a_session_and_a_broken_one_is_kept_for_a_while(model, episode):
    with serving(model, ServerSettings(port=0, idle_seconds=0.4, keep_seconds=1.0, batch=4)) as address:
        with connect(address, compression=None) as silent:
            silent.recv()
            with pytest.raises(ConnectionClosed) as caught:
                silent.recv()
        assert caught.value.rcvd.reason == "silent for 0.4 s"
        with connect(address, compression=None) as client:
            name = unpack(client.recv(), LIMITS)["foreact"]["session"]
            client.send(pack(episode(1)[0]))
            client.recv()
        until(lambda: gauge(address, "foreact_sessions_waiting") == 1)
        until(lambda: gauge(address, "foreact_sessions_waiting") == 0)
        with connect(address, compression=None) as late:
            late.recv()
            late.send(pack({"foreact": {"resume": name}}))
            assert unpack(late.recv(), LIMITS)["foreact"]["resumed"] is False


def test_no_more_sessions_than_there_is_room_for(model):
    with serving(model, ServerSettings(port=0, sessions=2, batch=4)) as address:
        with Client(address), Client(address), pytest.raises(InvalidStatus) as caught:
            connect(address, compression=None).__enter__()
        assert caught.value.response.status_code == 503
        until(lambda: gauge(address, "foreact_sessions_connected") == 0)
        Client(address).close()


def test_a_failure_inside_is_told_without_its_traceback(episode, caplog):
    broken = alive(config("JointGeneration"))
    broken.action_scaler.scale.fill_(float("nan"))
    with serving(broken, ServerSettings(port=0)) as address, Client(address) as client, pytest.raises(Refused) as caught:
        client.plan(episode(1)[0])
    word = str(caught.value).rpartition(" ")[2]
    assert "Traceback" not in str(caught.value) and "finite" not in str(caught.value)
    assert word in caplog.text and "not finite" in caplog.text
