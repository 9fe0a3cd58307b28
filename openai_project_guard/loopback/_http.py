"""HTTP/1.1 on a loopback socket: read a request, decide, write the ledger, answer."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import socketserver
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from openai_project_guard.loopback import _answers, _websocket
from openai_project_guard.loopback._directory import Directory, RefusedError, hint
from openai_project_guard.loopback._ledger import Ledger, LedgerLine
from openai_project_guard.loopback._listing import Administration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import WriteableBuffer


class Server(socketserver.ThreadingTCPServer):
    """One thread for each connection; all of them end with the server."""

    # Not http.server.HTTPServer: binding that one asks the resolver for the host's full name,
    # which takes seconds on some machines.
    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # a port of one's choice, again at once; see bind(2)
    request_queue_size = 128

    def __init__(self, directory: Directory, ledger: Ledger, port: int = 0) -> None:
        self.directory = directory
        self.administration = Administration(directory)
        self.ledger = ledger
        self.project_on_answers: str | None = None
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.ledger.count_connection()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep alive, and with them their threads."""
        for connection in self._open.copy():
            with suppress(OSError):  # The client was faster.
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: Any) -> None:
        # A client may hang up whenever it likes; anything else is a mistake of this server.
        if not isinstance(sys.exc_info()[1], OSError):
            logging.getLogger("openai_project_guard.loopback").exception("loopback server failed")


class _Meter(io.RawIOBase):
    """Counts bytes as they leave the socket, so that half a request is seen too."""

    def __init__(self, connection: socket.socket, ledger: Ledger) -> None:
        self._connection = connection
        self._ledger = ledger
        self._unclaimed = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        number = self._connection.recv_into(buffer)
        self._unclaimed += number
        self._ledger.count_bytes(number)
        return number

    def claim(self) -> int:
        """The bytes that came since the last claim."""
        number, self._unclaimed = self._unclaimed, 0
        return number


@dataclass(frozen=True)
class _Call:
    """What a client asks for."""

    path: str
    query: Mapping[str, str]
    json: dict[str, Any]
    is_socket: bool

    @property
    def stream(self) -> bool:
        return self.json.get("stream") is True or self.query.get("stream") == "true"


@dataclass(frozen=True)
class _Outcome:
    """What the client gets, and who pays for it."""

    status: int
    headers: Mapping[str, str]
    json: dict[str, Any] = field(default_factory=dict)
    billed: str | None = None


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # Head and body in one packet.
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._meter = _Meter(self.connection, self.server.ledger)
        self.rfile = io.BufferedReader(self._meter)

    def do_GET(self) -> None:
        call = self._read_call()
        outcome = self._decide(call)
        # Before the answer goes out: a client that has its answer must find the line.
        self.server.ledger.write(
            LedgerLine(
                method=self.command,
                path=call.path,
                key_hint=hint(key) if (key := self._key()) else None,
                project_header=self._header("OpenAI-Project"),
                billed_project=outcome.billed,
                status=outcome.status,
                bytes_received=self._meter.claim(),
                stream=call.stream,
            )
        )
        if outcome.status == 101:
            self._converse(outcome)
        elif outcome.status == 200 and call.stream:
            self._send_events(outcome, _answers.events(self.command, call.path, call.json))
        else:
            self._send_json(outcome)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

    # What the client sent

    def _read_call(self) -> _Call:
        url = urlsplit(self.path)
        try:
            asked = json.loads(self._read_body())
        except ValueError:
            asked = None  # An upload, or nothing.
        return _Call(
            path=unquote(url.path),
            query=dict(parse_qsl(url.query)),
            json=asked if isinstance(asked, dict) else {},
            is_socket="websocket" in (self._header("Upgrade") or "").lower(),
        )

    def _read_body(self) -> bytes:
        if "chunked" not in (self._header("Transfer-Encoding") or "").lower():
            return self._read_exactly(int(self._header("Content-Length") or 0))
        body = b""
        while size := int(self._read_line().partition(b";")[0], 16):
            body += self._read_exactly(size)
            self._read_line()
        while self._read_line().strip():
            pass  # Trailers.
        return body

    def _read_line(self) -> bytes:
        return self.rfile.readline() or self._read_exactly(1)

    def _read_exactly(self, size: int) -> bytes:
        part = self.rfile.read(size)
        if len(part) < size:
            # Half a request is no call: it must not reach the ledger as one.
            raise ConnectionResetError("the client hung up in the middle of a request")
        return part

    def _header(self, name: str) -> str | None:
        # Two headers of one name are one list to HTTP, and so no project that anybody has.
        values = self.headers.get_all(name)
        return ", ".join(value.strip() for value in values) if values else None

    def _key(self) -> str | None:
        scheme, _, key = (self._header("Authorization") or "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" else None

    # What it gets

    def _decide(self, call: _Call) -> _Outcome:
        headers = {"x-request-id": self.server.ledger.next_request_id()}
        if fault := self.server.ledger.take_fault():
            answer = RefusedError(fault.status, "loopback_fault", "fail_next() asked for this")
            return _Outcome(fault.status, {**headers, **fault.headers}, answer.body)
        directory = self.server.directory
        try:
            billed = directory.bill(
                call.path,
                self._key(),
                self._header("OpenAI-Project"),
                self._header("OpenAI-Organization"),
            )
            headers["openai-organization"] = directory.organization
            if billed:
                headers["openai-project"] = self.server.project_on_answers or billed
            if call.is_socket:
                return _Outcome(101, {**headers, **self._upgrade()}, billed=billed)
            return _Outcome(200, headers, self._answer(call), billed)
        except RefusedError as refused:
            return _Outcome(refused.status, headers, refused.body)

    def _answer(self, call: _Call) -> dict[str, Any]:
        if self.command == "GET":
            page = self.server.administration.answer(call.path, call.query)
            if page is not None:
                return page
        return _answers.answer(self.command, call.path, call.query, call.json)

    def _upgrade(self) -> dict[str, str]:
        key = self._header("Sec-WebSocket-Key")
        if not key:
            raise RefusedError(400, None, "A WebSocket handshake needs Sec-WebSocket-Key")
        return {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": _websocket.accept(key),
        }

    def _converse(self, outcome: _Outcome) -> None:
        self.close_connection = True
        self._send_head(outcome)
        _websocket.converse(self.rfile, self.wfile)

    def _send_json(self, outcome: _Outcome) -> None:
        body = json.dumps(outcome.json).encode()
        self._send_head(
            outcome, {"Content-Type": "application/json", "Content-Length": str(len(body))}
        )
        self.wfile.write(body)

    def _send_events(self, outcome: _Outcome, events: list[bytes]) -> None:
        self._send_head(
            outcome, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        )
        for event in events:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _send_head(self, outcome: _Outcome, about_body: Mapping[str, str] | None = None) -> None:
        self.send_response(outcome.status)
        for name, value in {**(about_body or {}), **outcome.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def version_string(self) -> str:
        return "openai-project-guard-loopback"

    def log_message(self, *_: Any) -> None:
        pass  # The ledger is the log.
