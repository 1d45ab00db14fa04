"""A server in a thread of this process, for notebooks and tests: with serving(model) as address: ..."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from foreact.model import WorldActionModel
from foreact.serving.server import Server
from foreact.serving.settings import ServerSettings

__all__ = ["serving"]


@contextmanager
def serving(model: WorldActionModel, settings: ServerSettings | None = None, *, name: str = "") -> Iterator[str]:
    """Yields the address, such as `ws://127.0.0.1:40123`, once the model is warm; stops as `foreact serve` does."""
    settings = settings or ServerSettings(port=0)
    ready, found, failure = threading.Event(), {}, []

    async def run() -> None:
        found["loop"], found["stop"] = asyncio.get_running_loop(), asyncio.Event()
        await Server(model, settings, name=name).run(found["stop"], listening=lambda port: found.update(port=port), ready=ready.set)

    def target() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failure.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=target, name="foreact-server", daemon=True)
    thread.start()
    ready.wait()
    try:
        if failure:
            raise failure[0]
        yield f"{'ws' if settings.certificate is None else 'wss'}://{settings.host}:{found['port']}"
    finally:
        if thread.is_alive():
            found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join()
