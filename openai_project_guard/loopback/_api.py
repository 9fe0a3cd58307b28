"""The loopback server as its users hold it."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from openai_project_guard.loopback._directory import DEFAULT_KEYS, Directory, LoopbackProject
from openai_project_guard.loopback._http import Server
from openai_project_guard.loopback._ledger import Fault, Ledger, LedgerLine


class LoopbackAPI:
    """A running loopback server, as `loopback_api()` hands it out.

    Example:
        >>> with loopback_api() as api:
        ...     (api.connections, api.bytes_received, api.billed)
        (0, 0, {})
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ledger = server.ledger

    def __repr__(self) -> str:
        return f"<LoopbackAPI {self.base_url}: {len(self._server.directory.keys)} keys>"

    @property
    def base_url(self) -> str:
        """What to give to `OpenAI(base_url=...)`, for instance `http://127.0.0.1:4711/v1`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def websocket_base_url(self) -> str:
        """The same with `ws://`, for `OpenAI(websocket_base_url=...)`."""
        return self.base_url.replace("http", "ws", 1)

    @property
    def ledger(self) -> tuple[LedgerLine, ...]:
        """Every request so far, oldest first; a snapshot that later requests do not change."""
        return tuple(self._ledger.lines)

    @property
    def billed(self) -> dict[str, int]:
        """How many calls each project paid for."""
        return dict(Counter(line.billed_project for line in self.ledger if line.billed_project))

    @property
    def connections(self) -> int:
        """How many TCP connections were accepted."""
        return self._ledger.connections

    @property
    def bytes_received(self) -> int:
        """How many bytes arrived, those of WebSockets and of unfinished requests included."""
        return self._ledger.bytes_received

    def clear(self) -> None:
        """Empty the ledger, set the counters to zero, and forget faults not yet committed."""
        self._ledger.clear()

    def fail_next(
        self, status: int, times: int = 1, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer the next requests, whatever they are, with an error; they are not billed.

        Args:
            status: HTTP status, from 400 to 599.
            times: how many requests. Default: 1.
            headers: added to those answers, for instance `{"retry-after": "1"}`. Default: none.

        Raises:
            ValueError: `status` is not an error.

        Example:
            >>> with loopback_api() as api:
            ...     api.fail_next(429, times=2, headers={"retry-after-ms": "1"})
        """
        if not 400 <= status <= 599:
            raise ValueError(f"status must be from 400 to 599, not {status}")
        self._ledger.faults.extend([Fault(status, dict(headers or {}))] * times)

    @contextmanager
    def answer_as(self, project: str) -> Iterator[None]:
        """Name `project` in the `openai-project` header of every answer inside the block.

        The ledger still bills the key's own project. This is what a client sees after somebody
        moved the key behind its back.

        Args:
            project: any project id.

        Example:
            >>> with loopback_api() as api, api.answer_as("proj_elsewhere"):
            ...     pass
        """
        before, self._server.project_on_answers = self._server.project_on_answers, project
        try:
            yield
        finally:
            self._server.project_on_answers = before


@contextmanager
def loopback_api(
    keys: Mapping[str, str | Sequence[str]] | None = None,
    *,
    organization: str = "org-loopback",
    projects: Iterable[LoopbackProject] = (),
    port: int = 0,
) -> Iterator[LoopbackAPI]:
    """Run a server on a port of 127.0.0.1 that answers as the OpenAI API would.

    Args:
        keys: each key's project, or its projects with the default one first. A key that begins
            with `sk-admin-` opens the Administration endpoints only, and its project is ignored.
            `ADMIN_KEY` is always known. Default: `DEFAULT_KEYS`.
        organization: the one that all keys belong to. Default: `org-loopback`.
        projects: names and states for the Administration endpoints, also for projects without a
            key. Default: the projects that `keys` name, active, each named by its id.
        port: where to listen. Default: 0, a free one.

    Raises:
        ValueError: a key has no project.
        OSError: the port is taken.

    Example:
        >>> with loopback_api({"sk-proj-demo-one-Ab3d": "proj_one"}) as api:
        ...     api.ledger
        ()
    """
    keys = DEFAULT_KEYS if keys is None else keys
    with Server(Directory(keys, projects, organization), Ledger(), port) as server:
        # The interval bounds how long stopping takes; nothing else waits for it.
        serving = threading.Thread(
            target=server.serve_forever, args=(0.01,), name="loopback-api", daemon=True
        )
        serving.start()
        try:
            yield LoopbackAPI(server)
        finally:
            if not sys.is_finalizing():  # a block that is left at exit: no thread runs any more
                server.shutdown()
                server.hang_up()
                serving.join()
