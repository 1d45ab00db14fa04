"""How a server listens, how it shares its model, and what it refuses."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from foreact.acting.execution import Compile, Execution, Precision
from foreact.contract.errors import ConfigError
from foreact.contract.specs import ObservationSpec

__all__ = ["ServerSettings"]


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """host, port: where it listens; port 0 takes a free one. token_file: holds the word that clients must know. certificate, key: PEM
    files. open: whether anybody may connect from another machine, without a token.

    lanes: the batch that defines a plan. batch: plans that are made together at most. wait_ms: how long a plan waits for others to share
    its batch. imagine: whether the imagined future may be asked for. seed: of the first episode of every session. monitor: the
    calibration by which every session is watched; monitor_teacher: the folder in whose features, where its distance is perceptual.
    precision, compile: how plans are computed (`foreact.acting.execution`).

    sessions: connections at a time, and as many again that are kept for clients to come back to. idle_seconds: silence after which a
    session ends. keep_seconds: how long it is kept when its connection breaks. send_seconds: how long a client may take to read.
    drain_seconds: how long a stopping server finishes what it began. mistakes: unreadable messages in a row until it hangs up.
    message_bytes: of one message at most; 0 for four times what the cameras and the state take.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token_file: str | None = None
    certificate: str | None = None
    key: str | None = None
    open: bool = False
    lanes: int = 4
    batch: int = 16
    wait_ms: float = 4.0
    imagine: bool = True
    seed: int = 0
    precision: Precision = "float32"
    compile: Compile = "off"
    monitor: str | None = None
    monitor_teacher: str | None = None
    sessions: int = 128
    idle_seconds: float = 600.0
    keep_seconds: float = 60.0
    send_seconds: float = 10.0
    drain_seconds: float = 20.0
    mistakes: int = 8
    message_bytes: int = 0

    def __post_init__(self) -> None:
        if self.lanes < 1 or self.batch < self.lanes:
            raise ConfigError("a batch holds at least its lanes", where="serve.batch", found=f"batch = {self.batch}, lanes = {self.lanes}",
                              accepted="lanes of 1 or more, and a batch of as many or more")
        for name in ("sessions", "idle_seconds", "keep_seconds", "send_seconds", "drain_seconds", "mistakes"):
            if getattr(self, name) <= 0:
                raise ConfigError("a limit is above zero", where=f"serve.{name}", found=getattr(self, name))
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("TLS takes a certificate and its key", where="serve.certificate",
                              found=f"certificate = {self.certificate}, key = {self.key}", accepted="both, or neither")
        if not self.open and self.token_file is None and not _loopback(self.host):
            raise ConfigError("whoever reaches this address could move the robot", where="serve.host", found=self.host,
                              accepted="127.0.0.1, or another address with a token",
                              next_step="token_file=FILE, or open=true where the network itself is trusted")

    @property
    def execution(self) -> Execution:
        return Execution(precision=self.precision, compile=self.compile)

    def token(self) -> str | None:
        """The word that clients must know."""
        if self.token_file is None:
            return None
        try:
            word = Path(self.token_file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError("the token cannot be read", where="serve.token_file", found=str(error)) from error
        if len(word) < 16:
            raise ConfigError("a token that can be guessed is none", where="serve.token_file", found=f"{len(word)} characters",
                              accepted="16 or more", next_step=f"openssl rand -hex 32 > {self.token_file}")
        return word

    def tls(self) -> ssl.SSLContext | None:
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError("the certificate and its key cannot be used", where="serve.certificate", found=f"{error}",
                              accepted="two PEM files that belong together") from error
        return context

    def largest_message(self, observation: ObservationSpec) -> int:
        """In bytes: room for every camera as 8-byte numbers would be too much, for two views of each it is enough."""
        if self.message_bytes:
            return self.message_bytes
        pictures = sum(3 * camera.height * camera.width for camera in observation.cameras)
        return 4 * (pictures + 8 * observation.state.size) + 65_536


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
