"""The commands to Redis, through redis-py, which is imported here alone.

Its connections are used by themselves, without its client and its pools: those connect anew as they
see fit, and whoever follows a registry must know when a message may have been missed.
"""

from __future__ import annotations

import inspect
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import FINGERPRINT, redact
from openai_project_guard._registry.redis.errors import (
    ConflictError,
    ForbiddenError,
    RefusedError,
    ServerError,
)
from openai_project_guard._registry.redis.url import OPTIONS
from openai_project_guard._versions import how_to_install

if TYPE_CHECKING:
    from openai_project_guard._registry.redis.url import RedisURL

TIMEOUT = 2.0
"""Seconds that a server may take to answer, unless the URL says `socket_timeout=`."""
_WRITING_TIMEOUT = 10.0  # the same for an administrator, whose change may be of 100,000 keys
_ATTEMPTS = 100  # a conflict means that another change got through, so this one will
_MOST_NAMED = 1000  # keys; a notice of more does not name them


Values = tuple[Mapping[str, str | None], Mapping[str, str | None]]
"""New values by project id, and by fingerprint; `None` removes one."""


class Stored(NamedTuple):
    """What Redis holds, or a part of it, at one revision; `None` for a value that is not there."""

    revision: str | None
    projects: dict[bytes, bytes | None]
    keys: dict[bytes, bytes | None]


class Notice(NamedTuple):
    """A message: the new revision, and the keys that are different; none if all may be."""

    revision: str
    keys: list[str]


class Client:
    """The registry on one server, over one connection for commands and one for messages.

    The servers of the URL are tried in turn; for writing, one that accepts changes is looked for.
    No connection is ever made anew. What gets no answer of use raises a
    `ServerError`; a URL that the library does not understand, or the want of the library, is a
    `RegistryError`.
    """

    def __init__(self, url: RedisURL, *, writing: bool = False) -> None:
        self.url = url
        self.is_primary: bool
        self._is_writing = writing
        self._timeout = _WRITING_TIMEOUT if writing else TIMEOUT
        self._server = 0  # by number: no frame of an error has its URL
        self._commands: Any = None
        self._messages: Any = None
        problems, fix = [], ""
        for number in range(len(url.servers)):
            self._server = number
            try:
                self._connect()
                if self.is_primary or not writing:
                    return
                problems.append("the server is a replica, which accepts no change")
            except ServerError as error:
                problems.append(str(error))
                fix = error.fix or fix
            self.close()
        raise ServerError("; then ".join(dict.fromkeys(problems)), fix)

    def revision(self) -> str | None:
        """The registry's revision; `None` where there is no registry."""
        return _text(self._ask(("GET", self.url.key("revision")))[0])

    def read(
        self, projects: Iterable[str] | None = None, keys: Iterable[str] | None = None
    ) -> Stored:
        """The registry at one revision: no change comes in between.

        Args:
            projects: the ids of those that are wanted. Default: all.
            keys: the fingerprints of those that are wanted. Default: all.
        """
        wanted = {
            part: names if names is None else [b"", *(name.encode() for name in names)]
            for part, names in (("projects", projects), ("keys", keys))
        }
        revision, *hashes = self._transaction(
            ("GET", self.url.key("revision")),
            *(
                ("HGETALL", self.url.key(part))
                if names is None
                else ("HMGET", self.url.key(part), *names)
                for part, names in wanted.items()
            ),
        )
        found = (
            dict(zip(hash_[::2], hash_[1::2], strict=True))
            if names is None
            else dict(zip(names[1:], hash_[1:], strict=True))  # the first is for a list of none
            for names, hash_ in zip(wanted.values(), hashes, strict=True)
        )
        return Stored(_text(revision), *found)

    def update(self, read: Callable[[], Stored], change: Callable[[Stored], Values]) -> None:
        """Writes what a change makes of what is read, again if it is no longer there by then."""
        for _ in range(_ATTEMPTS):
            stored = read()
            values = change(stored)
            with suppress(ConflictError):
                if any(values):
                    self.commit(stored.revision, values)
                return
        raise ServerError("others change the registry all the time")

    def commit(self, revision: str | None, values: Values) -> None:
        """Writes new values, all or none; a `ConflictError` if the revision is another by then."""
        projects, keys = values
        self._is_writing = True
        name = self.url.key("revision")
        after = f"{count_of(revision) + 1}-{secrets.token_hex(4)}"
        is_named = not projects and len(keys) <= _MOST_NAMED
        is_named = is_named and all(map(FINGERPRINT.fullmatch, keys))  # nothing else is sent
        notice = " ".join([after, *(keys if is_named else ())])
        if _text(self._ask(("WATCH", name), ("GET", name))[1]) != revision:
            self._ask(("UNWATCH",))
            raise ConflictError
        changes = [
            ("HDEL", self.url.key(part), entry)
            if value is None
            else ("HSET", self.url.key(part), entry, value)
            for part, new in (("projects", projects), ("keys", keys))
            for entry, value in new.items()
        ]
        try:
            self._transaction(
                *changes, ("SET", name, after), ("PUBLISH", self.url.key("changes"), notice)
            )
        except RefusedError:
            raise
        except ServerError as error:
            raise ServerError(f"{error}; whether the change was written is not known") from None

    def subscribe(self) -> None:
        """Asks for the messages, and waits until the server has agreed to send them."""
        self._messages = self._connection()
        self._ask(("SUBSCRIBE", self.url.key("changes")), of=self._messages)

    def notices(self, timeout: float) -> list[Notice]:
        """The messages that came, after a wait of at most so many seconds for the first."""
        found: list[Notice] = []
        with self._translated():
            while len(found) < _MOST_NAMED and self._messages.can_read(timeout):
                kind, _, message = self._messages.read_response()
                if kind == b"message":
                    revision, *keys = message.split(b" ", _MOST_NAMED + 1)
                    named = keys if len(keys) <= _MOST_NAMED else ()
                    names = [key.decode("utf-8", "replace") for key in named]
                    found.append(Notice(_text(revision) or "", names))
                timeout = 0
        return found

    def close(self) -> None:
        """Closes the connections. After a fork, this leaves the parent's alone."""
        for connection in (self._messages, self._commands):
            with suppress(Exception):
                connection.disconnect()

    def _connect(self) -> None:
        self._commands = self._connection()
        facts: Any = []
        with suppress(RefusedError):  # Redis before 6 does not know it; every user may say it
            facts = self._ask(("HELLO",))[0]
        role = dict(zip(facts[::2], facts[1::2], strict=False)).get(b"role", b"master")
        self.is_primary = role == b"master"

    def _connection(self) -> Any:
        connection = _made(self.url, self._server, self._timeout)
        with self._translated():
            connection.connect()
        return connection

    def _transaction(self, *commands: tuple[Any, ...]) -> list[Any]:
        answers: list[Any] | None = self._ask(("MULTI",), *commands, ("EXEC",))[-1]
        if answers is None:
            raise ConflictError
        return answers

    def _ask(self, *commands: tuple[Any, ...], of: Any = None) -> list[Any]:
        connection = of or self._commands
        answers: list[Any] = []
        with self._translated():
            refusal = _library().ResponseError
            connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                try:
                    answers.append(connection.read_response())
                except refusal as error:  # noqa: PERF203 (the other answers are still to come)
                    answers.append(error.with_traceback(None))
        last = answers[-1] if isinstance(answers[-1], list) else []  # of a transaction
        errors = [error for error in (*answers, *last) if isinstance(error, Exception)]
        if errors:
            # Not kept in this frame, which the error holds: such a circle would hold all frames
            # below, and with them the source that is being opened, until the next collection.
            raise self._our_error(errors.pop(0))
        return answers

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise self._our_error(error) from None

    def _our_error(self, error: Exception) -> ServerError:
        """Our error for one of redis-py's, of which there are more kinds than it says."""
        errors = _library().exceptions
        text = self.url.without_password(str(error) or type(error).__name__).rstrip(".")
        if isinstance(error, errors.NoPermissionError) or "NOPERM" in text:
            return ForbiddenError(text, self.url.acl(writing=self._is_writing))
        if isinstance(error, errors.ResponseError):
            return RefusedError(text, self.url.if_taken() if "WRONGTYPE" in text else "")
        if isinstance(error, errors.AuthenticationError):
            text += "; check user and password in the URL"
        return ServerError(text)


