"""The URL of a registry in Redis: which servers, which names there, and what may be shown of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from openai_project_guard._errors import RegistryError
from openai_project_guard._keys import redact

PREFIX = "openai-project-guard"
_DATABASE = re.compile(r"/?\d*/?")
_OURS = ("prefix", "replica")


@dataclass(frozen=True)
class Address:
    """Where a registry is.

    Attributes:
        name: the URL without user and password.
        prefix: what the names in Redis begin with.
        urls: a URL for redis-py for each server, the first one's before the replicas'.
    """

    name: str
    prefix: str
    urls: tuple[str, ...] = field(repr=False)  # with their passwords

    @property
    def projects(self) -> str:
        """The name of the projects' hash."""
        return f"{self.prefix}:projects"

    @property
    def keys(self) -> str:
        """The name of the keys' hash."""
        return f"{self.prefix}:keys"

    @property
    def revision(self) -> str:
        """The name of the revision."""
        return f"{self.prefix}:revision"

    @property
    def changes(self) -> str:
        """The name of the channel."""
        return f"{self.prefix}:changes"

    def without_password(self, text: str) -> str:
        """The text, with nothing in it that must not be shown."""
        for url in self.urls:
            for secret in _secrets(url):
                text = text.replace(secret, "…")
        return redact(text)


def read_address(url: str) -> Address:
    """Takes a URL apart.

    Raises:
        RegistryError: it is none that redis-py takes.
    """
    problem = None
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, keep_blank_values=True)
        port = parts.port  # raises for what is no number
    except ValueError:
        problem = "it is not a URL"
    else:
        if parts.scheme == "unix" and not parts.path:
            problem = "it names no socket: unix:///path/to/redis.sock"
        elif parts.scheme != "unix" and not parts.hostname:
            problem = "it names no host"
        elif parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path):
            problem = "what follows the host is not the number of a database, such as /0"
    if problem:
        url = ""
        raise RegistryError(f"The URL of the registry in Redis cannot be read: {problem}.")
    prefix = dict(options).get("prefix") or PREFIX
    rest = urlencode([option for option in options if option[0] not in _OURS])
    places = [parts.netloc]
    login, at, _ = parts.netloc.rpartition("@")
    places += [f"{login}{at}{host}" for name, host in options if name == "replica" and host]
    if parts.scheme == "unix":
        name = f"unix://{parts.path}"
    else:
        database = parts.path.strip("/") or dict(options).get("db", "0")
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        name = f"{parts.scheme}://{host}:{port or 6379}/{database}"
    if prefix != PREFIX:
        name += f"?prefix={prefix}"
    return Address(
        name=redact(name),
        prefix=prefix,
        urls=tuple(
            f"{parts.scheme}://{place}{parts.path}{'?' if rest else ''}{rest}" for place in places
        ),
    )


def _secrets(url: str) -> set[str]:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    found = {parts.password, options.get("password")}
    return {spelled for secret in found if secret for spelled in (secret, unquote(secret))}
