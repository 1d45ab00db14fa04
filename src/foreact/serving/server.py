"""`foreact serve`: openpi's WebSocket protocol around one model.

On connection the server sends its metadata; then every binary frame is a request and is answered by one binary frame, or by one text
frame that says what was wrong with it. `GET /healthz` says OK once the model is warmed up, `GET /metrics` is for Prometheus. The event
loop reads, checks and writes; plans are made by the desk's thread, so that no client waits for another's bytes. What each client can hold
on to is bounded: one request at a time, two frames unread, the size of a message, its silence, and the time it takes to read an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import http
import logging
import secrets
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from foreact import __version__
from foreact.contract.config import encode
from foreact.contract.errors import ForeactError, MissingExtraError, SpecError
from foreact.model import WorldActionModel
from foreact.serving.desk import Desk, Failed, Job
from foreact.serving.metrics import Metrics
from foreact.serving.requests import Request, read_request
from foreact.serving.sessions import Served, Sessions
from foreact.serving.settings import ServerSettings
from foreact.serving.wire import WireLimits, pack, unpack

__all__ = ["PROTOCOL", "Server"]

PROTOCOL = 1
"""The version of what stands under "foreact"; it rises when a client of an older one would misunderstand."""
_log = logging.getLogger("foreact.serving")
_UNREAD = 2**24
"""Bytes that wait for a client to read them, beyond which it is let go."""
_BREATH = 0.02
"""Seconds after a message that took no plan: whoever sends many of them does not keep the event loop from the others."""
_SWITCH = 0.0005
"""Seconds after which a busy thread gives way: the model's thread gives way at every operation, and would wait as long each time."""
_GOING_AWAY, _POLICY, _TOO_MUCH = 1001, 1008, 1013


