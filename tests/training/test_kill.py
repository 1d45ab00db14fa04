"""Fifty random SIGKILLs, each followed by a resume: nothing lost, nothing half-read, the same losses to the last bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_fifty_random_kills_lose_nothing(tmp_path: Path) -> None:
    source = HERE.parent.parent / "src"
    done = subprocess.run([sys.executable, str(HERE / "kill_server.py"), str(tmp_path), "50", "0"], capture_output=True, text=True,
                          env={"PYTHONPATH": f"{source}:{HERE}", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}, timeout=600, check=False)
    assert done.returncode == 0, done.stderr + "".join(p.read_text() for p in tmp_path.glob("child-error.txt"))
    report = json.loads(done.stdout)
    assert report["kills"] >= 50 and report["damaged"] == []
    assert report["steps"] >= 30
