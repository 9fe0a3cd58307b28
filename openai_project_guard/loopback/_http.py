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
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from openai_project_guard._keys import hint
from openai_project_guard.loopback import _endpoints, _websocket
from openai_project_guard.loopback._admin_endpoints import Administration
from openai_project_guard.loopback._directory import Directory, RefusedError
from openai_project_guard.loopback._ledger import Ledger, LedgerLine

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
        with self.ledger.lock:
            self.ledger.connections += 1
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
        self.unclaimed = 0  # bytes since the last request

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        number = self._connection.recv_into(buffer)
        self.unclaimed += number
        with self._ledger.lock:
            self._ledger.bytes_received += number
        return number


class _Call(NamedTuple):
    """What a client asks for."""

    path: str
    query: Mapping[str, str]
    json: dict[str, Any]
    key: str | None
    project: str | None

    @property
    def stream(self) -> bool:
        return self.json.get("stream") is True or self.query.get("stream") == "true"


class _Answer(NamedTuple):
    """What the client gets, and who pays for it."""

    status: int
    headers: Mapping[str, str]
    json: dict[str, Any]
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
        answer = self._answer(call)
        received, self._meter.unclaimed = self._meter.unclaimed, 0
        # Before the answer goes out: a client that has its answer must find the line.
        self.server.ledger.lines.append(
            LedgerLine(
                method=self.command,
                path=call.path,
                key_hint=hint(call.key) if call.key else None,
                project_header=call.project,
                billed_project=answer.billed,
                status=answer.status,
                bytes_received=received,
                stream=call.stream,
            )
        )
        if answer.status == 101:
            self.close_connection = True
            self._send_head(answer)
            _websocket.converse(self.rfile, self.wfile)
        elif answer.status == 200 and call.stream:
            self._send_head(
                answer, **{"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
            )
            for event in _endpoints.events(self.command, call.path, call.json):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        else:
            body = json.dumps(answer.json).encode()
            self._send_head(
                answer, **{"Content-Type": "application/json", "Content-Length": str(len(body))}
            )
            self.wfile.write(body)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

    # What the client sent

    def _read_call(self) -> _Call:
        url = urlsplit(self.path)
        try:
            asked = json.loads(self._read_body())
        except ValueError:
            asked = None  # An upload, or nothing.
        scheme, _, key = (self._header("Authorization") or "").partition(" ")
        return _Call(
            path=unquote(url.path),
            query=dict(parse_qsl(url.query)),
            json=asked if isinstance(asked, dict) else {},
            key=key.strip() if scheme.lower() == "bearer" else None,
            project=self._header("OpenAI-Project"),
        )

    def _read_body(self) -> bytes:
        if "chunked" not in (self._header("Transfer-Encoding") or "").lower():
            return self._read_exactly(int(self._header("Content-Length") or 0))
        parts = []
        while size := int(self._read_line().partition(b";")[0], 16):
            parts.append(self._read_exactly(size))
            self._read_line()
        while self._read_line().strip():
            pass  # Trailers.
        return b"".join(parts)

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

    # What it gets

    def _answer(self, call: _Call) -> _Answer:
        server, ledger = self.server, self.server.ledger
        headers = {"x-request-id": f"req_loopback_{next(ledger.request_numbers)}"}
        with suppress(IndexError):
            fault = ledger.faults.popleft()
            refused = RefusedError(fault.status, "loopback_fault", "fail_next() asked for this")
            return _Answer(fault.status, {**headers, **fault.headers}, refused.body)
        organization = self._header("OpenAI-Organization")
        try:
            billed = server.directory.bill(call.path, call.key, call.project, organization)
            headers["openai-organization"] = server.directory.organization
            if billed:
                headers["openai-project"] = server.project_on_answers or billed
            if "websocket" in (self._header("Upgrade") or "").lower():
                headers |= _websocket.accepted(self._header("Sec-WebSocket-Key"))
                return _Answer(101, headers, {}, billed)
            page = None
            if self.command == "GET":
                page = server.administration.answer(call.path, call.query)
            body = page or _endpoints.answer(self.command, call.path, call.query, call.json)
            return _Answer(200, headers, body, billed)
        except RefusedError as error:
            return _Answer(error.status, headers, error.body)

    def _send_head(self, answer: _Answer, **about_body: str) -> None:
        self.send_response(answer.status)
        for name, value in {**about_body, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def version_string(self) -> str:
        return "openai-project-guard-loopback"

    def log_message(self, *_: Any) -> None:
        pass  # The ledger is the log.
