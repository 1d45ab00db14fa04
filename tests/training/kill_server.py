"""Run as a script: trains in forked children, kills them at random moments, resumes, and reports as JSON on standard output.

A process of its own, so that torch is imported once and children are forked from a process without threads.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from tiny_training import RUN, losses_of, tiny_train

from foreact.training.checkpoint_folder import checkpoints, find, problem
from foreact.training.run import Checkpoints, Run, Stage

KILLED_RUN: Run = replace(RUN, training=replace(
    RUN.training, checkpoints=Checkpoints(every_steps=2, every_seconds=None, keep_last=2),
    stages=(Stage(name="video", train=("video",), steps=3), Stage(name="joint", train=("video", "action"), steps=7))))


def start(folder: Path) -> int:
    """Begin or go on with the run in a child; returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        tiny_train(folder, KILLED_RUN, resume=True)
        os._exit(0)
    except BaseException:
        import traceback

        (folder.parent / "child-error.txt").write_text(traceback.format_exc())
        os._exit(1)


def killed(child: int, after: float) -> bool:
    """Kill the child after so many seconds; False where it had finished before. Any other end is an error."""
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit(f"a child failed with {os.WEXITSTATUS(status)}")
    return os.WIFSIGNALED(status)


def weights_of(folder: Path) -> str:
    found = find(folder).path
    return json.loads((found / "COMPLETE").read_text())["files"]["model.safetensors"]["sha256"]


def main(root: Path, kills: int, seed: int) -> None:
    began = time.monotonic()
    whole = root / "reference"
    before = time.monotonic()
    os.waitpid(start(whole), 0)
    length, moments = time.monotonic() - before, random.Random(seed)
    done, runs, damaged = 0, 0, []
    while done < kills:
        folder, runs = root / f"run-{runs}", runs + 1
        while done < kills and killed(start(folder), moments.uniform(0.0, min(0.45 * length, 0.5))):
            done += 1
            damaged += [str(path) for path in checkpoints(folder / "checkpoints") if problem(path) is not None]
        os.waitpid(start(folder), 0)
        if losses_of(folder) != losses_of(whole) or weights_of(folder) != weights_of(whole):
            raise SystemExit(f"run {runs} ended elsewhere than the uninterrupted one")
    print(json.dumps({"kills": done, "runs": runs, "damaged": damaged, "lines": len(losses_of(whole)),
                      "seconds": round(time.monotonic() - began, 1)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
