"""Commands of ours run side by side in processes of their own: watched, stopped together, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from foreact.contract.errors import ForeactError

__all__ = ["Children", "stop_with_parent", "terminate_as_interrupt"]

PARENT = "FOREACT_PARENT"
_PATIENCE = 90.0
_THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def stop_with_parent() -> None:
    """In a child: interrupt this process when its parent is gone, so that nobody trains on unseen. Does nothing elsewhere."""
    parent = os.environ.pop(PARENT, None)
    if parent is None:
        return
    # a parent that was itself started in the background hands down that interrupts are ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Inside the block SIGTERM is Ctrl-C."""
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Children:
    """Each child is `foreact WORDS` with one thread; what it says goes to its own log file.

    with Children() as children:
        children.start("train", ["train", "joint", ...], log)
        children.wait(lambda: bar.at(...))

    Leaving the block by an error or Ctrl-C asks all of them to stop, once, and waits until they have saved.
    """

    def __init__(self) -> None:
        self._running: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}

    def start(self, name: str, words: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None,
              output: Path | None = None) -> None:
        """output: where standard output goes, in place of the log. Names of those that run at one time differ."""
        assert name not in self._running, f"{name} is running already"
        log.parent.mkdir(parents=True, exist_ok=True)
        variables = {**os.environ, **_THREADS, **(environment or {}), PARENT: str(os.getpid())}
        with open(log, "ab") as file, nullcontext(file) if output is None else open(output, "wb") as out:
            # a session of its own: Ctrl-C in the terminal reaches it once, through us
            process = subprocess.Popen([sys.executable, "-m", "foreact", *words], env=variables, stdin=subprocess.DEVNULL,
                                       stdout=out, stderr=file, start_new_session=True)
        self._running[name] = (process, log)

    def wait(self, look: Callable[[], None], *, until: Callable[[], bool] | None = None) -> None:
        """Until all have ended well, or `until` says so; calls `look` now and then. Raises `ForeactError` when one fails."""
        while self._running and not (until is not None and until()):
            for name, log, code in self.ended():
                if code != 0:
                    raise _failure(name, code, log)
            look()
            time.sleep(0.25)

    def ended(self) -> list[tuple[str, Path, int]]:
        """Name, log and exit code of those that have ended since the last question, however they did."""
        found = [(name, log, process.poll()) for name, (process, log) in self._running.items()]
        found = [(name, log, code) for name, log, code in found if code is not None]
        for name, _, _ in found:
            del self._running[name]
        return found

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        processes = [process for process, _ in self._running.values()]
        try:
            for process in processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
            deadline = time.monotonic() + _PATIENCE
            for process in processes:
                process.wait(timeout=max(deadline - time.monotonic(), 0.1))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            for process in processes:
                process.kill()
                process.wait()


def _failure(name: str, code: int, log: Path) -> ForeactError:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return ForeactError(f"{name} failed", where=str(log), found=f"exit code {code}:\n    " + "\n    ".join(lines[-8:]),
                        next_step="mend the cause; the same command with --resume goes on from what is done")
