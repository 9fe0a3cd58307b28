"""The commands to Redis, through redis-py, which is imported here alone."""

from __future__ import annotations

import json
import secrets
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from openai_project_guard._errors import RegistryError
from openai_project_guard._registry.redis.codec import Change, Raw, count_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from openai_project_guard._registry.redis.url import Address

TIMEOUT = 2.0
"""Seconds that a server may take to answer, unless the URL says `socket_timeout=`."""
_PATIENCE = 10.0  # the same for an administrator, whose change may be of 100,000 keys
_LARGE = 1000  # entries; a message about more says only that there was a change
_CHUNK = 1000  # entries a command, so that no command is too long


class Fault(Exception):  # noqa: N818 (it never leaves this folder)
    """The server gave no answer that can be used; the words say why, without a password."""


class Refused(Fault):
    """The server answered that it does not do that, be it only now: a replica, a full disk."""


class Forbidden(Refused):
    """This user may not do that."""


class Conflict(Exception):  # noqa: N818 (it never leaves this folder)
    """Somebody else changed the registry after it was read; nothing was written."""


class Store:
    """The registry on one server, over one connection for commands and one for messages.

    Neither is ever connected anew: whoever uses it must know when a message may have been missed.

    Args:
        address: where the registry is; its servers are tried in turn.
        writing: take no server that does not accept changes.

    Raises:
        RegistryError: redis-py is not installed.
        Fault: no server can be used.
    """

    def __init__(self, address: Address, *, writing: bool = False) -> None:
        self.address = address
        self._client: Any = None
        self._messages: Any = None
        problems = []
        for url in address.urls:
            try:
                self._connect(url, _PATIENCE if writing else TIMEOUT)
                if self.is_primary or not writing:
                    return
                problems.append("the server is a replica, which accepts no change")
            except Fault as fault:
                problems.append(str(fault))
            self.close()
        raise Fault("; then ".join(dict.fromkeys(problems)))

    def _connect(self, url: str, timeout: float) -> None:
        redis = _library()
        retry = import_module("redis.retry").Retry(import_module("redis.backoff").NoBackoff(), 0)
        with self._faults():
            self._client = redis.Redis.from_url(
                url,
                single_connection_client=True,
                socket_timeout=timeout,
                socket_connect_timeout=TIMEOUT,
                retry=retry,
                protocol=2,
            )
            # Every user may say HELLO; Redis before 6 does not know it, and is taken as it is.
            said: Any = []
            with suppress(redis.ResponseError):
                said = self._client.execute_command("HELLO")
            facts = (
                said if isinstance(said, dict) else dict(zip(said[::2], said[1::2], strict=True))
            )
            role = facts.get(b"role", facts.get("role", b"master"))
            self.is_primary: bool = role in (b"master", "master")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turns what redis-py says into our words. Its errors are of more kinds than it says."""
        redis = _library()
        try:
            yield
        except (Fault, Conflict, RegistryError):
            raise
        except redis.WatchError as error:
            # redis-py says the same of a connection that was lost, and there the change may stand.
            lost = error.__context__
            if not isinstance(lost, (redis.ConnectionError, redis.TimeoutError, OSError)):
                raise Conflict from None
            raise Fault(
                f"{self._said(lost)}; whether the change was written is not known"
            ) from None
        except Exception as error:
            said = self._said(error)
            if isinstance(error, redis.exceptions.NoPermissionError):
                raise Forbidden(said) from None
            if isinstance(error, redis.ResponseError):
                raise Refused(said) from None
            if isinstance(error, redis.exceptions.AuthenticationError):
                said += "; check user and password in the URL"
            raise Fault(said) from None

    def _said(self, error: BaseException) -> str:
        return self.address.without_password(str(error) or type(error).__name__).rstrip(".")

    def revision(self) -> str | None:
        """The registry's revision; `None` where there is no registry."""
        with self._faults():
            return _text(self._client.get(self.address.revision))

    def read(self) -> Raw:
        """The whole registry, at one revision: nobody's change comes in between."""
        with self._faults(), self._client.pipeline(transaction=True) as reading:
            reading.get(self.address.revision)
            reading.hgetall(self.address.projects)
            reading.hgetall(self.address.keys)
            revision, projects, keys = reading.execute()
        return Raw(_text(revision), projects, keys)

    def projects(self) -> dict[bytes, bytes]:
        """The projects' hash."""
        with self._faults():
            found: dict[bytes, bytes] = self._client.hgetall(self.address.projects)
            return found

    def keys(self) -> dict[bytes, bytes]:
        """The keys' hash."""
        with self._faults():
            found: dict[bytes, bytes] = self._client.hgetall(self.address.keys)
            return found

    def key(self, fingerprint: str) -> bytes | None:
        """The value of one key."""
        with self._faults():
            found: bytes | None = self._client.hget(self.address.keys, fingerprint)
            return found

    def commit(
        self,
        revision: str | None,
        *,
        projects: Mapping[str, str | None],
        keys: Mapping[str, str | None],
    ) -> str:
        """Writes a change, all of it or nothing; gives the new revision.

        Args:
            revision: what the registry's revision must be.
            projects: new values by project id; `None` removes one.
            keys: new values by fingerprint; `None` removes one.

        Raises:
            Conflict: the registry has another revision.
            Fault: it was not written, or, if the connection was lost in between, it may have been.
        """
        address = self.address
        after = f"{count_of(revision) + 1}-{secrets.token_hex(4)}"
        message: dict[str, object] = {"from": revision, "to": after}
        if len(projects) + len(keys) <= _LARGE:
            message |= {"projects": projects, "keys": keys}
        with self._faults(), self._client.pipeline(transaction=True) as change:
            change.watch(address.revision)
            found = change.get(address.revision)
            if found != (None if revision is None else revision.encode()):
                raise Conflict
            change.multi()
            for name, values in ((address.projects, projects), (address.keys, keys)):
                for part in _chunks({f: v for f, v in values.items() if v is not None}):
                    change.hset(name, mapping=part)
                for part in _chunks({f: v for f, v in values.items() if v is None}):
                    change.hdel(name, *part)
            change.set(address.revision, after)
            change.publish(address.changes, json.dumps(message, ensure_ascii=False))
            change.execute()
        return after

    def subscribe(self) -> None:
        """Asks for the messages, and waits until the server has agreed to send them."""
        with self._faults():
            self._messages = self._client.pubsub()
            self._messages.subscribe(self.address.changes)
            answer = self._messages.get_message(timeout=TIMEOUT)
            if answer is None or answer["type"] != "subscribe":
                raise Fault("the server does not answer SUBSCRIBE")

    def messages(self, timeout: float) -> list[Change | None]:
        """What has been told, after a wait for the first; `None` stands for what is no change.

        Args:
            timeout: seconds to wait.
        """
        found: list[Change | None] = []
        with self._faults():
            message = self._messages.get_message(timeout=timeout)
            while message is not None:
                if message["type"] != "message":
                    raise Fault("the subscription was renewed")  # so something may be missing
                found.append(_change(message["data"]))
                message = self._messages.get_message(timeout=0)
        return found

    def close(self) -> None:
        """Closes the connections. After a fork, this leaves the parent's alone."""
        for holder in (self._messages, self._client):
            connection = getattr(holder, "connection", None)
            if connection is not None:
                with suppress(Exception):
                    connection.disconnect()
        if self._client is not None:
            with suppress(Exception):  # the connection that a change was written over
                self._client.connection_pool.disconnect()


def _library() -> Any:
    try:
        return import_module("redis")
    except ImportError:
        raise RegistryError(
            "A registry in Redis needs the redis package, which is not installed: "
            'pip install "openai-project-guard[redis]"'
        ) from None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def _change(data: bytes) -> Change | None:
    try:
        said = json.loads(data)
        is_complete = "keys" in said
        return Change(
            before=said["from"],
            after=str(said["to"]),
            projects=dict(said.get("projects", {})),
            keys=dict(said.get("keys", {})),
            is_complete=is_complete,
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _chunks(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    names = list(values)
    for start in range(0, len(names), _CHUNK):
        yield {name: values[name] for name in names[start : start + _CHUNK]}