class Server:
    """One model, many sessions. name: what the model is called in the metadata."""

    def __init__(self, model: WorldActionModel, settings: ServerSettings, *, name: str = "") -> None:
        self._model, self._settings, self._name = model, settings, name
        self._token, self._tls = settings.token(), settings.tls()
        self._limits = WireLimits(bytes=settings.largest_message(model.observation))
        self.metrics = Metrics()
        self._sessions = Sessions(most=settings.sessions, keep_seconds=settings.keep_seconds, seed=settings.seed)
        self._desk = Desk(model, settings, self.metrics, lambda: self._open)
        self._open, self._boot, self._closing = 0, secrets.token_hex(8), False
        self._resting: set[Any] = set()
        self._ready = asyncio.Event()

    @property
    def metadata(self) -> dict[str, Any]:
        """What every client is told first, beside its session's name."""
        coupling, model = self._model.config.coupling, self._model
        return {"protocol": PROTOCOL, "version": __version__, "model": self._name, "server": self._boot,
                "observation": encode(model.observation), "action": encode(model.action), "horizon": coupling.horizon,
                "replan": model.config.regime.period() or coupling.horizon, "regime": model.regime.name, "memory": model.regime.persistent,
                "future_offsets": list(coupling.future_offsets), "imagines": self._desk.imagines,
                "monitors": self._settings.monitor is not None, "lanes": self._settings.lanes,
                "precision": self._settings.precision,
                "message_bytes": self._limits.bytes, "idle_seconds": self._settings.idle_seconds}

    async def run(self, stop: asyncio.Event, *, listening: Callable[[int], None] = lambda port: None,
                  ready: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop` is set, then finish what was begun. listening: told the port; ready: the model is warm."""
        loop = asyncio.get_running_loop()

        def tried() -> None:
            """In the loop, after the desk warmed up or failed to."""
            if self._desk.broken is not None:
                stop.set()
            else:
                self._ready.set()
                ready()

        limits = self._settings
        library = _websockets()
        from foreact.serving.connection import Connection

        serve = library.asyncio.server.serve(
            self._talk, limits.host, limits.port, process_request=self._greet, create_connection=Connection,
            compression=None, max_size=self._limits.bytes,
            max_queue=2, write_limit=2**16, open_timeout=5, ping_interval=20, ping_timeout=20, close_timeout=5, ssl=self._tls,
            server_header=None, logger=_quiet())
        before, asyncios = sys.getswitchinterval(), logging.getLogger("asyncio")
        sys.setswitchinterval(_SWITCH)
        asyncios.addFilter(_is_news)
        try:
            async with contextlib.AsyncExitStack() as stack:
                server = await stack.enter_async_context(serve)
                listening(server.sockets[0].getsockname()[1])
                self._desk.start(lambda: loop.call_soon_threadsafe(tried))
                sweeping = asyncio.create_task(self._sweep(server))
                await stop.wait()
                sweeping.cancel()
                await self._finish(server)
        except OSError as error:
            raise ForeactError("cannot listen here", where=f"{limits.host}:{limits.port}", found=error.strerror or str(error),
                               next_step="another port, as port=8001, or port=0 for a free one") from error
        finally:
            sys.setswitchinterval(before)
            asyncios.removeFilter(_is_news)
        if self._desk.broken is not None:
            raise self._desk.broken

    # --- before a connection is one ------------------------------------------------------------------------------------

    def _greet(self, connection: Any, request: Any) -> Any:
        """An HTTP answer, or None to open a WebSocket."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n") if self._ready.is_set() else connection.respond(
                http.HTTPStatus.SERVICE_UNAVAILABLE, "warming up\n")
        if not self._known(request.headers.get_all("Authorization")):
            self.metrics.count("foreact_connections_total", "unknown")
            answer = connection.respond(http.HTTPStatus.UNAUTHORIZED, "Authorization: Bearer TOKEN is needed\n")
            answer.headers["WWW-Authenticate"] = "Bearer"
            return answer
        if path == "/metrics":
            answer = connection.respond(http.HTTPStatus.OK, self.metrics.text(self._gauges()))
            del answer.headers["Content-Type"]
            answer.headers["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8"
            return answer
        if self._open >= self._settings.sessions or self._closing:
            self.metrics.count("foreact_connections_total", "full")
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "stopping\n" if self._closing else "all sessions are taken\n")
        return None

    def _known(self, given: list[str]) -> bool:
        """Whether the request carries the token; as long in the wrong case as in the right one. openpi writes `Api-Key`."""
        if self._token is None:
            return True
        scheme, _, word = (given[0] if len(given) == 1 else "").partition(" ")
        digests = [hashlib.sha256(x.encode("utf-8", "surrogateescape")).digest() for x in (word.strip(), self._token)]
        return hmac.compare_digest(*digests) and scheme.lower() in ("bearer", "api-key")

    def _gauges(self) -> dict[str, float]:
        return {"foreact_ready": float(self._ready.is_set()), "foreact_sessions_connected": self._sessions.connected,
                "foreact_sessions_waiting": self._sessions.waiting, "process_resident_memory_bytes": _resident()}

    # --- one connection ------------------------------------------------------------------------------------------------

    async def _talk(self, socket: Any) -> None:
        """Everything that one client says and hears."""
        closed = _websockets().exceptions.ConnectionClosed
        if self._open >= self._settings.sessions:  # several were greeted at once
            return await socket.close(_TOO_MUCH, "all sessions are taken")
        self._open += 1
        self.metrics.count("foreact_connections_total", "opened")
        served = self._sessions.open(socket)
        try:
            await self._ready.wait()
            await self._send(socket, pack({"foreact": {**self.metadata, "session": served.name}}))
            mistakes = 0
            while not self._closing:
                message = await self._receive(socket)
                if message is None:
                    break
                try:
                    request = self._read(message)
                    mistakes = 0
                except SpecError as error:
                    self.metrics.count("foreact_requests_total", "refused")
                    await self._send(socket, str(error))
                    await asyncio.sleep(_BREATH)
                    mistakes += 1
                    if mistakes >= self._settings.mistakes:
                        await socket.close(_POLICY, "too many messages that cannot be read")
                        break
                    continue
                if request.resume is not None:
                    served = self._resumed(request.resume, served, socket)
                await self._send(socket, await self._answer(served, request, socket))
            if self._closing:
                await socket.close(_GOING_AWAY, "the server is stopping")
        except (closed, TimeoutError):
            self.metrics.count("foreact_connections_total", "broken")
        finally:
            self._open -= 1
            self._resting.discard(socket)
            self._sessions.leave(served, socket)

    def _read(self, message: str | bytes) -> Request:
        if isinstance(message, str):
            raise SpecError("a message is a binary frame", where="message", found="text", next_step="pack it as openpi-client does")
        return read_request(unpack(message, self._limits), self._model.observation, self._model.action,
                            horizon=self._model.config.coupling.horizon, watched=self._settings.monitor is not None)

    async def _receive(self, socket: Any) -> str | bytes | None:
        """The next message; None where the client was silent for too long, and is gone now."""
        self._resting.add(socket)
        try:
            return await asyncio.wait_for(socket.recv(), self._settings.idle_seconds)
        except TimeoutError:
            self.metrics.count("foreact_connections_total", "idle")
            await socket.close(_GOING_AWAY, f"silent for {self._settings.idle_seconds:g} s")
            return None
        finally:
            self._resting.discard(socket)

    async def _send(self, socket: Any, answer: bytes | str) -> None:
        """Send, or hang up where the client does not read."""
        try:
            await asyncio.wait_for(socket.send(answer), self._settings.send_seconds)
        except TimeoutError:
            self.metrics.count("foreact_connections_total", "slow")
            socket.transport.abort()
            raise

    def _resumed(self, name: str, own: Served, socket: Any) -> Served:
        """The session of that name, if there is one; whoever else held it is let go."""
        found, before = self._sessions.adopt(name, socket)
        if found is None or found is own:
            return own
        self._sessions.end(own)
        if before is not None:
            before.transport.abort()
        return found

    async def _answer(self, served: Served, request: Request, socket: Any) -> bytes | str:
        if request.number is not None and served.answered is not None and served.answered[0] == request.number:
            self.metrics.count("foreact_requests_total", "repeated")
            await asyncio.sleep(_BREATH)
            return served.answered[1]
        if request.observation is None and not request.reset:
            known = request.resume == served.name
            await asyncio.sleep(_BREATH)
            return pack({"foreact": {"session": served.name, "resumed": known, "episode": served.episode, "seed": served.seed,
                                     "call": served.memory.calls, "step": served.memory.steps}})
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[bytes | Failed] = loop.create_future()
        job = Job(served, request, partial(_deliver, loop, waiting))
        self._desk.submit(job)
        gone = asyncio.ensure_future(socket.wait_closed())
        try:
            await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise TimeoutError  # the client is gone
        finally:
            gone.cancel()
            if not waiting.done():
                self._desk.drop(job)
                waiting.cancel()
        answer = waiting.result()
        self.metrics.count("foreact_requests_total", "failed" if isinstance(answer, Failed) else "answered")
        return str(answer) if isinstance(answer, Failed) else answer

    # --- beginning and end ---------------------------------------------------------------------------------------------

    async def _sweep(self, server: Any) -> None:
        """Let go of what nobody came back for, and of clients that make the server talk without listening, as by pings."""
        while True:
            await asyncio.sleep(min(0.5, self._settings.keep_seconds / 4))
            for socket in [s for s in server.connections if s.transport.get_write_buffer_size() > _UNREAD]:
                self.metrics.count("foreact_connections_total", "slow")
                socket.transport.abort()
            expired = self._sessions.expire()
            if expired:
                self.metrics.count("foreact_sessions_expired_total", "expired", expired)

    async def _finish(self, server: Any) -> None:
        """Take no more, answer what was asked, say goodbye."""
        self._closing = True
        self._ready.set()  # whoever waits for a model to warm up is let go as well
        server.close(close_connections=False)
        goodbyes = [asyncio.ensure_future(socket.close(_GOING_AWAY, "the server is stopping")) for socket in self._resting]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), self._settings.drain_seconds)
        for goodbye in goodbyes:
            goodbye.cancel()
        for socket in server.connections:
            socket.transport.abort()
        self._desk.stop()
        await asyncio.to_thread(self._desk.join, self._settings.drain_seconds)


def _deliver(loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[bytes | Failed], answer: bytes | Failed) -> None:
    """From the desk's thread to the loop's."""
    def put() -> None:
        if not waiting.done():
            waiting.set_result(answer)

    with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits
        loop.call_soon_threadsafe(put)


def _resident() -> float:
    """Resident bytes of this process; where the system does not tell the present, the most that there were."""
    try:
        with open("/proc/self/statm") as file:
            return float(int(file.read().split()[1]) * 4096)
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return float(peak if sys.platform == "darwin" else peak * 1024)


def _is_news(record: logging.LogRecord) -> bool:
    """A client that went away while it was answered is none, and one that does so on purpose would fill the log."""
    return "socket.send() raised exception" not in record.getMessage()


def _quiet() -> logging.Logger:
    """Strangers' handshakes that fail are no news."""
    logger = logging.getLogger("foreact.serving.websockets")
    logger.setLevel(logging.CRITICAL)
    return logger


def _websockets() -> Any:
    try:
        import websockets.asyncio.server
        import websockets.exceptions
    except ImportError as error:
        raise MissingExtraError("websockets", "serve", "serving a model") from error
    return websockets
