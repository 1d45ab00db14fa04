"""The environments of the peers, made with `python -m venv` and pip: none is ever imported by foreact, nor is foreact there.

    python -m benchmarks.peers --envs FOLDER --make

torch is one and the same version everywhere. LeRobot bounds torch from above and brings in gigabytes for robots and trainers, so both
are installed without their dependencies, and beside them those that the part under test imports. LeRobot 0.6 asks for Python 3.12, but
FastWAM's core runs on 3.11, which keeps the interpreter the same for all.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ENVIRONMENTS", "make", "python_of"]

TORCH = "torch==2.13.0"
ENVIRONMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "openwam": ((TORCH,), ("--no-deps", "openwam==0.2.0"),
                ("pyyaml", "einops", "numpy", "safetensors", "pillow", "pyarrow", "diffusers>=0.35,<0.38", "transformers>=5.10,<5.11",
                 "imageio", "sentencepiece", "ftfy")),
    "fastwam": ((TORCH,), ("numpy<2.3", "einops==0.8.2", "diffusers>=0.38,<0.40", "transformers>=5.4,<5.6", "safetensors", "pillow",
                           "draccus>=0.11.6,<0.12", "gymnasium", "packaging", "tqdm", "termcolor"),
                ("--no-deps", "--ignore-requires-python", "lerobot==0.6.1")),
}
"""By name: what pip is asked for, one call after the other."""


def python_of(envs: Path, name: str) -> Path:
    """The interpreter of a peer."""
    return envs / name / "bin" / "python"


def make(envs: Path, names: Sequence[str]) -> None:
    """Make what is not there."""
    for name in names:
        if python_of(envs, name).exists():
            continue
        subprocess.run([sys.executable, "-m", "venv", envs / name], check=True)
        for asked in ENVIRONMENTS[name]:
            subprocess.run([python_of(envs, name), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *asked], check=True)
