"""A contestant as a process that is kept: what is asked of it goes over pipes, so nothing is built or loaded between rounds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Contestant", "Entry", "alternate", "compared", "spread"]

WORKERS = Path(__file__).parent / "workers"


class Contestant:
    """`worker` of the folder workers, run by `python`; closed on leaving the block."""

    def __init__(self, worker: str, python: Path, *, threads: int, path: Sequence[Path] = (), log: Path | None = None,
                 variables: Mapping[str, str] | None = None) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        environment |= {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(map(str, path)), "TOKENIZERS_PARALLELISM": "false"}
        environment |= variables or {}
        self.worker = worker
        self._log = open(log or os.devnull, "w")  # noqa: SIM115  closed with the process
        self._process = subprocess.Popen([python, WORKERS / f"{worker}.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                         stderr=self._log, env=environment)

    def ask(self, **question: Any) -> dict[str, Any]:
        """One question and its answer. Raises `RuntimeError` with what went wrong there."""
        print(json.dumps(question), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline() or '{"error": "the process ended"}')
        if "error" in answer:
            raise RuntimeError(f"{self.worker}, {question['case']}: {answer['error']}")
        return answer

    def __enter__(self) -> Contestant:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()


@dataclass(frozen=True)
class Entry:
    """One row of the table: who runs which case."""

    who: str
    case: str
    contestant: Contestant


def alternate(entries: Sequence[Entry], size: Mapping[str, Any], *, rounds: int, seconds: float) -> dict[str, dict[str, Any]]:
    """Build all, then time each for `seconds` of CPU in every round, one after the other. By name: what is known, and times by round."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        found[f"{entry.who}, {entry.case}"] = {**entry.contestant.ask(do="build", case=entry.case, size=size), "cpu": [], "wall": []}
    for _ in range(rounds):
        for entry in entries:
            answer = entry.contestant.ask(do="time", case=entry.case, seconds=seconds)
            for clock in ("cpu", "wall"):
                found[f"{entry.who}, {entry.case}"][clock].append(answer[clock])
    return found


def spread(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Median, least and greatest."""
    return {name: float(f"{value:.{digits}g}") for name, value in
            (("median", statistics.median(values)), ("least", min(values)), ("greatest", max(values)))}


def compared(found: Mapping[str, Mapping[str, Any]], pairs: Sequence[tuple[str, str, float | None]], *,
             rates: bool = False) -> list[dict[str, Any]]:
    """The first's time over the second's, round by round, with the most that is aimed at; of rates, things a second, the least."""
    rows = []
    for ours, theirs, aim in pairs:
        each = [a / b for a, b in zip(found[ours]["cpu"], found[theirs]["cpu"], strict=True)]
        said = "no aim" if aim is None else f"aim at {'least' if rates else 'most'} {aim:.2g}"
        rows.append({"what": f"{ours} : {theirs}", **spread([1 / x for x in each] if rates else each, 3), "aim": said})
    return rows
