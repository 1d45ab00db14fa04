"""The environments of the peers, made with `python -m venv` and pip: none is ever imported by foreact, nor is foreact there.

    python -m benchmarks.peers --envs FOLDER --make

torch is one and the same version everywhere. LeRobot bounds torch from above and brings in gigabytes for robots and trainers, so both
are installed without their dependencies, and beside them those that the part under test imports. LeRobot 0.6 asks for Python 3.12, but
FastWAM's core runs on 3.11, which keeps the interpreter the same for all. LeRobot 0.4.4, whose loader is measured, asks for torch below
2.11, torchvision below 0.26 and torchcodec below 0.11; torchcodec 0.11.1 is the one that runs with this torch without CUDA.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ENVIRONMENTS", "make", "python_of", "variables_of"]

TORCH = "torch==2.13.0"
ENVIRONMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "openwam": ((TORCH,), ("--no-deps", "openwam==0.2.0"),
                ("pyyaml", "einops", "numpy", "safetensors", "pillow", "pyarrow", "diffusers>=0.35,<0.38", "transformers>=5.10,<5.11",
                 "imageio", "sentencepiece", "ftfy", "h5py")),
    "fastwam": ((TORCH,), ("numpy<2.3", "einops==0.8.2", "diffusers>=0.38,<0.40", "transformers>=5.4,<5.6", "safetensors", "pillow",
                           "draccus>=0.11.6,<0.12", "gymnasium", "packaging", "tqdm", "termcolor"),
                ("--no-deps", "--ignore-requires-python", "lerobot==0.6.1")),
    "loader": ((TORCH,), ("--no-deps", "lerobot==0.4.4"),
               ("datasets>=4,<5", "huggingface-hub>=0.34.2,<0.36", "av>=15,<16", "torchvision==0.28.*", "accelerate>=1.10,<2", "pandas",
                "jsonlines>=4,<5", "packaging<26", "draccus==0.10.0", "einops<0.9", "termcolor>=2.4,<4"),
               ("--no-deps", "torchcodec==0.11.1")),
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
        link_ffmpeg(envs / name)


def link_ffmpeg(environment: Path) -> None:
    """FFmpeg for torchcodec: the libraries that PyAV brings along, under the names by which torchcodec asks for them."""
    for library in environment.glob("lib/python*/site-packages/av.libs/*.so*"):
        plain = re.sub(r"-[0-9a-f]{8}(\.so\.\d+).*", r"\1", library.name)
        for name in {library.name, plain if library.name.startswith(("libav", "libsw")) else library.name}:
            link = environment / "ffmpeg" / name
            link.parent.mkdir(exist_ok=True)
            if not link.exists():
                link.symlink_to(library.resolve())


def variables_of(envs: Path, name: str) -> dict[str, str]:
    """What a peer's process finds in its environment, beside the usual."""
    if name != "loader":
        return {}
    own = (envs / name).resolve()
    return {"LD_LIBRARY_PATH": str(own / "ffmpeg"), "HF_HUB_OFFLINE": "1", "HF_HOME": str(own / "hf")}
