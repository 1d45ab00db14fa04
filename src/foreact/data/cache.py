"""A folder of finished entries under a size cap: made once, whole or absent, the least recently used given up first.

Processes that want the same entry wait for the one that makes it. An entry in use that is given up stays readable to
those who have it open.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from foreact.contract.errors import StorageError
from foreact.contract.storage import atomic_directory, storage_errors

__all__ = ["Cache", "default_cache", "leftovers"]

_COMPLETE = "complete"


def default_cache() -> Path:
    """$FOREACT_CACHE, or ~/.cache/foreact."""
    return Path(os.environ.get("FOREACT_CACHE") or Path.home() / ".cache" / "foreact")


def leftovers(path: Path) -> list[Path]:
    """Temporary folders of an `atomic_directory(path)` that was killed; call only where no other process makes `path`."""
    return [entry for entry in path.parent.iterdir() if entry.name.startswith(f".{path.name}.") and entry.name.endswith(".tmp")]


class Cache:
    """Entries are folders under `root`, named by a key that says all that their content depends on."""

    def __init__(self, root: Path | str | None = None, *, cap_gb: float = 20.0) -> None:
        self.root = Path(root) if root is not None else default_cache()
        self.cap = int(cap_gb * 1e9)

    def entry(self, key: str, size: int, make: Callable[[Path], None]) -> Path:
        """The folder of `key`, made by `make(folder)` where it is not there yet. `size`: the bytes it will take.

        Raises `StorageError` when the entry alone is beyond the cap.
        """
        path = self.root / key
        if size > self.cap:
            raise StorageError("larger than the cache may grow", where=str(path), found=f"{size / 1e9:.2f} GB",
                               accepted=f"{self.cap / 1e9:.2f} GB", next_step="raise the cap, or do without this cache")
        with storage_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        with self._locked(f"{key}.lock"):
            if not (path / _COMPLETE).exists():
                for left in (path, *leftovers(path)):
                    shutil.rmtree(left, ignore_errors=True)
                with self._locked("eviction.lock"):
                    self._make_room(size, keep=key)
                with atomic_directory(path) as folder:
                    make(folder)
                    (folder / _COMPLETE).touch()
            os.utime(path / _COMPLETE)
        return path

    def keys(self) -> list[str]:
        """Finished entries, the least recently used first."""
        marks = sorted(self.root.glob(f"*/{_COMPLETE}"), key=lambda mark: mark.stat().st_mtime_ns)
        return [mark.parent.name for mark in marks if not mark.parent.name.startswith(".")]

    def size(self) -> int:
        """Bytes in finished entries."""
        return sum(self._size(key) for key in self.keys())

    def _size(self, key: str) -> int:
        return sum(file.stat().st_size for file in (self.root / key).iterdir())

    def _make_room(self, size: int, *, keep: str) -> None:
        used = self.size()
        for key in self.keys():
            if used + size <= self.cap:
                return
            if key != keep:
                used -= self._size(key)
                shutil.rmtree(self.root / key)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with open(self.root / name, "w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)
