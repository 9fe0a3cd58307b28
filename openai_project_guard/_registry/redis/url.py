"""The URL of a registry in Redis: which servers, which names there, and what may be shown of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import redact

PREFIX = "openai-project-guard"
OPTIONS = ("prefix", "replica")
"""The options of a URL that are ours; all others are the client library's."""
_LONGEST = 10_000
_DATABASE = re.compile(r"/?\d*/?")
_READ = "+get +hgetall +hmget +multi +exec +subscribe"
_SERVICE = ("service", _READ, "%R~")
_ADMINISTRATOR = ("administrator", f"{_READ} +hset +hdel +set +watch +unwatch +publish", "~")


@dataclass(frozen=True)
class RedisURL:
    """Where a registry is."""

    name: str  # the URL without user and password
    prefix: str  # what the names in Redis begin with
    database: str  # its number
    servers: tuple[str, ...] = field(repr=False)  # a URL each, with their passwords

    def key(self, part: str) -> str:
        """What `projects`, `keys`, `revision` or `changes` is called in Redis."""
        return f"{self.prefix}:{part}"

    def if_taken(self) -> str:
        """What to do if a name of the registry is that of something else, as an error ends."""
        names = ", ".join(redact(self.key(part)) for part in ("projects", "keys", "revision"))
        return (
            f" Another program uses one of these names: {names}. Delete what is not the "
            "registry's, or give the registry another prefix: ?prefix=NAME at the end of its URL."
        )

    def acl(self, *, writing: bool) -> str:
        """The command that makes a user who may read this registry, or change it."""
        user, commands, keys = _ADMINISTRATOR if writing else _SERVICE
        select = " +select" if self.database.strip("0") else ""
        return (
            f"ACL SETUSER {user} on >PASSWORD -@all {commands}{select} {keys}{self.key('*')} "
            f"resetchannels &{self.key('changes')}"
        )

    def without_password(self, text: str) -> str:
        """The text, with nothing in it that must not be shown."""
        for server in self.servers:
            parts = urlsplit(server)
            for secret in (parts.password, dict(parse_qsl(parts.query)).get("password")):
                if secret:
                    text = text.replace(secret, "…").replace(unquote(secret), "…")
        return redact(text)


def parse_url(url: str) -> RedisURL:
    """Takes a URL apart. Raises a `RegistryError` if it is not that of a registry in Redis."""
    problem = _problem(url)
    if not problem and any(map(_problem, _servers(url)[1:])):
        problem = "a replica= is not HOST:PORT"
    if problem:
        url = ""
        raise RegistryError(f"The URL of the registry in Redis cannot be read: {problem}.")
    parts = urlsplit(url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    prefix, database = dict(options).get("prefix") or PREFIX, dict(options).get("db", "0")
    name = f"unix://{parts.path}"
    if parts.scheme != "unix":
        database = parts.path.strip("/") or database
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        name = f"{parts.scheme}://{host}:{parts.port or 6379}/{database}"
    if prefix != PREFIX:
        name += f"?prefix={prefix}"
    return RedisURL(redact(name), prefix, database, _servers(url))


def _servers(url: str) -> tuple[str, ...]:
    """The URL of each server: the first, then its replicas."""
    parts = urlsplit(url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    login, at, _ = parts.netloc.rpartition("@")
    replicas = [place for option, place in options if option == "replica" and place]
    places = [parts.netloc, *(_with_login(p, login + at) for p in replicas)]
    rest = urlencode([option for option in options if option[0] not in OPTIONS])
    return tuple(
        f"{parts.scheme}://{place}{parts.path}{'?' * bool(rest)}{rest}" for place in places
    )


def _with_login(replica: str, login: str) -> str:
    """A replica as a URL has it: with a login of its own, or with that of the first server."""
    own, at, place = replica.rpartition("@")  # an option's value: `%2F` is `/` again
    return f"{quote(own, safe=':%')}@{place}" if at else f"{login}{replica}"


def _problem(url: str) -> str | None:
    if len(url) > _LONGEST:  # with thousands of replicas, to hide each one's password takes long
        return f"it is longer than {_LONGEST:,} characters"
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for what is no number
    except ValueError:
        return "it is not a URL"
    if parts.scheme == "unix":
        return (
            None if parts.path.startswith("/") else "it names no socket: unix:///path/to/redis.sock"
        )
    if not parts.hostname:
        return "it names no host"
    if not _DATABASE.fullmatch(parts.path):
        return "what follows the host is not the number of a database, such as /0"
    return None
