"""The house rules that a machine can check: import order, file sizes, forbidden names, no pickle."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "foreact"
FILES = sorted(SOURCE.rglob("*.py"))
CODE = FILES + sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / "benchmarks").rglob("*.py"))


def names(files):
    return [str(file.relative_to(ROOT)) for file in files]


def lint_imports(source, configuration):
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache", "--config", configuration],
        env={**os.environ, "PYTHONPATH": str(source)},
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_run_one_way():
    done = lint_imports(ROOT / "src", ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("file", "line"), [
    ("flow/samplers.py", "import foreact.model"),
    ("couplings/__init__.py", "import foreact.backbones"),
    ("evaluation/__init__.py", "import foreact.training"),
    ("kitchen.py", ""),
])
def test_the_import_rule_can_fail(tmp_path, file, line):
    shutil.copytree(SOURCE, tmp_path / "foreact", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "foreact" / file).open("a") as handle:
        handle.write(f"\n{line}\n")
    assert lint_imports(tmp_path, ROOT / "pyproject.toml").returncode != 0


@pytest.mark.parametrize("file", CODE, ids=names(CODE))
def test_files_are_one_idea(file):
    lines = file.read_text().splitlines()
    assert len(lines) <= 400, f"{len(lines)} lines"
    assert not set(file.relative_to(ROOT).with_suffix("").parts) & {"utils", "common", "misc", "helpers", "util", "helper"}
    if file.name == "__init__.py":
        assert len(lines) <= 40, "an __init__ holds a docstring and exports"


@pytest.mark.parametrize("file", FILES, ids=names(FILES))
def test_functions_are_short_and_files_say_what_they_are(file):
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree) or file.name == "__init__.py", "a file begins with its claim"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


@pytest.mark.parametrize("file", FILES, ids=names(FILES))
def test_nothing_is_unpickled_and_nothing_is_guessed(file):
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = {alias.name.split(".")[0] for alias in node.names} | {(getattr(node, "module", "") or "").split(".")[0]}
            assert not modules & {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "torchvision", "lerobot"}, (
                file
            )
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"torch.load", "torch.save", "hasattr", "eval", "exec"}, f"{file}:{node.lineno}"
            allowed = [k for k in node.keywords if k.arg == "allow_pickle"]
            assert all(ast.unparse(k.value) == "False" for k in allowed), f"{file}:{node.lineno}"
            if called in {"np.load", "numpy.load"}:
                assert allowed, f"{file}:{node.lineno} says allow_pickle=False"


def test_every_package_of_ours_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        Requirement(line) for group in (project["dependencies"], *project["optional-dependencies"].values()) for line in group
    ]
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#"))
    for requirement in wanted:
        assert requirement.specifier.contains(pinned[requirement.name.lower()], prereleases=True), requirement
