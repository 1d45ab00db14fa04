"""A fitted feature substrate in a folder of its own, so that many runs share one teacher.

    TEACHER/config.json          the substrate's config, the cameras it looks through, what it was learnt from, its measures
    TEACHER/model.safetensors    encoder and whitening

config.json holds the SHA-256 of the weights. A run that takes the teacher declares the same architecture, so that its checkpoint can
be loaded where the folder is not; see `FrozenFeatures.Config.folder`. No pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from foreact.contract.errors import CheckpointError
from foreact.contract.specs import ObservationSpec
from foreact.contract.storage import storage_errors

__all__ = ["cameras_of", "read_teacher", "write_teacher"]

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


def cameras_of(observation: ObservationSpec) -> dict[str, list[int]]:
    """Height and width by name: what a teacher's tokens depend on."""
    return {camera.name: [camera.height, camera.width] for camera in observation.cameras}


def write_teacher(folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Into an empty folder; raises `StorageError` where the disk refuses. `config`: at least "teacher", "cameras" and "measures"."""
    data = safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in weights.items()}, {"format": "pt"})
    with storage_errors(folder):
        (folder / _WEIGHTS).write_bytes(data)
        said = {**config, "sha256": hashlib.sha256(data).hexdigest()}
        (folder / _CONFIG).write_text(json.dumps(said, indent=2, allow_nan=False) + "\n")


def read_teacher(folder: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Its config and its weights; raises `CheckpointError` where either is missing or damaged."""
    try:
        config = json.loads((Path(folder) / _CONFIG).read_text())
        data = (Path(folder) / _WEIGHTS).read_bytes()
        if hashlib.sha256(data).hexdigest() != config["sha256"]:
            raise ValueError(f"{_WEIGHTS} differs from its SHA-256")
        return config, safetensors.torch.load(data)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError("no whole teacher here", where=folder, found=str(error), accepted=f"a folder with {_CONFIG} and {_WEIGHTS}",
                              next_step="foreact teacher train --data DATASET --out FOLDER") from error
