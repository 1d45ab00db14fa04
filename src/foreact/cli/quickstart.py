"""`foreact quickstart [RECIPE]`: collect, train, evaluate, report."""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import json
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foreact.cli.parsing import Parser
from foreact.cli.plan import Quickstart
from foreact.cli.result import Result
from foreact.contract.errors import ConfigError
from foreact.contract.storage import atomic_write_json, storage_errors

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main"]

DEFAULT = Quickstart()
TEXT = f"""1. collects demonstrations of Meta-World's scripted experts, seen by two cameras
2. trains a World Action Model, and beside it its no-future baseline for the same time
3. runs both in closed loop on unseen seeds, Clean and Random
4. writes one HTML report in which the imagined future plays beside the real one

Ctrl-C at any moment; the same command with --resume goes on.

examples
  foreact quickstart
  foreact quickstart jepa                          a recipe that differs on all four axes
  foreact quickstart --out runs/short train_seconds=60 episodes=5 tasks='["drawer-open"]'
  foreact quickstart --resume

settings (each as key=value or --key value)
  tasks={json.dumps(DEFAULT.tasks)}
  demonstrations={DEFAULT.demonstrations} (per task)   train_seconds={DEFAULT.train_seconds:g}   size={DEFAULT.size}
  episodes={DEFAULT.episodes} (per task and condition)   conditions={json.dumps(DEFAULT.conditions)}
  horizon={DEFAULT.horizon}   films={DEFAULT.films}   workers={DEFAULT.workers}
  collect.*, model.*, training.*, windows.*, eval.* reach every setting of the parts, as in collect.expert.noise_std=0.2"""
SETTINGS = True
KEYS = tuple(field.name for field in dataclasses.fields(Quickstart))
_PARTS = {"collect": "collect.", "eval": "eval.", "run": ("model.", "training.", "windows.")}
FILE = "quickstart.json"


def add_options(parser: Parser) -> None:
    parser.add_argument("recipe", nargs="?", help="(default: joint), see: foreact recipes list")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="(default: runs/quickstart, with another recipe runs/quickstart-RECIPE)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted quickstart")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.cli.phases import Phases, resolve

    recipe = options.recipe or "joint"
    out = options.out or Path("runs") / ("quickstart" if recipe == "joint" else f"quickstart-{recipe}")
    as_begun = options.resume and options.recipe is None and not settings and (out / FILE).exists()
    what = json.loads((out / FILE).read_text()) if as_begun else _what(recipe, settings)
    resolved = resolve(what)  # refuses what is wrong before anything is written
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        return Phases(out, resolved, Journal(out, what, resume=options.resume)).run()


def _what(recipe: str, settings: list[str]) -> dict[str, Any]:
    """The whole task as JSON data: what a resumed quickstart must agree with."""
    from foreact.contract.config import apply_overrides

    of_parts = {part: [word for word in settings if word.startswith(prefix)] for part, prefix in _PARTS.items()}
    own = [word for word in settings if not any(word in words for words in of_parts.values())]
    command = " ".join(["foreact quickstart", *([] if recipe == "joint" else [recipe]), *map(shlex.quote, settings)])
    plan = dataclasses.asdict(apply_overrides(DEFAULT, own))
    return json.loads(json.dumps({"recipe": recipe, "plan": plan, "settings": of_parts, "command": command}))


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """No second quickstart in this folder at the same time."""
    with storage_errors(out), open(out / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError("another quickstart is at work in this folder", where=str(out),
                              next_step="wait for it, or choose another folder with --out") from None
        yield


class Journal:
    """quickstart.json: what is being done and which phases are over, so that --resume goes on with the first that is not."""

    def __init__(self, out: Path, what: Mapping[str, Any], *, resume: bool) -> None:
        self._path = out / FILE
        self._content: dict[str, Any] = {**what, "phases": {}}
        if self._path.exists():
            before = json.loads(self._path.read_text())
            if not resume:
                raise ConfigError("the folder already holds a quickstart", where=str(self._path), found=_state(before["phases"]),
                                  next_step="go on with it by --resume, or choose another folder with --out")
            self._refuse_others(before, what)
            self._content = before
        atomic_write_json(self._path, self._content)

    def _refuse_others(self, before: Mapping[str, Any], what: Mapping[str, Any]) -> None:
        old, new = ({"recipe": x["recipe"], **x["plan"], **x["settings"]} for x in (before, what))
        differing = [f"{key} was {json.dumps(old[key])}, now {json.dumps(new[key])}" for key in new if old[key] != new[key]]
        if differing:
            raise ConfigError("the quickstart was begun with other settings", where=str(self._path), found="; ".join(differing),
                              next_step="--resume alone goes on as it was begun; or choose another folder with --out")

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each phase so far, over all sittings."""
        return {name: phase["seconds"] for name, phase in self._content["phases"].items()}

    @contextmanager
    def phase(self, name: str) -> Iterator[bool]:
        """Yields whether the phase must still be done; keeps its time whatever happens, and that it is over if it ended well."""
        phase = self._content["phases"].setdefault(name, {"seconds": 0.0, "done": False})
        start, finished = time.monotonic(), False
        try:
            yield not phase["done"]
            finished = True
        finally:
            if not phase["done"]:
                phase["seconds"] += time.monotonic() - start
                phase["done"] = finished
                atomic_write_json(self._path, self._content)


def _state(phases: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {'done' if phase['done'] else 'begun'}" for name, phase in phases.items()) or "nothing done yet"