def count_of(revision: str | None) -> int:
    """How many changes a revision stands for."""
    number = (revision or "").partition("-")[0]
    return int(number) if number.isdecimal() and len(number) < 20 else 0


def _made(url: RedisURL, number: int, timeout: float) -> Any:
    """A connection that is not connected yet."""
    redis = _library()
    connection, retry = redis.connection, redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    options: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": TIMEOUT}
    # Even if the URL says otherwise: answers are bytes, and whoever calls tries again.
    ours = {"protocol": 2, "decode_responses": False, "retry": retry, "health_check_interval": 0}
    try:
        options |= connection.parse_url(url.servers[number]) | ours
        options.pop("max_connections", None)  # of a pool
        kind = options.pop("connection_class", connection.Connection)
        known = {*OPTIONS}.union(*(inspect.signature(base).parameters for base in kind.__mro__))
        unknown = next((option for option in options if option not in known), None)
        # Nor CLIENT SETINFO, which a service may not say: the server would log each refusal.
        options |= dict.fromkeys({"driver_info"} & known or ("lib_name", "lib_version"))
        if unknown is None:
            return kind(**options)
        nearest = get_close_matches(unknown, known, 1) or ["prefix"]
        problem = f"there is no option {redact(unknown)}=; did you mean {nearest[0]}="
    except Exception as error:  # a value that is not understood
        problem = url.without_password(str(error))
    options = {}  # there may be a password in it
    raise RegistryError(f"{url.name}: this URL cannot be used: {problem}.")


def _library() -> Any:
    try:
        import redis  # plainly: freezers of programs follow no computed name

        return redis
    except ImportError:
        problem = "A registry in Redis needs the redis package, which is not installed."
        raise RegistryError(f"{problem} {how_to_install('redis')}") from None


def _text(value: bytes | None) -> str | None:
    """A revision, fit to be shown whatever it is."""
    if value is None:
        return None
    return redact(re.sub("[^!-~]", "?", value[:100].decode("ascii", "replace")))
