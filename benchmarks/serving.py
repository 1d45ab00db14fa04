"""A server under load: sessions of mixed speeds, malformed messages among them, and every action compared with a lone session's.

    python benchmarks/serving.py [--minutes 10] [--sessions 64] [--malformed 10000] [--out benchmarks/results/serving.json]

The server is a process of its own, one torch thread, a joint model of the smallest recipe's size with random weights; the clients are
threads of this one. Each session pauses between its plans for a time of its own, from a tenth of `--slowest` seconds to all of it.
Meanwhile eight connections send messages that nobody can read. Memory is the server's, read from its /metrics; times are the clients',
from question to answer. At the end some of the sessions are played again, alone on the server: their
actions must be the same to the last bit.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from foreact.contract.specs import ActionSpec, CameraSpec, ObservationSpec, StateSpec
from foreact.contract.storage import atomic_write_json

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients" / "foreact-client" / "src"))
from foreact_client import Client

OBSERVATION = ObservationSpec(cameras=tuple(CameraSpec(name=name, height=64, width=64) for name in ("scene", "gripper")), rate_hz=80.0,
                              state=StateSpec(names=("x", "y", "z", "gripper"), units=("m", "m", "m", "1")))
ACTION = ActionSpec(names=("x", "y", "z", "gripper"), low=(-1.0,) * 4, high=(1.0,) * 4, rate_hz=80.0, reference="delta",
                    frame="end-effector")


def serve() -> None:
    """The server's process: a line with its port on standard output, then until standard input ends."""
    import torch

    from foreact.recipes.catalogue import recipe
    from foreact.serving.background import serving
    from foreact.serving.settings import ServerSettings

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = recipe("joint").run("tiny").model.build(OBSERVATION, ACTION).eval().requires_grad_(False)
    with serving(model, ServerSettings(port=0, sessions=256), name="soak") as address:
        print(address.rpartition(":")[2], flush=True)
        sys.stdin.read()


class Session(threading.Thread):
    """One robot: asks, waits its own time, asks again."""

    def __init__(self, address: str, number: int, until: float, pause: float, plans: int | None = None) -> None:
        super().__init__()
        self.address, self.number, self.until, self.pause, self.plans = address, number, until, pause, plans
        self.seconds: list[float] = []
        self.batches: list[int] = []
        self.digests: list[str] = []

    def run(self) -> None:
        rng, digest = np.random.default_rng(self.number), hashlib.sha256()
        with Client(self.address) as client:
            client.reset(seed=self.number)
            while time.monotonic() < self.until and (self.plans is None or len(self.seconds) < self.plans):
                seen = {"images": {c.name: rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for c in OBSERVATION.cameras},
                        "state": rng.normal(size=4).astype(np.float32), "prompt": f"task {self.number % 7}"}
                began = time.perf_counter()
                plan = client.plan(seen)
                self.seconds.append(time.perf_counter() - began)
                self.batches.append(plan.about["batch"])
                digest.update(plan.actions.tobytes())
                self.digests.append(digest.hexdigest())
                time.sleep(self.pause)


class Malformed(threading.Thread):
    """Sends so many messages that nobody can read, over as many connections as it is let have."""

    def __init__(self, address: str, number: int, messages: int, over: threading.Event) -> None:
        super().__init__()
        self.address, self.dice, self.messages, self.over, self.sent = address, random.Random(number), messages, over, 0

    def run(self) -> None:
        while self.sent < self.messages and not self.over.is_set():
            try:
                with connect(self.address, compression=None, close_timeout=0.5) as socket:
                    socket.recv(timeout=60)
                    while self.sent < self.messages and not self.over.is_set():
                        socket.send(self._message())
                        self.sent += 1
                        socket.recv(timeout=60)
            except (OSError, ConnectionClosed, InvalidStatus, TimeoutError):
                time.sleep(0.05)

    def _message(self) -> bytes | str:
        dice = self.dice
        return dice.choice((
            lambda: dice.randbytes(dice.randrange(2000)), lambda: b"\x91" * dice.randrange(1, 9000), lambda: b"\xdd\xff\xff\xff\xff" * 50,
            lambda: b"\x9f" * 500 + b"\x80" * 5000, lambda: "text " * dice.randrange(100), lambda: dice.randbytes(300_000),
            lambda: bytes.fromhex("81a57374617465" "84c40b5f5f6e6461727261795f5fc3"  # an array of objects
                                  "c40464617461c40100" "c4056474797065a14f" "c40573686170659101"),
        ))()


def resident(port: int) -> float:
    """MiB of the server."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    return float(next(line for line in page.splitlines() if line.startswith("process_resident")).split()[1]) / 2**20


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--malformed", type=int, default=10_000, help="messages that nobody can read")
    parser.add_argument("--slowest", type=float, default=20.0, help="seconds between two plans of the slowest session")
    parser.add_argument("--again", type=int, default=8, help="sessions that are played again, alone")
    parser.add_argument("--plans", type=int, default=20, help="plans of each of these, from the first on")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "serving.json")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        serve()
        return 0
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        result = soak(options, int(server.stdout.readline()))
    finally:
        server.stdin.close()
        server.wait(60)
    result["server_exit_code"] = server.returncode
    atomic_write_json(options.out, result)
    print(json.dumps(result, indent=2))
    return 0 if result["parity"]["equal"] == result["parity"]["played_again"] and server.returncode == 0 else 1


def soak(options: argparse.Namespace, port: int) -> dict[str, object]:
    address, over = f"ws://127.0.0.1:{port}", threading.Event()
    began, until = time.monotonic(), time.monotonic() + 60 * options.minutes
    sessions = [Session(address, n, until, options.slowest * (0.1 + 0.9 * n / options.sessions)) for n in range(options.sessions)]
    evil = [Malformed(address, n, options.malformed // 8, over) for n in range(8)]
    memory = [resident(port)]
    for thread in (*sessions, *evil):
        thread.start()
    while time.monotonic() < until:
        time.sleep(min(5.0, max(0.0, until - time.monotonic())))
        memory.append(resident(port))
    for thread in sessions:
        thread.join()
    took = time.monotonic() - began
    over.set()
    for thread in evil:
        thread.join()
    equal = 0
    step = max(1, options.sessions // max(1, options.again))
    again = [s for s in sessions[::step] if s.digests][: options.again]
    for session in again:
        alone = Session(address, session.number, time.monotonic() + 600, 0.0, plans=min(options.plans, len(session.digests)))
        alone.start()
        alone.join()
        equal += alone.digests == session.digests[: len(alone.digests)]
    seconds = np.array([x for s in sessions for x in s.seconds])
    rows = np.array([x for s in sessions for x in s.batches])
    third = max(1, len(memory) // 3)
    return {
        "setting": {"minutes": round(took / 60, 2), "sessions": options.sessions, "malformed_messages": sum(e.sent for e in evil)},
        "plans": {"n": len(seconds), "per_second": round(len(seconds) / took, 2), "mean_rows": round(float(rows.mean()), 2)},
        "latency_ms": {f"p{q}": round(1e3 * float(np.percentile(seconds, q)), 1) for q in (50, 95, 99)}
        | {"longest": round(1e3 * float(seconds.max()), 1)},
        "memory_mb": {"begun": round(memory[0], 1), "second_third": round(float(np.mean(memory[third: 2 * third])), 1),
                      "last_third": round(float(np.mean(memory[2 * third:])), 1), "most": round(max(memory), 1)},
        "parity": {"played_again": len(again), "plans_each": options.plans, "equal": equal},
    }


if __name__ == "__main__":
    sys.exit(main())
