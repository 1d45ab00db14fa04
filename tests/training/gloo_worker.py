"""Run by torchrun's environment variables, once per process: trains the tiny run with the others."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tiny_training import FITTED, tiny_train

from foreact.data.cache import Cache
from foreact.training.parallel import team
from foreact.training.trainer import train

if __name__ == "__main__":
    root = Path(sys.argv[1])
    with team(torch.device("cpu")) as us:
        tiny_train(root / "two", team=us)
        train(FITTED, dataset=root / "set", out=root / "two-from-data", cache=Cache(root / "cache"), device="cpu")
