"""How a server ends: told to, it answers what was asked; killed, its clients come back to the next one; and connections that only break."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from foreact.serving.background import serving
from foreact.serving.settings import ServerSettings
from foreact.serving.wire import pack
from foreact_client import Client, Unreachable

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def children():
    """Tells the script beside this file what to do with its server."""
    paths = [str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen([sys.executable, ROOT / "tests" / "serving" / "tiny_server.py"], text=True, stderr=subprocess.DEVNULL,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))})

    def tell(words):
        process.stdin.write(words + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    yield tell
    process.stdin.close()
    process.wait(20)
    process.stdout.close()


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_client_outlives_a_killed_server(children, port, episode):
    assert children(f"start {port}") == "ready"
    with Client(f"ws://127.0.0.1:{port}") as client:
        client.reset(seed=11, episode="mine")
        before = [client.plan(seen).actions for seen in episode(1)[:2]]
        assert children("kill") == "killed"
        told = {}
        thread = threading.Thread(target=lambda: told.update(plan=client.plan(episode(1)[0], executed=3)))
        thread.start()
        time.sleep(0.2)
        assert children(f"start {port}") == "ready"
        thread.join()
        assert client.restarts == 1
        assert told["plan"].about | {"episode": "mine", "seed": 11, "call": 0} == told["plan"].about
        assert np.array_equal(told["plan"].actions, before[0]), "the episode began anew, with its seed"
        assert np.array_equal(client.plan(episode(1)[1]).actions, before[1])
    assert children("term") == "told" and children("wait") == "0"


def test_told_to_stop_it_answers_what_was_asked(children, port, episode):
    assert children(f"start {port}") == "ready"
    address = f"ws://127.0.0.1:{port}"
    with connect(address, compression=None) as asking, connect(address, compression=None) as resting:
        asking.recv()
        resting.recv()
        asking.send(pack(episode(1)[0]))
        time.sleep(0.002)  # it is being planned, or waits to be
        assert children("term") == "told"
        assert isinstance(asking.recv(timeout=20), bytes)
        for socket_ in (asking, resting):
            with pytest.raises(ConnectionClosed) as caught:
                socket_.recv(timeout=20)
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1001, "the server is stopping")
    assert children("wait") == "0"
    with pytest.raises(Unreachable, match=r"no answer in 0\.1 s"):
        Client(address, patience=0.1)


class Cut:
    """Between client and server: passes bytes on, and cuts every connection when told."""

    def __init__(self, port):
        self._target, self._listener, self._made = port, socket.create_server(("127.0.0.1", 0)), []
        self.port = self._listener.getsockname()[1]
        self.mute = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            self._made += [near, far]
            for source, sink, muted in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pass, args=(source, sink, muted), daemon=True).start()

    def _pass(self, source, sink, muted):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not (muted and self.mute):
                    sink.sendall(data)

    def cut(self):
        for one in self._made:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._made.clear()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


@pytest.mark.parametrize("kind", ["model", "streamed"])
def test_a_broken_connection_changes_no_action(kind, request, episode):
    """Also where the answer was made and got lost: the question is asked again, and counts once."""
    with serving(request.getfixturevalue(kind), ServerSettings(port=0)) as address:
        with Client(address) as client:
            whole = [client.plan(seen).actions for seen in episode(1)]
        cut = Cut(int(address.rpartition(":")[2]))
        with Client(f"ws://127.0.0.1:{cut.port}") as client:
            broken = [client.plan(episode(1)[0]).actions]
            cut.cut()
            broken.append(client.plan(episode(1)[1], executed=3).actions)
            cut.mute = True

            def come_back():
                time.sleep(0.5)  # the answer is lost meanwhile
                cut.mute = False
                cut.cut()

            thread = threading.Thread(target=come_back)
            thread.start()
            broken.append(client.plan(episode(1)[2]).actions)
            thread.join()
            broken.append(client.plan(episode(1)[3]).actions)
            assert client.restarts == 0
        cut.close()
    assert all(np.array_equal(a, b) for a, b in zip(whole, broken, strict=True))


