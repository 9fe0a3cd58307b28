"""What is about to be sent: the headers of one call, read once, and where it is going."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, NamedTuple

from openai_project_guard._check.verdict import Credential
from openai_project_guard._keys import hint, redact
from openai_project_guard._types import Transport

PROJECT_HEADER = "OpenAI-Project"
_CREDENTIALS = (b"authorization", b"api-key")
_READ = frozenset({*_CREDENTIALS, b"openai-project", b"openai-organization"})


class Headers(NamedTuple):
    """The headers that a verdict rests on.

    A header that is there more than once is kept as its values joined by a newline. No header
    may contain one, so the join cannot be mistaken for a single value, and it never passes.
    """

    key_digest: bytes | None
    project: str | None
    organization: str | None

    @classmethod
    def of(cls, facts: Facts) -> Headers:
        """The headers as text."""
        key_digest, project, organization = facts
        return cls(
            key_digest,
            None if project is None else project.decode("latin-1"),
            None if organization is None else organization.decode("latin-1"),
        )

    def shown(self) -> Headers:
        """The same as an error, a log line or an observer may have it: without a key."""
        return self._replace(
            project=self._without_key(self.project),
            organization=self._without_key(self.organization),
        )

    def _without_key(self, value: str | None) -> str | None:
        if value is None or sha256(value.strip().encode("latin-1")).digest() != self.key_digest:
            return value and redact(value)
        return hint(value.strip())  # the call's own key, of whatever form


Triple = tuple[bytes, bytes, bytes]
"""A header as httpx keeps it: name as written, name in lower case, value."""

Triples = Iterable[Triple]

Facts = tuple[bytes | None, bytes | None, bytes | None]
"""The fields of `Headers` as they stand: text is made of them only where somebody reads it."""

NOTHING: Facts = (None, None, None)


def read_headers(triples: Triples) -> Facts:
    """Reads the fields of `Headers` in one pass; the key itself does not leave this function."""
    authorization: bytes | None = None
    project: bytes | None = None
    organization: bytes | None = None
    api_key: bytes | None = None
    for _, name, value in triples:
        if name in _READ:
            if name == b"authorization":
                authorization = value if authorization is None else authorization + b"\n" + value
            elif name == b"openai-project":
                project = value if project is None else project + b"\n" + value
            elif name == b"api-key":  # Azure's, and some gateways'
                api_key = value if api_key is None else api_key + b"\n" + value
            else:
                organization = value if organization is None else organization + b"\n" + value
    if authorization is None:
        key = api_key
    elif authorization[:7] == b"Bearer ":
        key = authorization[7:].strip()
    else:
        key = _bearer(authorization)
    return sha256(key).digest() if key else None, project, organization


def read_hint(triples: Triples) -> str:
    """What may be shown of the call's key."""
    return " and ".join(hint(key.decode("latin-1")) for key in _keys(triples))


def service_account(client: Any, key_hint: str) -> str | None:
    """The service account in whose name a call is sent, by the client's workload identity.

    An API key on such a client is somebody's override, and stands for itself.
    """
    identity = getattr(client, "workload_identity", None)
    if not identity or key_hint.startswith("sk-"):
        return None
    account: str = identity["service_account_id"]
    return account


def read_credential(triples: Triples) -> Credential:
    """What kind of credential the call carries."""
    keys = _keys(triples)
    if len(keys) > 1:
        return "malformed"
    if keys[0].startswith(b"sk-admin-"):
        return "admin"
    return "ephemeral" if keys[0].startswith(b"ek_") else "key"


def _keys(triples: Triples) -> list[bytes]:
    keys = [(name, _bearer(value)) for _, name, value in triples if name in _CREDENTIALS]
    return [key for name, key in keys if name == b"authorization"] or [key for _, key in keys]


def read_strays(triples: Triples) -> list[bytes]:
    """The digests of whatever may be a key among the call's credentials.

    For those that are not one Bearer key: several of them, another scheme, keys in a list.
    """
    values = b" ".join(value for _, name, value in triples if name in _CREDENTIALS)
    return [sha256(part).digest() for part in values.replace(b",", b" ").split()]


def _bearer(authorization: bytes) -> bytes:
    """The key of an Authorization header; a scheme other than Bearer is taken as it stands.

    Whatever stands there is a credential, and one that is not understood must not pass for none.
    """
    parts = authorization.split(None, 1)
    return parts[1].strip() if len(parts) > 1 and parts[0].lower() == b"bearer" else authorization


class Destination(NamedTuple):
    """Where a call goes. Built only when somebody asks: an observer, a log line, an error."""

    method: str
    host: str
    path: str
    transport: Transport

    @classmethod
    def of_request(cls, request: Any) -> Destination:
        """Where an httpx or httpx2 request goes; neither query nor user info is kept."""
        url = request.url
        return cls(request.method, url.host, url.path, "http")

    def __str__(self) -> str:
        verb = "WebSocket" if self.transport == "websocket" else self.method
        return f"{verb} {self.host}{self.path}"
