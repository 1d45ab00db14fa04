"""Every example of the docs and the README is run.

Blocks headed ```python run are scripts, with `file=NAME` also saved for later blocks to import; blocks headed ```console run hold
commands after `$`. The blocks of a page run in order, in one empty folder. Commands run as written, with settings at the end that
make them small: what is tested is that the words are right, not that the robot learns.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(python|console) run(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")

MODEL = ["training.stages.0.steps=1", "training.stages.1.steps=1", "training.batch_size=4", "training.substrate.steps=4",
         "training.substrate.batch_size=4", "training.threads=1", "model.backbone.depth=1"]
SMALL = {
    "collect": ["episodes=2", "size=32", "expert.steps_after_success=0"],
    "train": MODEL,
    "teacher": ["steps=2", "batch_size=4", "measured=8", "threads=1", "image_size=[64,64]"],
    "verify": ["--steps", "16"],
    "eval": ["seeds_per_task=1", "environment.horizon=16"],
    "serve": ["--check", "batch=4"],
    "quickstart": [*MODEL, "demonstrations=2", "train_seconds=2", "episodes=1", "horizon=16", 'conditions=["clean"]', "collect.size=32",
                   'tasks=["button-press-topdown"]'],
}


def name(page):
    return str(page.relative_to(ROOT))


def environment(folder):
    paths = [str(folder), str(ROOT / "src"), str(ROOT / "clients" / "foreact-client" / "src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "FOREACT_CACHE": str(folder / ".cache"),
            "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}


def run(words, folder):
    done = subprocess.run(words, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_command(line, folder):
    words = shlex.split(line)
    assert words[0] in ("foreact", "make"), f"a console block runs foreact or make, not {words[0]}"
    if words[0] == "make":  # what it would do; the test command itself is such a target
        assert run(["make", "--dry-run", "--directory", ROOT, *words[1:]], folder)
        return ""
    return run([sys.executable, "-m", "foreact", *words[1:], *SMALL.get(words[1], [])], folder)


@pytest.mark.parametrize("page", [p for p in PAGES if p.exists() and BLOCK.search(p.read_text())], ids=name)
def test_the_examples_of_a_page_run(page, tmp_path):
    for language, file, body in BLOCK.findall(page.read_text()):
        if language == "python":
            script = tmp_path / (file or "example.py")
            script.write_text(body)
            run([sys.executable, script], tmp_path)
            continue
        for line in body.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                run_command(line.removeprefix("$ "), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name(page)} points to {target}"
