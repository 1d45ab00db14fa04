"""Tensors on disk as safetensors, written as a stream with its SHA-256, and read back with a clear error.

The file format is the public safetensors one (an 8-byte length, a JSON header, the raw data). It is written here, and
not by the package, so that a full disk is met as the system's own error and the hash costs no second reading.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from foreact.contract.errors import CheckpointError
from foreact.contract.storage import storage_errors

__all__ = ["FileDigest", "digest", "read_tensors", "write_bytes", "write_tensors"]

FileDigest = dict[str, int | str]
"""`{"bytes": size, "sha256": hex}`."""

_NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
          torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
_CHUNK = 1 << 22


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> FileDigest:
    """Write `tensors` by name; raises `StorageError` where the disk refuses. The file is flushed by the caller's folder."""
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    sha = hashlib.sha256()
    with storage_errors(path), open(path, "wb") as file:
        for piece in (len(head).to_bytes(8, "little"), head):
            sha.update(piece)
            file.write(piece)
        for _, tensor in ordered:
            raw = memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
            sha.update(raw)
            file.write(raw)
    return {"bytes": 8 + len(head) + end, "sha256": sha.hexdigest()}


def write_bytes(path: Path, data: bytes) -> FileDigest:
    """Write a small file; raises `StorageError` where the disk refuses."""
    with storage_errors(path):
        path.write_bytes(data)
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU; raises `CheckpointError` where the file is not whole safetensors."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError("the tensors cannot be read", where=str(path), found=str(error),
                              next_step="use another checkpoint of the run, or copy this one again") from error


def digest(path: Path) -> FileDigest:
    """Size and SHA-256 of a file as it is on disk."""
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_CHUNK):
            sha.update(piece)
    return {"bytes": path.stat().st_size, "sha256": sha.hexdigest()}
