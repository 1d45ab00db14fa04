"""Run as a script with a server's address: clients of the worst kind, until a line comes on standard input; then says what they did."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from foreact_client.wire import pack
from served import frame, opened, raw

EVIL = [b"", b"\xc1" * 50, b"\x91" * 5000, b"\xdd\xff\xff\xff\xff" * 40, pack({"state": np.zeros(5000)}), "text", b"\x80" * 3000,
        pack({"foreact": {"resume": "0" * 32}}), pack({"images": 3, "state": None, "prompt": {}})]


class Crowd:
    """Clients of the worst kind, each until it is told to stop."""

    def __init__(self, address):
        self.address, self.over, self.done = address, threading.Event(), Counter()
        self.threads = [threading.Thread(target=self._run, args=(kind, i)) for i, kind in enumerate(
            (self.garbage, self.garbage, self.pings, self.half_open, self.vanishing, self.claims))]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _run(self, kind, seed):
        dice = random.Random(seed)
        while not self.over.is_set():
            with contextlib.suppress(OSError, ConnectionClosed, InvalidStatus, TimeoutError, AssertionError):
                self.done[kind.__name__] += 1
                kind(dice)
            time.sleep(0.03)

    def garbage(self, dice):
        with connect(self.address, compression=None, open_timeout=5, close_timeout=0.2) as client:
            while not self.over.is_set():
                self.done["messages"] += 1
                client.send(dice.choice(EVIL))
                time.sleep(0.005)

    def pings(self, dice):
        """Asks for pongs and reads none."""
        with opened(self.address) as evil:
            for _ in range(200):
                evil.sendall(frame(9, b"x" * 100))

    def half_open(self, dice):
        with raw(self.address, b"GET / HTTP/1.1\r\nHost:"):
            self.over.wait(0.2)

    def vanishing(self, dice):
        """Asks for a plan and is gone."""
        with opened(self.address) as evil:
            asked = frame(2, pack({"foreact": {"reset": True}}))
            evil.sendall(asked[: dice.choice([-3, len(asked)])])
            evil.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def claims(self, dice):
        """Says that much will come."""
        with opened(self.address) as evil:
            evil.sendall(frame(2, b"x", length=2**40))
            evil.recv(4096)


def main() -> None:
    with Crowd(sys.argv[1]) as crowd:
        print("begun", flush=True)
        sys.stdin.readline()
    print(json.dumps(crowd.done))


if __name__ == "__main__":
    main()
