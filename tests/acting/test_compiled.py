"""What is compiled is compiled before the first robot asks, and gives what it gave: see `compiled_worker`."""

import os
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).with_name("compiled_worker.py")


def test_nothing_is_compiled_after_warm_up_and_compiled_blocks_give_what_they_gave():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(WORKER.parents[1]), *sys.path])}
    done = subprocess.run([sys.executable, str(WORKER)], capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == "held"
