"""A connection whose control frames are counted: the library answers pings by itself, so a flood of them would keep the loop busy."""

from __future__ import annotations

import time
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode

__all__ = ["Connection"]

_AT_ONCE, _EACH_SECOND = 50.0, 5.0


class Connection(ServerConnection):
    """Hangs up on more than some fifty pings and pongs at once, or more than five a second."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._allowed, self._since = _AT_ONCE, time.monotonic()

    def process_event(self, event: Any) -> None:
        """The library's own, for every frame that has come."""
        if isinstance(event, Frame) and event.opcode in (Opcode.PING, Opcode.PONG):
            now = time.monotonic()
            self._allowed = min(_AT_ONCE, self._allowed + _EACH_SECOND * (now - self._since)) - 1
            self._since = now
            if self._allowed < 0:
                self.transport.abort()
                return
        super().process_event(event)
