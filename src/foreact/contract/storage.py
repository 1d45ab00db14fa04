"""Writes that are whole or absent: temporary name beside the target, fsync, rename.

A reader never sees half a file, and a full disk leaves what was there before.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foreact.contract.errors import StorageError

__all__ = ["append_bytes", "atomic_directory", "atomic_write_bytes", "atomic_write_json", "atomic_write_text", "significant",
           "storage_errors", "sync_directory"]

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or choose another folder with --out"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another folder with --out"),
    errno.EFBIG: ("a file is larger than the system allows", "raise the limit (ulimit -f), or choose another folder with --out"),
    errno.EROFS: ("the file system is read-only", "choose another folder with --out"),
    errno.EACCES: ("permission denied", "choose a folder that you may write to"),
}


def significant(value: float, digits: int = 6) -> float:
    """A measured number to as many digits as are kept of it."""
    return float(f"{value:.{digits}g}")


@contextmanager
def storage_errors(path: Path | str) -> Iterator[None]:
    """Turn the operating system's refusals into `StorageError`; other errors pass unchanged."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REASONS:
            raise
        what, next_step = _REASONS[error.errno]
        raise StorageError(what, where=str(path), next_step=next_step) from error


def sync_directory(path: Path) -> None:
    """Make a rename inside `path` durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def atomic_write_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path`: the old content or the new one is there, never a mixture."""
    path = Path(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def append_bytes(path: Path | str, data: bytes) -> None:
    """Add `data` at the end of `path` and make it durable: all of it is there or, where that is refused, nothing of it.

    A disk that fills up takes a part of what it is given and says so only when asked for the rest.
    """
    with storage_errors(path), open(path, "ab", buffering=0) as file:
        before, left = file.seek(0, os.SEEK_END), memoryview(data)
        try:
            while left:
                left = left[file.write(left):]
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(before)
            raise


def atomic_write_text(path: Path | str, text: str) -> None:
    """`atomic_write_bytes` for UTF-8 text."""
    atomic_write_bytes(path, text.encode())


def atomic_write_json(path: Path | str, value: object, *, indent: int | None = 2) -> None:
    """`atomic_write_bytes` for JSON; NaN and infinity are refused because other readers choke on them."""
    atomic_write_text(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


@contextmanager
def atomic_directory(path: Path | str) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well, and vanishes when it does not.

    `path` must not exist yet. Every file in the folder is flushed before the rename.
    """
    path = Path(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        try:
            yield temporary
            os.chmod(temporary, 0o755)
            for file in temporary.rglob("*"):
                if file.is_file():
                    with open(file, "rb+") as handle:
                        os.fsync(handle.fileno())
            sync_directory(temporary)
            os.rename(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_directory(path.parent)
