"""The server's side of a WebSocket (RFC 6455), as far as the SDK's sockets need it."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from openai_project_guard.loopback._directory import RefusedError

if TYPE_CHECKING:
    from io import BufferedIOBase

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_HELLO = b'{"type":"session.created","event_id":"event_loopback","session":{}}'


def accepted(key: str | None) -> dict[str, str]:
    """The headers that answer a handshake with this `Sec-WebSocket-Key`."""
    if not key:
        raise RefusedError(400, None, "A WebSocket handshake needs Sec-WebSocket-Key")
    # The RFC wants SHA-1 as a mere checksum; saying so keeps FIPS builds of Python content.
    digest = hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()
    return {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": base64.b64encode(digest).decode(),
    }


def converse(incoming: BufferedIOBase, outgoing: BufferedIOBase) -> None:
    """Greet, answer pings, ignore everything else, and return when either side closes."""
    _send(outgoing, _TEXT, _HELLO)
    while len(head := incoming.read(2)) == 2:
        opcode, length = head[0] & 0x0F, head[1] & 0x7F
        if length > 125:
            length = int.from_bytes(incoming.read(2 if length == 126 else 8), "big")
        mask = incoming.read(4)  # Clients must mask; a server must not.
        masked = incoming.read(length)
        if opcode in (_CLOSE, _PING):
            payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))
            _send(outgoing, _PONG if opcode == _PING else _CLOSE, payload)
        if opcode == _CLOSE:
            return


def _send(outgoing: BufferedIOBase, opcode: int, payload: bytes) -> None:
    # One length byte is enough: the greeting is short, and RFC 6455 caps control frames at 125.
    outgoing.write(bytes((0x80 | opcode, len(payload))) + payload)
    outgoing.flush()
