"""The example that drives a simulated robot over the wire, as it is called from a terminal, at the smallest size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from foreact.envs.metaworld import MetaWorld
from foreact.recipes.catalogue import recipe
from foreact.serving.background import serving
from foreact.serving.settings import ServerSettings

ROOT = Path(__file__).resolve().parents[2]


def paths():
    return os.pathsep.join(str(ROOT / place) for place in ("src", "clients/foreact-client/src"))


def test_both_robots_are_driven_and_compared(tmp_path):
    torch.manual_seed(0)
    model = recipe("fast-wam").run("tiny").model.build(*MetaWorld.describe(MetaWorld.Config(task="drawer-open", size=64)))
    with serving(model, ServerSettings(port=0, batch=4), name="untrained") as address:
        done = subprocess.run(
            [sys.executable, ROOT / "examples/over_the_wire.py", address, "--tasks", "drawer-open", "--seeds", "1", "--horizon", "20",
             "--latency", "50", "--out", "wire.json"], cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": paths(), "PYTHONWARNINGS": "default"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    head, *_ = lines = done.stdout.splitlines()
    assert head == "untrained: plans of 16 actions, a look after 8; 50 ms are 4 steps at 80 Hz"
    assert lines[-1] == "going on against waiting: +0 points, p = 1 (exact McNemar)"
    kept = json.loads((tmp_path / "wire.json").read_text())
    assert [(one["robot"], one["steps"], one["held"]) for one in kept["episodes"]] == [("waits", 20, 8), ("goes on", 20, 4)]
    assert len(kept["episodes"][0]["actions"]) == 20 and kept["episodes"][0]["actions"][0] == [0.0] * 4
