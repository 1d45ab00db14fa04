"""Commands in tracks: those of one track after each other, the tracks side by side; what is done is not done again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from foreact.cli.children import Children
from foreact.contract.errors import ConfigError
from foreact.contract.progress import meter

__all__ = ["Job", "run_tracks"]


@dataclass(frozen=True)
class Job:
    """One command with the file that says that it is done. A training's is written here, once it has ended well.

    tells: the command's standard output is what it found, and becomes that file.
    """

    name: str
    words: list[str]
    done: Path
    log: Path
    tells: bool = False

    @property
    def told(self) -> Path | None:
        """Where its standard output goes while it runs."""
        return self.done.with_suffix(".part") if self.tells else None


def run_tracks(children: Children, tracks: Sequence[Sequence[Job]], workers: int, *, what: str = "study") -> None:
    """Run `workers` tracks at a time; a verdict that is not good is no failure. Raises `ConfigError` where a command fails.

    A running job is told by the file that it makes: names are for people, and arms of two studies may share one.
    """
    waiting = [iter(track) for track in tracks]
    running: dict[str, tuple[Job, Iterator[Job]]] = {}
    jobs = [job for track in tracks for job in track]
    with meter(what, len(jobs)) as bar:
        while waiting or running:
            while waiting and len(running) < workers:
                track = waiting.pop(0)
                job = next((j for j in track if not j.done.exists()), None)
                if job is not None:
                    if job.told is not None:
                        job.told.parent.mkdir(parents=True, exist_ok=True)
                    children.start(str(job.done), job.words, job.log, output=job.told)
                    running[str(job.done)] = (job, track)
            bar.at(sum(job.done.exists() for job in jobs), ", ".join(job.name for job, _ in running.values()))
            time.sleep(0.25)
            _settle(children, running, waiting)


def _settle(children: Children, running: dict[str, tuple[Job, Iterator[Job]]], waiting: list[Iterator[Job]]) -> None:
    """Take in what has ended; its track goes on in front."""
    for done, log, code in children.ended():
        job, track = running.pop(done)
        if job.words[0] == "train" and code == 0:
            job.done.touch()
        if job.told is not None and code == 0:
            job.told.replace(job.done)
        if not job.done.exists():
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-6:]
            raise ConfigError(f"{job.name} failed", where=str(log), found=f"exit code {code}:\n    " + "\n    ".join(lines),
                              next_step="mend the cause; the same command goes on from what is done")
        waiting.insert(0, track)
