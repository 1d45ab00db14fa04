"""The distributions beside foreact: named as their hosts look for them, licensed alike, and never needed by foreact itself."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = sorted(path for path in (ROOT / "clients").iterdir() if (path / "pyproject.toml").exists())
HOSTS = {"lerobot", "vla_eval", "lerobot_policy_foreact", "foreact_vla_eval", "foreact_client"}


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def imported(path):
    """Names of the packages that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("folder", CLIENTS, ids=lambda path: path.name)
def test_a_client_is_named_after_its_folder_and_says_its_licence(folder):
    about = project(folder)
    assert (about["name"], about["license"]) == (folder.name, "Apache-2.0") and (folder / about["readme"]).exists()
    assert (folder / "src" / folder.name.replace("-", "_") / "__init__.py").exists()


def test_lerobot_finds_the_policy_by_its_rules():
    folder = ROOT / "clients" / "lerobot_policy_foreact"
    assert project(folder)["name"].startswith("lerobot_policy_")  # the prefix that LeRobot imports
    source = folder / "src" / "lerobot_policy_foreact"
    wanted = {"configuration_foreact": "ForeactConfig", "modeling_foreact": "ForeactPolicy",
              "processor_foreact": "make_foreact_pre_post_processors"}
    for module, name in wanted.items():
        defined = {getattr(node, "name", None) for node in ast.parse((source / f"{module}.py").read_text()).body}
        assert name in defined, f"LeRobot looks for {name} in {module}"


def test_foreact_needs_none_of_them():
    for path in (ROOT / "src").rglob("*.py"):
        assert not HOSTS & set(imported(path)), path
    requirements = " ".join(project(ROOT)["dependencies"])
    assert "lerobot" not in requirements and "vla-eval" not in requirements
