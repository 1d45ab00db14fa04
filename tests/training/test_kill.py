"""Fifty random SIGKILLs, each followed by a resume: nothing lost, nothing half-read, the same losses to the last bit."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
# memory where there is some: a kill leaves the page cache as it is, so waiting for the disk would prove nothing here
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def test_fifty_random_kills_lose_nothing() -> None:
    source = HERE.parent.parent / "src"
    environment = {"PYTHONPATH": f"{source}:{HERE}", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:
        done = subprocess.run([sys.executable, str(HERE / "kill_server.py"), root, "50", "0"], capture_output=True, text=True,
                              env=environment, timeout=600, check=False)
        errors = "".join(path.read_text() for path in Path(root).glob("child-error.txt"))
    assert done.returncode == 0, done.stderr + errors
    report = json.loads(done.stdout)
    assert report["kills"] == 50 and report["damaged"] == [] and report["runs"] >= 1
    assert report["lines"] == 14  # ten training steps and four validations, none missing and none twice
