"""Run as a script: serves a tiny model in forked children, as `foreact serve` does, and does to them what standard input says.

`start PORT` answers `ready`; `kill` answers `killed`; `term` answers at once, and `wait` then gives the exit code. A process of its own,
so that torch is imported once and children are forked from a process without threads.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import torch

from foreact.cli.serve import until_told
from foreact.serving.settings import ServerSettings
from tiny_members import alive, config


def serve(port: int, ready: int) -> None:
    """In the child: serve until told to stop."""
    slow = config("JointGeneration")
    os.dup2(ready, 1)
    asyncio.run(until_told(alive(slow), ServerSettings(port=port), "tiny", ready=lambda: os.write(ready, b"ready\n")))


def main() -> None:
    torch.set_num_threads(1)
    child = 0
    for line in sys.stdin:
        word, _, port = line.strip().partition(" ")
        if word == "start":
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    serve(int(port), write)
                    code = 0
                finally:
                    os._exit(code)
            os.close(write)
            with os.fdopen(read) as told:
                print(told.readline().strip() or "failed", flush=True)
        elif word == "kill":
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            print("killed", flush=True)
        elif word == "term":
            os.kill(child, signal.SIGTERM)
            print("told", flush=True)
        elif word == "wait":
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
