"""Checkpoints: folders that are whole or do not count.

    RUN/checkpoints/step-00000500/
        config.json                the resolved run
        specs.json                 observation and action specs
        model.safetensors          the weights to deploy (averaged where the run averages) with substrate and normalisation
        train_state.safetensors    what training needs besides: the weights being trained, the optimiser's moments
        train_state.json           step, stage, elapsed seconds, place in the data
        README.md                  model card
        COMPLETE                   size and SHA-256 of every file above; written last

The folder appears under its name by one rename, after everything in it has been flushed. No pickle anywhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from foreact.contract.errors import CheckpointError
from foreact.contract.progress import say
from foreact.contract.storage import atomic_directory
from foreact.training.weights import digest, read_tensors, write_bytes, write_tensors

__all__ = ["Checkpoint", "Content", "checkpoints", "find", "newest", "prune", "sweep", "verify", "write"]

_MARKER = "COMPLETE"
_FOLDER = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True, kw_only=True)
class Content:
    """What goes into a checkpoint. `texts` holds the other files by name (config.json, specs.json, README.md)."""

    step: int
    model: Mapping[str, Tensor]
    state: Mapping[str, Tensor]
    progress: Mapping[str, Any]
    texts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    path: Path
    step: int

    def model(self) -> dict[str, Tensor]:
        return read_tensors(self.path / "model.safetensors")

    def state(self) -> dict[str, Tensor]:
        return read_tensors(self.path / "train_state.safetensors")

    def progress(self) -> dict[str, Any]:
        return self.json("train_state.json")

    def json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text())
        except (OSError, ValueError) as error:
            raise CheckpointError("a file of the checkpoint cannot be read", where=str(self.path / name), found=str(error),
                                  next_step="use another checkpoint of the run") from error


def folder(checkpoints_folder: Path, step: int) -> Path:
    return checkpoints_folder / f"step-{step:08d}"


def write(checkpoints_folder: Path, content: Content) -> Checkpoint:
    """Write a checkpoint; on any failure nothing of it remains. One that is already complete at this step is kept."""
    path = folder(checkpoints_folder, content.step)
    if path.exists():
        if problem(path) is None:
            return Checkpoint(path=path, step=content.step)
        _remove(path)
    with atomic_directory(path) as temporary:
        files = {
            "model.safetensors": write_tensors(temporary / "model.safetensors", content.model, {"format": "pt"}),
            "train_state.safetensors": write_tensors(temporary / "train_state.safetensors", content.state),
            "train_state.json": write_bytes(temporary / "train_state.json", _json(content.progress)),
        }
        for name, text in content.texts.items():
            files[name] = write_bytes(temporary / name, text.encode())
        write_bytes(temporary / _MARKER, _json({"step": content.step, "files": files}))
    return Checkpoint(path=path, step=content.step)


def problem(path: Path) -> str | None:
    """What is wrong with the checkpoint folder `path`, or None: every byte is checked against the marker."""
    try:
        marker = json.loads((path / _MARKER).read_text())
        files = marker["files"].items()
    except FileNotFoundError:
        return f"the marker {_MARKER} is missing: it was never finished, or is being removed"
    except (OSError, ValueError, KeyError, AttributeError) as error:
        return f"the marker {_MARKER} is damaged: {error}"
    for name, expected in files:
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != expected["bytes"]:
            return f"{name} has {file.stat().st_size} bytes instead of {expected['bytes']}"
        if digest(file) != expected:
            return f"{name} differs from its SHA-256"
    return None


def verify(path: Path) -> Checkpoint:
    """The checkpoint in folder `path`, every byte checked; raises `CheckpointError` that says what is wrong."""
    match = _FOLDER.fullmatch(path.name)
    if not path.is_dir() or (not (path / _MARKER).exists() and match is None):
        raise CheckpointError("no checkpoint here", where=str(path),
                              found="a folder without one" if path.is_dir() else "no such folder",
                              accepted="a run folder, or one of its checkpoints/step-XXXXXXXX folders")
    found = problem(path)
    if found is not None:
        raise CheckpointError("the checkpoint is damaged", where=str(path), found=found,
                              next_step="name the run folder to use its newest complete checkpoint, or copy this one again")
    return Checkpoint(path=path, step=int(json.loads((path / _MARKER).read_text())["step"]))


def checkpoints(checkpoints_folder: Path) -> list[Path]:
    """Folders that bear a checkpoint's name, oldest first, complete or not."""
    if not checkpoints_folder.is_dir():
        return []
    return sorted((p for p in checkpoints_folder.iterdir() if _FOLDER.fullmatch(p.name)), key=lambda p: int(p.name[5:]))


def newest(checkpoints_folder: Path) -> Checkpoint | None:
    """The newest complete checkpoint, or None; says which damaged ones it skips."""
    for path in reversed(checkpoints(checkpoints_folder)):
        found = problem(path)
        if found is None:
            return verify(path)
        say(f"skipping the checkpoint {path}: {found}")
    return None


def find(path: Path | str) -> Checkpoint:
    """A checkpoint by its own folder, or the newest complete one of a run folder; raises `CheckpointError`."""
    path = Path(path)
    if (path / "checkpoints").is_dir():
        found = newest(path / "checkpoints")
        if found is None:
            raise CheckpointError("the run has no complete checkpoint", where=str(path),
                                  found=f"{len(checkpoints(path / 'checkpoints'))} damaged ones", next_step="train it again")
        return found
    return verify(path)


def prune(checkpoints_folder: Path, keep_last: int, kept: Checkpoint) -> None:
    """Remove all but the newest `keep_last`; `kept`, known to be complete, always stays."""
    older = [path for path in checkpoints(checkpoints_folder) if path != kept.path]
    for path in older[: max(0, len(older) - (keep_last - 1))]:
        _remove(path)


def sweep(checkpoints_folder: Path) -> None:
    """Remove the half-written leavings of a process that was killed."""
    if checkpoints_folder.is_dir():
        for path in checkpoints_folder.glob(".step-*.tmp"):
            shutil.rmtree(path)


def _remove(path: Path) -> None:
    """Out of sight first, by one rename, so that a kill in between leaves no half of a checkpoint under its name."""
    hidden = path.with_name(f".{path.name}.removed.tmp")
    shutil.rmtree(hidden, ignore_errors=True)
    os.rename(path, hidden)
    shutil.rmtree(hidden)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
