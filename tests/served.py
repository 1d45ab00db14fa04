"""What tests ask a running server beside its clients."""

import http.client
import socket
import struct
import time


def port_of(address):
    return int(address.rpartition(":")[2])


def get(address, path, headers=()):
    connection = http.client.HTTPConnection("127.0.0.1", port_of(address), timeout=5)
    connection.request("GET", path, headers=dict(headers))
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def raw(address, data=b""):
    made = socket.create_connection(("127.0.0.1", port_of(address)), timeout=5)
    made.sendall(data)
    return made


def opened(address):
    """A socket past the handshake, on which anything can be sent."""
    made = raw(address, b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
    assert b"101 Switching" in made.recv(4096)
    return made


def frame(kind, data, *, length=None):
    """A masked frame; `length`: what its head claims."""
    size = len(data) if length is None else length
    head = bytes([0x80 | kind]) + (bytes([0x80 | size]) if size < 126 else bytes([0xFF]) + struct.pack(">Q", size))
    return head + bytes(4) + data
