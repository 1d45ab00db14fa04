"""`foreact COMMAND ...`: picks the command's module, prints its result, turns errors into messages and exit codes.

Exit codes: 0 done, 1 it failed, 2 the words were wrong, 130 interrupted. With `--json` standard output holds one JSON
object and nothing else; all other words go to standard error.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from foreact import __version__
from foreact.cli.children import stop_with_parent
from foreact.cli.parsing import Parser, parse
from foreact.contract.errors import ConfigError, ForeactError, nearest

__all__ = ["COMMANDS", "run"]

COMMANDS = {
    "quickstart": "collect, train, evaluate and report: one command, about 15 minutes on two CPU cores",
    "collect": "record demonstrations of scripted experts as a LeRobot dataset",
    "data": "look at a dataset and check whether it can be trained on",
    "train": "train a recipe on a dataset",
    "teacher": "learn an encoder on a dataset's own frames, for many runs to share",
    "eval": "run a trained model in closed loop and count its successes, with intervals",
    "serve": "give a trained model to robots over the network, many at a time, in openpi's protocol",
    "monitor": "calibrate a monitor of deployed episodes, and measure how well its alarms tell",
    "report": "write the HTML report of a run",
    "recipes": "list recipes, or show one with its resolved config and parameter count",
    "verify": "derive from a running model what it is, and check what it claims",
    "diagnose": "look into data, features and results for one question: manifold, attention, features, consistency, ...",
    "budget": "success against latency, memory and horizon, over the ways to run each recipe, on one page",
    "study": "a declared comparison that runs resumably and ends in one table",
    "census": "every system of the survey's census, and whether it works here",
    "cite": "the BibTeX of a recipe and of its parts",
}
_MODULES = {"eval": "evaluate"}
DIAGNOSES = {
    "manifold": "is video more curved than action, and does a change of looks separate the action's features?",
    "intervention": "where in the picture do the hidden states matter to the action, and is it where hand meets object?",
    "attention": "where in the picture does the action look, by layer, head and step, and is it where hand meets object?",
    "grounding": "the same observation under two instructions, for one model or two: does the action follow what is named?",
    "features": "what do the hidden states know of object, scene and action, layer by layer and beside a teacher?",
    "consistency": "did what was imagined come true, and does that tell success from failure?",
}
"""What `foreact diagnose` knows; each lives in a module `diagnose_NAME`."""
_HELP = """commands
{commands}

foreact COMMAND --help explains each, with an example. Every setting of a config can be overridden by a dotted word:
  foreact train joint --data demos model.coupling.horizon=8 training.batch_size=32

FOREACT_DEBUG=1 shows the traceback of an error."""


@dataclass(frozen=True)
class _Words:
    command: str
    rest: list[str]


def run(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if words is None else words)
    stop_with_parent()
    as_json = "--json" in given
    try:
        chosen = _choose(given)
        if chosen is None:
            return 0
        result = _execute(chosen, as_json)
        _print(json.dumps(result.data, indent=2) if as_json else result.text)
        return result.exit_code
    except ForeactError as error:
        if os.environ.get("FOREACT_DEBUG") == "1":
            raise
        print(f"foreact: {error}", file=sys.stderr)
        if as_json:
            _print(json.dumps({"error": _error(error)}, indent=2))
        return error.exit_code
    except SystemExit as done:  # argparse has printed a help text
        return int(done.code or 0)
    except KeyboardInterrupt as interruption:
        if os.environ.get("FOREACT_DEBUG") == "1":
            raise
        told = str(interruption) or "interrupted; the same command with --resume goes on where this one stopped"
        print(f"\nforeact: {told}", file=sys.stderr)
        return 130


def _choose(given: list[str]) -> _Words | None:
    """The command, or None once the question was answered here."""
    if not given or given[0] in ("-h", "--help", "help"):
        lines = "\n".join(f"  {name:<12}{summary}" for name, summary in COMMANDS.items())
        _print(f"foreact {__version__}: World Action Models, robot policies whose predicted future helps produce the action.\n\n"
               + _HELP.format(commands=lines))
        return None
    if given[0] in ("--version", "-V"):
        _print(f"foreact {__version__}")
        return None
    if given[0] not in COMMANDS:
        raise ConfigError("no such command", where="command", found=given[0], accepted=", ".join(COMMANDS),
                          next_step=nearest(given[0], COMMANDS))
    return _diagnosis(given[1:]) if given[0] == "diagnose" else _Words(given[0], given[1:])


def _diagnosis(given: list[str]) -> _Words | None:
    """The diagnosis, whose words are those of a command of its own."""
    if not given or given[0] in ("-h", "--help", "help"):
        lines = "\n".join(f"  {name:<14}{summary}" for name, summary in DIAGNOSES.items())
        _print(f"usage: foreact diagnose DIAGNOSIS ...\n\n{COMMANDS['diagnose']}\n\ndiagnoses\n{lines}"
               + "\n\nexample\n  foreact diagnose manifold --help")
        return None
    if given[0] not in DIAGNOSES:
        raise ConfigError("no such diagnosis", where="diagnose", found=given[0], accepted=", ".join(DIAGNOSES),
                          next_step=nearest(given[0], DIAGNOSES))
    return _Words(f"diagnose {given[0]}", given[1:])


def _execute(chosen: _Words, as_json: bool) -> Any:
    group, _, diagnosis = chosen.command.partition(" ")
    command = importlib.import_module(f"foreact.cli.{_MODULES.get(group, group)}" + (f"_{diagnosis}" if diagnosis else ""))
    parser = Parser(chosen.command, DIAGNOSES[diagnosis] if diagnosis else COMMANDS[group], command.TEXT)
    command.add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, all else on standard error")
    options, settings = parse(parser, chosen.rest, settings=command.SETTINGS, keys=command.KEYS)
    # a library that prints must not spoil the one JSON object
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        return command.main(options, settings)


def _error(error: ForeactError) -> dict[str, str]:
    parts = {"what": error.what, "where": error.where, "found": error.found, "accepted": error.accepted, "next_step": error.next_step}
    return {"kind": type(error).__name__, **{name: str(value) for name, value in parts.items() if value not in (None, "")}}


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader had enough, as in `foreact recipes list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
