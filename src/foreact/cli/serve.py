"""`foreact serve RUN`."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from foreact.cli.parsing import Parser
from foreact.cli.result import Result
from foreact.contract.progress import say
from foreact.serving.settings import ServerSettings

__all__ = ["KEYS", "SETTINGS", "TEXT", "add_options", "main", "until_told"]

TEXT = """Serves a trained model to robots over a WebSocket, in openpi's protocol: openpi-client and foreact-client can both connect.
Every connection is a session with an episode and a memory of its own; plans of several sessions are made together, and are the same
to the last bit as if each had been alone. GET /healthz says OK once the model is warmed up; GET /metrics is for Prometheus.
Ctrl-C or SIGTERM stops: what was asked is still answered.

It listens on this machine only unless told otherwise, and beyond it only with a token (or open=true).

examples
  foreact serve runs/joint
  foreact serve runs/joint port=9000 lanes=1
  foreact serve runs/joint host=0.0.0.0 token_file=robot.token certificate=server.pem key=server-key.pem
  foreact serve runs/uwm monitor=runs/uwm/monitor.json     every session is watched; a client may ask for the scores
  foreact serve runs/joint --check           warm up, plan once over the wire, say what a client would be told, and stop

settings (each as key=value or --key value)
  host=127.0.0.1    port=8000 (0: a free one)   token_file=FILE       certificate=FILE  key=FILE     open=false
  lanes=4           batch=16                    wait_ms=4             imagine=true      seed=0
  sessions=128      idle_seconds=600            keep_seconds=60       send_seconds=10   drain_seconds=20
  mistakes=8        message_bytes=0 (four times what the cameras and the state take)
  precision=float32|bfloat16|int8               compile=off|default|graphs: how plans are computed, and how soon it is ready
  monitor=FILE (of `foreact monitor calibrate`)         monitor_teacher=FOLDER (where its distance is perceptual)
  model.coupling.steps=4 ...   any setting of the model that changes no weight
lanes=4 gives the actions that `foreact eval` measured; lanes=1 is faster for a single robot, and differs in the last bits."""
SETTINGS = True
KEYS = tuple(field.name for field in fields(ServerSettings))


def add_options(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run or checkpoint folder")
    parser.add_argument("--check", action="store_true", help="plan once over the wire, on a free port, and stop")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps (default: cpu)")


def main(options: argparse.Namespace, settings: list[str]) -> Result:
    from foreact.cli.evaluate import with_settings
    from foreact.contract.config import apply_overrides
    from foreact.training.checkpoint import load_model

    of_model = [word for word in settings if word.startswith("model.")]
    chosen = apply_overrides(ServerSettings(), [word for word in settings if word not in of_model])
    model, name = with_settings(load_model(options.run, device=options.device), of_model), Path(options.run).name
    if options.check:
        return _checked(model, chosen, name)
    asyncio.run(until_told(model, chosen, name))
    return Result(data={"stopped": True}, text="stopped; everything that was asked has been answered")


async def until_told(model: Any, settings: ServerSettings, name: str, *, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until Ctrl-C or SIGTERM; a second one stops at once. ready: called once the model is warm."""
    from foreact.serving.server import Server

    stop, loop, address = asyncio.Event(), asyncio.get_running_loop(), ["?"]

    def told() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        say("stopping: what was asked is still answered; once more stops at once")
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError):  # in a thread other than the main one signals cannot be heard
            loop.add_signal_handler(number, told)

    def listening(port: int) -> None:
        address[0] = f"{'ws' if settings.certificate is None else 'wss'}://{settings.host}:{port}"
        say(f"warming up; listening on {address[0]}")

    def warm() -> None:
        say(f"ready on {address[0]}")
        ready()

    await Server(model, settings, name=name).run(stop, listening=listening, ready=warm)


def _checked(model: Any, settings: ServerSettings, name: str) -> Result:
    from foreact.serving.background import serving
    from foreact.serving.probe import ask_once

    with serving(model, replace(settings, host="127.0.0.1", port=0), name=name) as address:
        metadata, reply = ask_once(address, model.observation, token=settings.token(), certificate=settings.certificate)
    about, timing = metadata["foreact"], reply["server_timing"]
    rows, width = reply["actions"].shape
    data = {"metadata": about, "actions": [rows, width], "infer_ms": round(timing["infer_ms"], 2)}
    text = (f"{name}: {rows} actions of {width} numbers in {timing['infer_ms']:.1f} ms, {about['replan']} of them until the next look\n"
            f"cameras {', '.join(f'{c.name} {c.width}x{c.height}' for c in model.observation.cameras)}; "
            f"state {model.observation.state.size}; {'with' if about['memory'] else 'no'} memory; "
            f"{'its future can be asked for' if about['imagines'] else 'no future to show'}")
    return Result(data=json.loads(json.dumps(data)), text=text)
