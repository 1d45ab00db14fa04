"""One question over the wire, as a client would ask it: what `foreact serve --check` does."""

from __future__ import annotations

import ssl
from typing import Any

import numpy as np

from foreact.contract.errors import ForeactError
from foreact.contract.specs import ObservationSpec
from foreact.serving.wire import WireLimits, pack, unpack

__all__ = ["ask_once"]


def ask_once(address: str, observation: ObservationSpec, *, token: str | None = None, certificate: str | None = None,
             ) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metadata, and the answer to a grey picture. certificate: the server's own, which is trusted."""
    from websockets.sync.client import connect

    context = None
    if certificate is not None:
        context = ssl.create_default_context(cafile=certificate)
        context.check_hostname = False  # it is this process that answers, under whatever name the certificate has
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    limits = WireLimits(bytes=2**30)
    grey = {camera.name: np.full((camera.height, camera.width, 3), 128, np.uint8) for camera in observation.cameras}
    with connect(address, compression=None, max_size=None, additional_headers=headers, ssl=context, proxy=None) as socket:
        metadata = unpack(socket.recv(), limits)
        socket.send(pack({"images": grey, "state": np.zeros(observation.state.size, np.float32), "prompt": "do it"}))
        answer = socket.recv()
    if isinstance(answer, str):
        raise ForeactError("the server refuses its own model's observation", where="serve", found=answer)
    return metadata, unpack(answer, limits)
