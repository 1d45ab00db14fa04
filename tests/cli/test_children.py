"""Children: watched, told apart when they fail, and never left behind."""

import os
import subprocess
import sys
import time

import pytest

from foreact.cli.children import PARENT, Children
from foreact.contract.errors import ForeactError

ORPHAN = """
import sys, time
from foreact.cli.children import stop_with_parent
stop_with_parent()
try:
    open(sys.argv[1], "w").write("begun")
    time.sleep(60)
except KeyboardInterrupt:
    open(sys.argv[1], "w").write("interrupted")
"""
MOTHER = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], env={**os.environ, "FOREACT_PARENT": str(os.getpid())},
                 start_new_session=True)
while not os.path.exists(sys.argv[2]):
    time.sleep(0.05)
os._exit(9)
"""


def test_the_end_of_a_child_is_waited_for(tmp_path):
    with Children() as children:
        children.start("listing", ["--version"], tmp_path / "log")
        children.wait(lambda: None)
    assert "foreact" in (tmp_path / "log").read_text()


def test_a_child_that_fails_says_why(tmp_path):
    with pytest.raises(ForeactError) as caught, Children() as children:
        children.start("showing", ["recipes", "shw"], tmp_path / "log")
        children.wait(lambda: None)
    assert "showing failed" in str(caught.value)
    assert "did you mean 'show'?" in str(caught.value)


def test_an_interrupt_is_passed_on_once_and_awaited(tmp_path):
    with pytest.raises(KeyboardInterrupt), Children() as children:
        children.start("waiting", ["data", "check", str(tmp_path)], tmp_path / "log")
        process = children._running["waiting"][0]
        raise KeyboardInterrupt
    assert process.poll() is not None


def test_a_child_stops_when_its_parent_was_killed(tmp_path):
    note = tmp_path / "note"
    subprocess.run([sys.executable, "-c", MOTHER, ORPHAN, str(note)], check=False, env={**os.environ, PARENT: "1"})
    for _ in range(100):
        if note.read_text() == "interrupted":
            return
        time.sleep(0.1)
    pytest.fail("the child works on without a parent")
