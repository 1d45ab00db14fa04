"""How a contestant is talked to: one JSON object a line, on its standard input and output. Needs nothing but the standard library.

    {"do": "build", "case": "joint", "size": {...}}  ->  what is known of it: {"parameters": 9_000_000, ...}
    {"do": "time", "case": "joint", "seconds": 0.5}  ->  {"cpu": seconds of CPU a call, "wall": seconds a call, "calls": 12}

An answer of {"error": "..."} says why something could not be done.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

Built = tuple[Callable[[], Any], dict[str, Any]]
"""What is timed, and what there is to say of it."""


def serve(build: Callable[[str, dict[str, Any]], Built]) -> None:
    """Answer until the other side closes. What libraries print goes to standard error, so that it cannot stand between answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    built: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = _answer(asked, built, build)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _answer(asked: Mapping[str, Any], built: dict[str, Callable[[], Any]], build: Callable[[str, dict[str, Any]], Built]) -> dict[str, Any]:
    case = asked["case"]
    if asked["do"] == "build":
        built[case], said = build(case, asked["size"])
        built[case]()
        return said
    return timed(built[case], asked["seconds"])


def timed(work: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Call for at least so many seconds of CPU; the mean of a call. All threads of the process count."""
    cpu, wall, calls = time.process_time(), time.perf_counter(), 0
    while calls == 0 or time.process_time() - cpu < seconds:
        work()
        calls += 1
    return {"cpu": (time.process_time() - cpu) / calls, "wall": (time.perf_counter() - wall) / calls, "calls": calls}
