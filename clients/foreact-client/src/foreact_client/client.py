"""One session with a served model: plans for observations, over a connection that may break.

Every request has a number. When the connection breaks, a new one is made, the session is taken up by its name, and the same request is
asked again: if the server had answered it, that answer is repeated, so an observation is never counted twice. Where the server no longer
knows the session (it was restarted, or the pause was too long) a new episode begins there with the seed that this one had, and `restarts`
counts it.
"""

from __future__ import annotations

import itertools
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect

from foreact_client.wire import pack, unpack

__all__ = ["Client", "Plan", "Refused", "Unreachable"]


class Refused(Exception):
    """The server does not accept what was sent; the text says what to change. Asking again would not help."""


class Unreachable(Exception):
    """There was no connection for longer than the client's patience."""


@dataclass(frozen=True)
class Plan:
    """actions: (horizon, action), in the units of the action spec, of which the first `replan` are to be carried out before looking again.

    imagined: pictures by camera, (future, height, width, 3), at `offsets` control steps ahead, where they were asked for. value: what the
    model expects of the plan, where it says so. monitor: how what was imagined came true, in multiples of the thresholds of `mismatch` and
    `collapse`, as of the look at `step`; None until something did; `alarms`: what rose above 1 at this look. about: all that the server
    says: session, episode, seed, call, step, batch. timing: in ms.
    """

    actions: np.ndarray
    replan: int
    value: float | None = None
    imagined: Mapping[str, np.ndarray] = field(default_factory=dict)
    offsets: tuple[int, ...] = ()
    monitor: Mapping[str, Any] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)


class Client:
    """address: `ws://HOST:PORT` or `wss://...`. token: the word that the server asks for. certificate: a PEM file that signs the server's,
    where no known authority does. patience: seconds for which a broken connection is tried again. answer_seconds: how long one answer may
    take. `metadata` is what the server says of the model: specs, horizon, replan.

    Several threads may ask; one waits for the other. Closed, it stays so: a question that is under way then raises `Unreachable`."""

    def __init__(self, address: str = "ws://127.0.0.1:8000", *, token: str | None = None, certificate: str | None = None,
                 patience: float = 60.0, answer_seconds: float = 60.0, sleep: Callable[[float], None] = time.sleep) -> None:
        self._address, self._token, self._patience, self._sleep = address, token, patience, sleep
        self._tls = ssl.create_default_context(cafile=certificate) if address.startswith("wss:") else None
        self._answer_seconds = answer_seconds
        self._numbers, self._connection, self._socket = itertools.count(), ExitStack(), None
        self._turn, self._closed = threading.Lock(), False
        self._session: str | None = None
        self._episode: dict[str, Any] = {}
        self.restarts = 0
        self.metadata: dict[str, Any] = {}
        self._persist(self._connect)

    def plan(self, observation: Mapping[str, Any], *, executed: np.ndarray | int | None = None, imagine: bool = False,
             monitor: bool = False) -> Plan:
        """What to do at this observation: {"images": {camera: uint8 (height, width, 3)}, "state": numbers, "prompt": text}.

        executed: actions carried out since the last plan, or how many of its own; by default its first `replan`. monitor: the scores are
        told; a server that watches nothing refuses.
        """
        ours: dict[str, Any] = {"request": next(self._numbers)}
        if executed is not None:
            ours["executed"] = executed
        if imagine:
            ours["imagine"] = True
        if monitor:
            ours["monitor"] = True
        reply = self._ask({**observation, "foreact": ours})
        about = dict(reply["foreact"])
        imagined, watched = about.pop("imagined", {}), about.pop("monitor", None)
        return Plan(actions=reply["actions"], replan=about["replan"], value=about.get("value"), imagined=imagined.get("images", {}),
                    offsets=tuple(imagined.get("offsets", ())), monitor=watched, about=about, timing=reply["server_timing"])

    def reset(self, *, seed: int | None = None, episode: str | None = None) -> dict[str, Any]:
        """A new episode: the server forgets the last one. seed: of its noise. Returns what the server says of it."""
        given = {name: value for name, value in (("seed", seed), ("episode", episode)) if value is not None}
        about = self._ask({"foreact": {"reset": True, "request": next(self._numbers), **given}})["foreact"]
        self._episode = {name: about[name] for name in ("seed", "episode") if about.get(name) is not None}
        return about

    def close(self) -> None:
        self._closed = True
        self._hang_up()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        with self._turn:
            return self._asked(message)

    def _asked(self, message: dict[str, Any]) -> dict[str, Any]:
        packed, before = pack(message), self.restarts

        def once() -> str | bytes:
            if self._socket is None:
                self._connect()
            again = packed
            if self.restarts > before and "executed" in message["foreact"]:  # the new session has no last plan to put this beside
                again = pack({**message, "foreact": {k: v for k, v in message["foreact"].items() if k != "executed"}})
            socket = self._socket
            if socket is None:  # closed meanwhile
                raise Unreachable(f"{self._address}: this client is closed")
            socket.send(again)
            return socket.recv(timeout=self._answer_seconds)

        answer = self._persist(once)
        if isinstance(answer, str):
            raise Refused(answer)
        return unpack(answer)

    def _persist(self, once: Callable[[], Any]) -> Any:
        """Try until it succeeds or patience ends."""
        until, pause = time.monotonic() + self._patience, 0.05
        while True:
            if self._closed:
                raise Unreachable(f"{self._address}: this client is closed")
            try:
                return once()
            except InvalidStatus as error:
                self._hang_up()
                if error.response.status_code in (401, 403):
                    raise Refused(f"the server does not know this client: {error.response.body.decode(errors='replace').strip()}") from None
                failure: Exception = error
            except (OSError, WebSocketException, TimeoutError) as error:
                self._hang_up()
                if isinstance(error, ssl.SSLCertVerificationError):
                    raise Refused(f"the server's certificate is not trusted: {error.verify_message}") from None
                failure = error
            except BaseException:  # interrupted between question and answer: the next answer would be the wrong one
                self._hang_up()
                raise
            if time.monotonic() + pause > until:
                raise Unreachable(f"{self._address}: no answer in {self._patience:g} s ({type(failure).__name__}: {failure})") from failure
            self._sleep(pause)
            pause = min(2 * pause, 2.0)

    def _connect(self) -> None:
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        self._hang_up()
        socket = self._connection.enter_context(connect(
            self._address, compression=None, max_size=None, additional_headers=headers, ssl=self._tls, open_timeout=10))
        self.metadata = unpack(socket.recv(timeout=self._answer_seconds))["foreact"]
        if self._session is None:
            self._session = self.metadata["session"]
        else:
            self._take_up(socket)
        self._socket = socket
        if self._closed:  # meanwhile
            self._hang_up()
            raise Unreachable(f"{self._address}: this client is closed")

    def _hang_up(self) -> None:
        self._connection.close()
        self._socket = None

    def _take_up(self, socket: Any) -> None:
        """Go on with the session, or begin its episode anew where the server has forgotten it."""
        socket.send(pack({"foreact": {"resume": self._session}}))
        about = _answer(socket.recv(timeout=self._answer_seconds))["foreact"]
        if about["resumed"]:
            return
        self.restarts += 1
        self._session = self.metadata["session"]
        if self._episode:
            socket.send(pack({"foreact": {"reset": True, **self._episode}}))
            _answer(socket.recv(timeout=self._answer_seconds))


def _answer(message: str | bytes) -> dict[str, Any]:
    if isinstance(message, str):
        raise Refused(message)
    return unpack(message)
